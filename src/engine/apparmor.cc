// SPDX-License-Identifier: Apache-2.0
#include "engine/apparmor.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/spawn.h"

namespace gantry::engine {
namespace {

constexpr char kParser[] = "/sbin/apparmor_parser";
constexpr char kLoaded[] = "/sys/kernel/security/apparmor/profiles";

// Lines "NAME (enforce)".
bool IsLoaded(std::string_view name) {
  Result<std::string> loaded = ReadFile(kLoaded);
  if (!loaded.ok()) return false;
  return ("\n" + *loaded).find(fmt::format("\n{} (", name)) != std::string::npos;
}

// $1 is the profile's name. Patterns can't say "all but", so "all but kernel/shm*" is three rules.
constexpr char kRules[] = R"(
  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (send, receive) peer={0},
  ptrace (trace, read, tracedby, readby) peer={0},

  deny mount,
  deny /proc/* w,
  deny /proc/{{acpi,asound,bus,driver,fs,irq,mpt,scsi,sysvipc,tty}}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/k[^e]** w,
  deny /proc/sys/kernel/[^s]** w,
  deny /proc/sys/kernel/s[^h]** w,
  deny /proc/sys/kernel/sh[^m]** w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /sys/{{block,bus,class,dev,devices,hypervisor,kernel,module,power}}/** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
)";

}  // namespace

bool HostUsesAppArmor() {
  Result<std::string> enabled = ReadFile("/sys/module/apparmor/parameters/enabled", 16);
  return enabled.ok() && enabled->starts_with("Y") && PathExists(kParser);
}

std::string AppArmorProfileOf(const HostConfig& host) {
  if (!HostUsesAppArmor()) return "";
  for (const std::string& option : host.security_opt) {
    if (option.starts_with("apparmor=") || option.starts_with("apparmor:")) {
      return option.substr(9);
    }
  }
  return host.privileged ? "unconfined" : std::string(kDefaultAppArmorProfile);
}

std::string AppArmorProfileText(std::string_view name) {
  return fmt::format("profile {} flags=(attach_disconnected,mediate_deleted) {{{}}}\n", name,
                     fmt::format(kRules, name));
}

Result<> EnsureAppArmorProfile() {
  if (IsLoaded(kDefaultAppArmorProfile)) return {};
  // A file without a name: the parser reads it as its standard input.
  UniqueFd text = TRY(OpenFile("/tmp", O_TMPFILE | O_RDWR, 0600));
  TRY(WriteAll(text, AppArmorProfileText(kDefaultAppArmorProfile)));
  if (::lseek(text.get(), 0, SEEK_SET) < 0) return ErrnoError("rewinding a file");
  kernel::SpawnOptions parser;
  parser.program = kParser;
  // Replaces it if somebody was faster; without the cache on disk.
  parser.args = {"apparmor_parser", "-K", "-r"};
  parser.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  parser.fds = {{text.get(), 0}, {2, 2}};
  kernel::ExitStatus status =
      TRY_WITH(kernel::SpawnAndWait(parser), "loading AppArmor's '{}'", kDefaultAppArmorProfile);
  if (status.ShellCode() == 0) return {};
  return FailedPrecondition("loading AppArmor's '{}': {} ended with {}", kDefaultAppArmorProfile,
                            kParser, status.ShellCode());
}

}  // namespace gantry::engine
