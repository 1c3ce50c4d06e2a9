// SPDX-License-Identifier: Apache-2.0
#include "engine/oci_spec.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/capabilities.h"
#include "engine/seccomp_profile.h"

namespace gantry::engine {
namespace {

class OciSpecTest : public testing::Test {
 protected:
  OciSpecTest() {
    config_.cmd = {true, {"sh"}};
    request_.id = "0123456789ab";
    request_.config = &config_;
    request_.host = &host_;
    request_.uts_hostname = "0123456789ab";
    request_.default_cgroup_parent = "/gantry";
    request_.init_program = "/bin/gantry-init";
  }
  Result<oci::Spec> Make() {
    ApplyHostDefaults(/*unified_cgroups=*/false, &host_);
    return MakeSpec(request_);
  }
  const oci::Mount* MountAt(const oci::Spec& spec, std::string_view destination) {
    auto found = std::find_if(spec.mounts.begin(), spec.mounts.end(), [&](const oci::Mount& mount) {
      return mount.destination == destination;
    });
    return found == spec.mounts.end() ? nullptr : &*found;
  }
  bool HasNamespace(const oci::Spec& spec, std::string_view type) {
    return std::any_of(spec.platform.namespaces.begin(), spec.platform.namespaces.end(),
                       [&](const oci::Namespace& entry) { return entry.type == type; });
  }

  ContainerConfig config_;
  HostConfig host_;
  SpecRequest request_;
};

TEST_F(OciSpecTest, DefaultsAreDockers) {
  Result<oci::Spec> spec = Make();
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  EXPECT_EQ(spec->process->args, std::vector<std::string>{"sh"});
  EXPECT_EQ(spec->process->cwd, "/");
  EXPECT_EQ(spec->process->env.at(0),
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  EXPECT_EQ(spec->process->env.at(1), "HOSTNAME=0123456789ab");
  EXPECT_EQ(spec->process->env.at(2), "HOME=/");
  EXPECT_EQ(spec->process->capabilities->bounding.size(), 14u);
  EXPECT_TRUE(spec->process->capabilities->inheritable.empty());
  EXPECT_TRUE(HasNamespace(*spec, "network"));
  EXPECT_FALSE(HasNamespace(*spec, "cgroup"));
  EXPECT_EQ(spec->platform.cgroups_path, "/gantry/0123456789ab");
  EXPECT_TRUE(spec->platform.seccomp.has_value());
  EXPECT_EQ(spec->platform.sysctl.at("net.ipv4.ip_unprivileged_port_start"), "0");
  const oci::Mount* shm = MountAt(*spec, "/dev/shm");
  ASSERT_NE(shm, nullptr);
  EXPECT_EQ(shm->options.back(), "size=67108864");
  EXPECT_TRUE(oci::ParseSpec(oci::ToJson(*spec)).ok());
}

TEST_F(OciSpecTest, PrivilegedTakesTheLimitsAway) {
  host_.privileged = true;
  Result<oci::Spec> spec = Make();
  ASSERT_TRUE(spec.ok());
  EXPECT_FALSE(spec->platform.seccomp.has_value());
  EXPECT_TRUE(spec->platform.masked_paths.empty());
  EXPECT_GT(spec->process->capabilities->bounding.size(), 14u);
  EXPECT_GT(spec->platform.devices.size(), 0u);
  const oci::Mount* sys = MountAt(*spec, "/sys");
  EXPECT_EQ(std::count(sys->options.begin(), sys->options.end(), "ro"), 0);
}

TEST_F(OciSpecTest, HostModesDropNamespaces) {
  host_.network_mode = "host";
  host_.pid_mode = "host";
  host_.ipc_mode = "host";
  host_.uts_mode = "host";
  Result<oci::Spec> spec = Make();
  ASSERT_TRUE(spec.ok());
  for (const char* type : {"network", "pid", "ipc", "uts"}) {
    EXPECT_FALSE(HasNamespace(*spec, type)) << type;
  }
  EXPECT_TRUE(spec->platform.sysctl.empty());
  EXPECT_EQ(spec->hostname, "");
}

TEST_F(OciSpecTest, CapabilitiesAreAddedAndDropped) {
  host_.cap_add = {"net_admin"};
  host_.cap_drop = {"CAP_CHOWN"};
  std::vector<std::string> capabilities = *MakeCapabilities(host_);
  EXPECT_EQ(std::count(capabilities.begin(), capabilities.end(), "CAP_NET_ADMIN"), 1);
  EXPECT_EQ(std::count(capabilities.begin(), capabilities.end(), "CAP_CHOWN"), 0);
  host_.cap_drop = {"ALL"};
  EXPECT_EQ(*MakeCapabilities(host_), std::vector<std::string>{"CAP_NET_ADMIN"});
  host_.cap_add = {"NOPE"};
  EXPECT_EQ(MakeCapabilities(host_).error().message(), "unknown capability: \"CAP_NOPE\"");
}

TEST_F(OciSpecTest, UserMountsReplaceDefaultsAndTmpfsOptionsOverride) {
  request_.mounts = {{"/dev/shm", "bind", "/tmp", {"rbind"}, {}, {}},
                     {"/a/b", "bind", "/tmp", {"rbind"}, {}, {}},
                     {"/a", "bind", "/tmp", {"rbind"}, {}, {}}};
  host_.tmpfs = {{"/t", "exec,size=1m"}};
  Result<oci::Spec> spec = Make();
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(MountAt(*spec, "/dev/shm")->type, "bind");
  EXPECT_LT(MountAt(*spec, "/a"), MountAt(*spec, "/a/b"));
  EXPECT_EQ(MountAt(*spec, "/t")->options,
            (std::vector<std::string>{"nosuid", "nodev", "rprivate", "exec", "size=1m"}));
  request_.mounts = {{"/", "bind", "/tmp", {}, {}, {}}};
  EXPECT_FALSE(Make().ok());
}

TEST_F(OciSpecTest, LimitsAndInit) {
  host_.nano_cpus = 1'500'000'000;
  host_.memory = 64 << 20;
  host_.pids_limit = 10;
  host_.init = true;
  host_.ulimits = {{"nofile", 10, 20}};
  Result<oci::Spec> spec = Make();
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->platform.resources->cpu->quota, 150'000);
  EXPECT_EQ(spec->platform.resources->memory->swap, 128 << 20);
  EXPECT_EQ(spec->platform.resources->pids->limit, 10);
  EXPECT_EQ(spec->process->args.at(0), "/sbin/docker-init");
  EXPECT_EQ(spec->process->rlimits.at(0).type, "RLIMIT_NOFILE");
  EXPECT_EQ(MountAt(*spec, "/sbin/docker-init")->source, "/bin/gantry-init");
}

TEST_F(OciSpecTest, BadInputIsNamed) {
  host_.sysctls = {{"kernel.panic", "1"}};
  EXPECT_EQ(Make().error().message(),
            "sysctl 'kernel.panic' is not allowed: it is not of a namespace");
  host_.sysctls.clear();
  host_.security_opt = {"nonsense"};
  EXPECT_EQ(Make().error().message(), "invalid --security-opt 1: \"nonsense\"");
  host_.security_opt = {"seccomp={"};
  EXPECT_NE(Make().error().message().find("decoding seccomp profile"), std::string::npos);
  host_.security_opt.clear();
  host_.device_cgroup_rules = {"x 1:2 rwm"};
  EXPECT_EQ(Make().error().message(), "invalid device cgroup rule format: 'x 1:2 rwm'");
  host_.device_cgroup_rules = {"c *:5 rw"};
  Result<oci::Spec> spec = Make();
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->platform.resources->devices.back().minor, 5);
  EXPECT_FALSE(spec->platform.resources->devices.back().major.has_value());
  config_.cmd = {};
  EXPECT_EQ(Make().error().message(), "no command specified");
}

TEST_F(OciSpecTest, ExecTakesTheContainersProcess) {
  config_.env = {"A=1"};
  oci::Spec spec = *Make();
  ExecConfig exec;
  exec.cmd = {"ls"};
  exec.env = {"A=2", "B=3"};
  exec.working_dir = "/w";
  Accounts accounts{"root:x:0:0::/root:\nweb:x:33:33::/www:\n", ""};
  exec.user = "web";
  oci::Process process = *MakeExecProcess(exec, config_, host_, *spec.process, accounts);
  EXPECT_EQ(process.user.uid, 33u);
  EXPECT_EQ(process.cwd, "/w");
  auto has = [&](const char* variable) {
    return std::count(process.env.begin(), process.env.end(), variable) == 1;
  };
  EXPECT_TRUE(has("A=2") && has("B=3") && has("HOME=/www"));
}

TEST_F(OciSpecTest, ExecHasATerminalOfItsOwn) {
  auto has_term = [&](bool of_exec) {
    ExecConfig exec;
    exec.cmd = {"ls"};
    exec.tty = of_exec;
    oci::Process process = *MakeExecProcess(exec, config_, host_, *Make()->process, {});
    return std::count(process.env.begin(), process.env.end(), "TERM=xterm") == 1;
  };
  config_.tty = true;
  EXPECT_TRUE(has_term(true));
  EXPECT_FALSE(has_term(false));
  config_.env = {"TERM=xterm"};
  EXPECT_TRUE(has_term(false));
}

TEST(SeccompProfileTest, CapabilitiesOpenCalls) {
  auto allows = [](const oci::Seccomp& seccomp, const std::string& name) {
    return std::any_of(seccomp.syscalls.begin(), seccomp.syscalls.end(), [&](const auto& rule) {
      return rule.action == "SCMP_ACT_ALLOW" && rule.args.empty() &&
             std::count(rule.names.begin(), rule.names.end(), name) > 0;
    });
  };
  EXPECT_FALSE(allows(DefaultSeccomp({}), "mount"));
  EXPECT_TRUE(allows(DefaultSeccomp({"CAP_SYS_ADMIN"}), "mount"));
  EXPECT_TRUE(allows(DefaultSeccomp({}), "read"));
}

TEST(SeccompProfileTest, ReadsDockersForm) {
  Result<oci::Seccomp> seccomp = ParseSeccompProfile(R"({"defaultAction":"SCMP_ACT_ALLOW",
    "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
    "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":5},
      {"name":"chmod","action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_X"]}},
      {"names":["chown"],"action":"SCMP_ACT_ERRNO","excludes":{"arches":["s390x"]}}]})",
                                                     {});
  ASSERT_TRUE(seccomp.ok()) << seccomp.error().message();
  ASSERT_EQ(seccomp->syscalls.size(), 2u);
  EXPECT_EQ(seccomp->syscalls[0].errno_ret, 5u);
  EXPECT_EQ(seccomp->syscalls[1].names.at(0), "chown");
  EXPECT_EQ(ParseSeccompProfile("{}", {}).error().message(), "seccomp.defaultAction: is missing");
}

}  // namespace
}  // namespace gantry::engine
