// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/identity.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "base/io.h"
#include "formats/json.h"
#include "kernel/capabilities.h"
#include "kernel/capability_names.h"
#include "kernel/pty.h"

namespace gantry::runtime::child {
namespace {

// The image supplies /etc/passwd, so it is read with a bound, and only if it is a plain file.
constexpr size_t kMaxPasswd = size_t{1} << 20;

std::string HomeOf(uint32_t uid) {
  UniqueFd file(::open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  struct stat info{};
  if (!file.valid() || ::fstat(file.get(), &info) < 0 || !S_ISREG(info.st_mode)) return "/";
  Result<std::string> text = ReadToEnd(file, kMaxPasswd);
  if (!text.ok()) return "/";
  std::string number = fmt::format("{}", uid);
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    // name:password:uid:gid:comment:home:shell (passwd(5))
    std::string_view fields[7];
    size_t count = 0;
    for (std::string_view left = line; count < 7; ++count) {
      size_t colon = left.find(':');
      fields[count] = left.substr(0, colon);
      if (colon == std::string_view::npos) break;
      left.remove_prefix(colon + 1);
    }
    if (count >= 5 && fields[2] == number && fields[5].starts_with('/')) {
      return std::string(fields[5]);
    }
  }
  return "/";
}

uint64_t Mask(const std::vector<std::string>& names) {
  uint64_t mask = 0;
  for (const std::string& name : names) {
    // A capability that this program or kernel does not know cannot be given (config.md).
    if (std::optional<int> number = kernel::CapabilityNumber(name)) mask |= uint64_t{1} << *number;
  }
  return mask;
}

kernel::CapabilitySets SetsOf(const oci::Capabilities& capabilities) {
  return {Mask(capabilities.bounding), Mask(capabilities.effective), Mask(capabilities.inheritable),
          Mask(capabilities.permitted), Mask(capabilities.ambient)};
}

// A listener's descriptor goes to the socket that the specification names, with what it says.
Result<> SendListener(const ProcessPlan& plan, BorrowedFd listener) {
  formats::Json container = TRY(formats::Json::Parse(plan.container_state));
  if (container["status"].AsString() != "running") container.Set("pid", plan.host_pid);
  formats::Json state = formats::Json::MakeObject({
      {"ociVersion", std::string(oci::kRuntimeSpecVersion)},
      {"fds", formats::Json::MakeArray({"seccompFd"})},
      {"pid", plan.host_pid},
      {"metadata", plan.seccomp.listener_metadata},
      {"state", std::move(container)},
  });
  return kernel::SendDescriptor(plan.seccomp.listener_socket, listener, state.Dump());
}

Result<> LoadSeccomp(const ProcessPlan& plan) {
  const SeccompProgram& seccomp = plan.seccomp;
  if (seccomp.filter.empty()) return {};
  sock_fprog program{static_cast<unsigned short>(seccomp.filter.size()),
                     const_cast<sock_filter*>(seccomp.filter.data())};
  unsigned flags = seccomp.flags;
  if (seccomp.listener_socket.valid()) flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (result < 0) return ErrnoError("loading the seccomp filter");
  if ((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0) {
    UniqueFd listener(static_cast<int>(result));
    TRY_WITH(SendListener(plan, listener), "sending the seccomp listener");
  }
  return {};
}

// Output that is a pipe or file of root's would be closed to a program that opens /dev/stdout anew.
void GiveStdio(uint32_t uid) {
  struct stat null_info{};
  bool has_null = ::stat("/dev/null", &null_info) == 0;
  for (int fd = 0; fd < 3; ++fd) {
    struct stat info{};
    if (::fstat(fd, &info) < 0 || info.st_uid == uid) continue;
    if (S_ISCHR(info.st_mode) && has_null && info.st_rdev == null_info.st_rdev) continue;
    // Fails for a socket, a read-only file, an unmapped owner: then it stays as it was.
    [[maybe_unused]] int ignored = ::fchown(fd, uid, static_cast<gid_t>(-1));
  }
}

Result<> ChangeUser(const oci::User& user, bool in_user_namespace) {
  std::vector<gid_t> groups(user.additional_gids.begin(), user.additional_gids.end());
  // In a user namespace with setgroups denied there is nothing to drop either.
  if (::setgroups(groups.size(), groups.data()) < 0 &&
      !(in_user_namespace && groups.empty() && errno == EPERM)) {
    return ErrnoError("setting the additional groups");
  }
  if (::syscall(SYS_setresgid, user.gid, user.gid, user.gid) < 0) {
    return ErrnoError("becoming group {}", user.gid);
  }
  if (::syscall(SYS_setresuid, user.uid, user.uid, user.uid) < 0) {
    return ErrnoError("becoming user {}", user.uid);
  }
  return {};
}

// By a leaked descriptor of the host a directory outside of the root could be the current one; the
// kernel then says "(unreachable)" (CVE-2024-21626).
Result<> CheckDirectory(const std::string& path) {
  char here[PATH_MAX];
  long size = ::syscall(SYS_getcwd, here, sizeof here);
  if (size <= 0 || here[0] != '/') {
    return FailedPrecondition("chdir to cwd '{}': it is outside of the container's root", path);
  }
  return {};
}

Result<> EnterDirectory(const std::string& path) {
  if (::chdir(path.c_str()) < 0) return ErrnoError("chdir to cwd '{}'", path);
  return CheckDirectory(path);
}

}  // namespace

std::string_view Variable(const std::vector<std::string>& environment, std::string_view name) {
  for (auto entry = environment.rbegin(); entry != environment.rend(); ++entry) {
    if (entry->size() > name.size() && entry->starts_with(name) && (*entry)[name.size()] == '=') {
      return std::string_view(*entry).substr(name.size() + 1);
    }
  }
  return {};
}

Result<> BecomeUser(const ProcessPlan& plan, std::vector<std::string>* environment) {
  const oci::Process& process = *plan.process;
  if (Variable(*environment, "HOME").empty()) {
    std::erase_if(*environment, [](const std::string& one) { return one.starts_with("HOME="); });
    environment->push_back("HOME=" + HomeOf(process.user.uid));
  }
  GiveStdio(process.user.uid);
  kernel::CapabilitySets sets;
  if (process.capabilities) sets = SetsOf(*process.capabilities);
  // Without no_new_privs loading a filter needs CAP_SYS_ADMIN, so it comes before the drop and has
  // to allow what follows; with it, it comes last.
  // The user may not be allowed to enter its directory, or root may not (NFS): tried as both. First
  // here, where no filter can refuse getcwd(2).
  bool entered = ::chdir(process.cwd.c_str()) == 0;
  if (entered) TRY(CheckDirectory(process.cwd));
  if (!process.no_new_privileges) TRY(LoadSeccomp(plan));
  TRY(kernel::DropBoundingSet(sets.bounding));
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return ErrnoError("keeping capabilities");
  TRY(ChangeUser(process.user, plan.in_user_namespace));
  uint64_t permitted = TRY(kernel::RaisePermitted());
  // Those that cannot be granted were warned of.
  sets.effective &= permitted;
  sets.permitted &= permitted;
  sets.inheritable &= permitted;
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) return ErrnoError("keeping capabilities");
  if (!entered) TRY(EnterDirectory(process.cwd));
  TRY(kernel::SetCapabilities(sets));
  ::umask(process.user.umask.value_or(022));
  if (process.no_new_privileges) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return ErrnoError("setting no_new_privs");
    TRY(LoadSeccomp(plan));
  }
  return {};
}

}  // namespace gantry::runtime::child
