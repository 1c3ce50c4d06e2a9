// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/labels.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"

namespace gantry::runtime::child {
namespace {

// No mount, so no other file of any procfs, may lie over what is opened, nor a link lead elsewhere.
Result<UniqueFd> OpenOwnAttribute(const char* name) {
  UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct statfs info{};
  if (!proc.valid() || ::fstatfs(proc.get(), &info) < 0) return ErrnoError("opening '/proc'");
  if (info.f_type != PROC_SUPER_MAGIC) return FailedPrecondition("'/proc' is not a procfs");
  open_how how{};
  how.flags = O_RDWR | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  std::string path = fmt::format("self/attr/{}", name);
  UniqueFd file(
      static_cast<int>(::syscall(SYS_openat2, proc.get(), path.c_str(), &how, sizeof how)));
  if (!file.valid()) return ErrnoError("opening '/proc/{}'", path);
  return file;
}

// Not among the descriptors that the program is to have.
Result<UniqueFd> MoveAbove(UniqueFd file, unsigned preserved) {
  UniqueFd moved(::fcntl(file.get(), F_DUPFD_CLOEXEC, 3 + static_cast<int>(preserved)));
  if (!moved.valid()) return ErrnoError("moving a descriptor");
  return moved;
}

bool HasAppArmor() {
  Result<std::string> enabled = ReadFile("/sys/module/apparmor/parameters/enabled", 16);
  return enabled.ok() && enabled->starts_with('Y');
}

// "NAME (enforce)" of AppArmor, "NAME" with a NUL byte of SELinux.
bool Says(std::string_view text, std::string_view value) {
  // A namespace's profile, ":ns:name", is told in another form.
  if (value.starts_with(':')) return !text.empty();
  if (!text.starts_with(value)) return false;
  std::string_view rest = text.substr(value.size());
  return rest.empty() || rest[0] == ' ' || rest[0] == '\n' || rest[0] == '\0';
}

Result<> ApplyLabel(const Label& label) {
  if (::pwrite(label.file.get(), label.command.data(), label.command.size(), 0) < 0) {
    Error error = ErrnoError("{} '{}'", label.field, label.value);
    if (error.error_number() == ENOENT) error.AddHint("is the profile loaded?");
    return error;
  }
  char text[4096];
  ssize_t size = ::pread(label.file.get(), text, sizeof text, 0);
  if (size < 0) return ErrnoError("reading back {} '{}'", label.field, label.value);
  std::string_view told(text, static_cast<size_t>(size));
  if (Says(told, label.value)) return {};
  return FailedPrecondition("{} '{}': the kernel has '{}' instead", label.field, label.value,
                            told.substr(0, told.find('\n')));
}

}  // namespace

Result<std::vector<Label>> OpenLabels(const oci::Process& process, unsigned preserved_fds) {
  std::vector<Label> labels;
  if (!process.apparmor_profile.empty() && process.apparmor_profile != "unconfined") {
    constexpr std::string_view kField = "process.apparmorProfile";
    if (!HasAppArmor()) return FailedPrecondition("{}: this kernel has no AppArmor", kField);
    // The module's own file came with 5.8.
    Result<UniqueFd> file = OpenOwnAttribute("apparmor/exec");
    if (!file.ok() && file.error().error_number() == ENOENT) file = OpenOwnAttribute("exec");
    UniqueFd moved = TRY(MoveAbove(TRY_WITH(std::move(file), "{}", kField), preserved_fds));
    labels.push_back(
        {std::move(moved), "exec " + process.apparmor_profile, process.apparmor_profile, kField});
  }
  if (!process.selinux_label.empty()) {
    constexpr std::string_view kField = "process.selinuxLabel";
    if (!PathExists("/sys/fs/selinux/enforce")) {
      return FailedPrecondition("{}: this kernel has no SELinux", kField);
    }
    UniqueFd file = TRY(MoveAbove(TRY_WITH(OpenOwnAttribute("exec"), "{}", kField), preserved_fds));
    labels.push_back({std::move(file), process.selinux_label, process.selinux_label, kField});
  }
  return labels;
}

Result<> ApplyLabels(const std::vector<Label>& labels) {
  for (const Label& label : labels) TRY(ApplyLabel(label));
  return {};
}

}  // namespace gantry::runtime::child
