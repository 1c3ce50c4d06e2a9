// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/container_options.h"
#include "cmd/gantry/device_spec.h"
#include "cmd/gantry/mount_spec.h"
#include "cmd/gantry/value_spec.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

void Duration(Flags* flags, std::string_view name, std::chrono::nanoseconds* value,
              std::string_view help) {
  flags->Custom(
      name, 0, "duration",
      [value](const std::string& text) -> Result<> {
        *value = TRY(formats::ParseGoDuration(text));
        return {};
      },
      help);
}

}  // namespace

void ContainerOptions::Bind(Flags* flags) {
  BindProcessFlags(flags);
  BindResourceFlags(flags);
  BindIsolationFlags(flags);
  BindStorageAndNetworkFlags(flags);
}

void ContainerOptions::BindProcessFlags(Flags* flags) {
  CheckedList(flags, "attach", 'a', &attach, CheckStream, "Attach to STDIN, STDOUT or STDERR");
  flags->Bool("interactive", 'i', &interactive, "Keep standard input open");
  flags->Bool("tty", 't', &tty, "Give the container a terminal");
  flags->String("name", 0, &name, "The container's name");
  flags->String("cidfile", 0, &cidfile, "Write the container's ID to this file");
  flags->String(
      "pull", 0, &pull,
      "When to pull the image (\"always\", \"missing\", \"never\") (default \"missing\")");
  BindContentTrust(flags);
  flags->Bool("quiet", 'q', &quiet, "Show no progress of a pull");
  flags->String("platform", 0, &platform, "Platform of the image, such as linux/amd64");
  flags->Bool("use-api-socket", 0, &use_api_socket,
              "Give the container the engine's socket and the user's credentials");
  flags->Bool("rm", 0, &remove, "Remove the container and its anonymous volumes when it exits");
  flags->String("entrypoint", 0, &entrypoint_, "Program to run instead of the image's ENTRYPOINT");
  CheckedList(flags, "env", 'e', &env_, ParseVariable, "Set environment variables");
  flags->List("env-file", 0, &env_files_, "Read environment variables from a file");
  CheckedList(flags, "label", 'l', &labels_, CheckLabel, "Set labels");
  flags->List("label-file", 0, &label_files_, "Read labels from a file, one a line");
  flags->List("annotation", 0, &annotations_, "Pass an annotation to the OCI runtime");
  flags->String("user", 'u', &user_, "User, \"name|uid[:group|gid]\"");
  flags->String("workdir", 'w', &workdir_, "Working directory in the container");
  flags->String("hostname", 'h', &hostname_, "The container's host name");
  flags->String("domainname", 0, &domainname_, "The container's NIS domain name");
  flags->String("stop-signal", 0, &stop_signal_, "Signal that stops the container");
  flags->Int("stop-timeout", 0, &stop_timeout_, "Seconds until a stopping container is killed");
  flags->Bool("init", 0, &init_, "Run an init that forwards signals and reaps processes");
  flags->String("restart", 0, &restart_,
                "When to start it again: no, always, unless-stopped, on-failure[:max] (default "
                "\"no\")");
  flags->String("health-cmd", 0, &health_command_, "Command that checks the health");
  Duration(flags, "health-interval", &health_interval_, "Time between two checks");
  Duration(flags, "health-timeout", &health_timeout_, "Longest time for a check");
  Duration(flags, "health-start-period", &health_start_period_,
           "Time to start in which failures don't count");
  Duration(flags, "health-start-interval", &health_start_interval_,
           "Time between two checks while it starts");
  flags->Int("health-retries", 0, &health_retries_, "Failures in a row until it is unhealthy");
  flags->Bool("no-healthcheck", 0, &no_healthcheck_, "Run no health check");
  flags->String("log-driver", 0, &log_driver_, "Log driver");
  flags->List("log-opt", 0, &log_options_, "Options of the log driver");
}

void ContainerOptions::BindResourceFlags(Flags* flags) {
  BindResourceNumbers(flags, ResourceFlags::kAll, &numbers_);
  flags->String("cpuset-cpus", 0, &cpuset_cpus_, "Processors to run on, such as 0-3 or 0,1");
  flags->String("cpuset-mems", 0, &cpuset_mems_, "Memory nodes to use, such as 0-3 or 0,1");
  CheckedList(flags, "ulimit", 0, &ulimits_, ParseUlimit, "Resource limit, \"name=soft[:hard]\"");
  flags->Bool("oom-kill-disable", 0, &oom_kill_disable_, "Never kill it for lack of memory");
  auto rate = [](const std::string& text) { return ParseThrottle(text, true); };
  auto count = [](const std::string& text) { return ParseThrottle(text, false); };
  CheckedList(flags, "device-read-bps", 0, &read_bps_, rate, "Bytes a second read from a device");
  CheckedList(flags, "device-write-bps", 0, &write_bps_, rate,
              "Bytes a second written to a device");
  CheckedList(flags, "device-read-iops", 0, &read_iops_, count, "Reads a second from a device");
  CheckedList(flags, "device-write-iops", 0, &write_iops_, count, "Writes a second to a device");
  CheckedList(flags, "blkio-weight-device", 0, &weight_devices_, ParseWeight,
              "Relative weight of a device");
  CheckedList(flags, "net-priority", 0, &net_priorities_, ParseNetPriority,
              "Priority of what its sockets send over an interface, such as eth0=5 (cgroup "
              "net_prio)");
}

void ContainerOptions::BindIsolationFlags(Flags* flags) {
  flags->Bool("privileged", 0, &privileged_, "All capabilities and devices of the host");
  flags->List("cap-add", 0, &cap_add_, "Add Linux capabilities");
  flags->List("cap-drop", 0, &cap_drop_, "Drop Linux capabilities");
  flags->List("security-opt", 0, &security_options_, "Security options, such as seccomp=FILE");
  flags->List("device", 0, &devices_, "Add a device of the host");
  CheckedList(flags, "device-cgroup-rule", 0, &device_rules_, CheckDeviceRule,
              "Allow devices, such as \"c 1:3 rw\"");
  CheckedList(flags, "gpus", 0, &gpus_, ParseGpus, "Add graphics processors (\"all\" for all)");
  flags->List("group-add", 0, &group_add_, "Add groups to the user");
  CheckedList(flags, "sysctl", 0, &sysctls_, CheckSysctl, "Set a sysctl, \"name=value\"");
  flags->String("userns", 0, &userns_, "User namespace (\"host\")");
  flags->String("pid", 0, &pid_, "PID namespace (\"host\", \"container:NAME\")");
  flags->String("ipc", 0, &ipc_, "IPC namespace (\"host\", \"shareable\", \"container:NAME\", …)");
  flags->String("uts", 0, &uts_, "UTS namespace (\"host\")");
  flags->String("cgroupns", 0, &cgroupns_, "Cgroup namespace (\"host\", \"private\")");
  flags->String("cgroup-parent", 0, &cgroup_parent_, "Parent cgroup");
  flags->String("runtime", 0, &runtime_, "OCI runtime to use");
  flags->String("isolation", 0, &isolation_, "Isolation technology (\"default\")");
}

void ContainerOptions::BindStorageAndNetworkFlags(Flags* flags) {
  flags->List("volume", 'v', &volumes_, "Bind a directory or a volume, \"source:/path[:ro]\"");
  CheckedList(flags, "mount", 0, &mounts_, ParseMount,
              "Mount a file system, \"type=bind,source=…,target=…\"");
  flags->List("tmpfs", 0, &tmpfs_, "Mount a tmpfs, \"/path[:options]\"");
  flags->List("volumes-from", 0, &volumes_from_, "Take the volumes of another container");
  flags->String("volume-driver", 0, &volume_driver_, "Driver of new volumes");
  flags->List("storage-opt", 0, &storage_options_, "Options of the storage driver");
  flags->Bool("read-only", 0, &read_only_, "Mount the root file system read-only");
  flags->List("publish", 'p', &publish_, "Publish a port, \"[[ip:]host:]container[/proto]\"");
  flags->Bool("publish-all", 'P', &publish_all_, "Publish all exposed ports on free ones");
  flags->List("expose", 0, &expose_, "Expose a port or a range of ports");
  flags->List("network", 0, &networks_, "Join a network (bridge, host, none, container:NAME, …)");
  flags->Alias("net", "network");
  flags->List("network-alias", 0, &network_aliases_, "Further name in the network");
  flags->Alias("net-alias", "network-alias");
  flags->String("ip", 0, &ip_, "IPv4 address");
  flags->String("ip6", 0, &ip6_, "IPv6 address");
  flags->List("link-local-ip", 0, &link_local_ips_, "Link-local addresses");
  flags->String("mac-address", 0, &mac_address_, "MAC address");
  flags->List("link", 0, &links_, "Link to another container");
  CheckedList(flags, "dns", 0, &dns_, CheckAddress, "DNS server");
  flags->List("dns-option", 0, &dns_options_, "Option of the resolver");
  flags->Alias("dns-opt", "dns-option");
  flags->List("dns-search", 0, &dns_search_, "Search domain");
  CheckedList(flags, "add-host", 0, &extra_hosts_, ParseExtraHost,
              "Line of /etc/hosts, \"name:address\"");
}

}  // namespace gantry::cli
