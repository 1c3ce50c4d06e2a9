// SPDX-License-Identifier: Apache-2.0
#include "engine/seccomp_profile.h"

#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "base/text.h"
#include "formats/json.h"

namespace gantry::engine {
namespace {

using formats::Json;
using formats::JsonReader;

#if defined(__x86_64__)
constexpr std::string_view kGoArchitecture = "amd64";
constexpr std::string_view kArchitecture = "SCMP_ARCH_X86_64";
const std::vector<std::string> kArchitectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
                                                 "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
constexpr std::string_view kGoArchitecture = "arm64";
constexpr std::string_view kArchitecture = "SCMP_ARCH_AARCH64";
const std::vector<std::string> kArchitectures = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#endif

constexpr std::string_view kAllow = "SCMP_ACT_ALLOW";

// What docker's default profile allows without a condition.
constexpr std::string_view kAllowed =
    "_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset "
    "chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 "
    "clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range "
    "connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl "
    "epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve "
    "execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate "
    "fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 "
    "fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 "
    "fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 "
    "futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu "
    "getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups "
    "getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom "
    "getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname "
    "getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch "
    "inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents "
    "io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc "
    "kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 "
    "lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr "
    "lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create "
    "memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 "
    "mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 "
    "mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd "
    "msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat "
    "openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect "
    "poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 "
    "pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv "
    "recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat "
    "rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction "
    "rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait "
    "rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop "
    "semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list "
    "set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
    "setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid "
    "setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid "
    "setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd "
    "signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 "
    "statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time "
    "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
    "timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime "
    "timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat "
    "uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid "
    "write writev ";

// What one capability allows more.
struct CapabilityRule {
  std::string_view capability;
  std::string_view names;
};
constexpr CapabilityRule kByCapability[] = {
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_SYS_ADMIN",
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
     "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount "
     "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
     "umount umount2 unshare"},
    {"CAP_SYS_BOOT", "reboot"},
    {"CAP_SYS_CHROOT", "chroot"},
    {"CAP_SYS_MODULE", "delete_module finit_module init_module"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_SYS_PTRACE",
     "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"},
    {"CAP_SYS_RAWIO", "ioperm iopl"},
    {"CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"},
    {"CAP_SYS_TTY_CONFIG", "vhangup"},
    {"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {"CAP_SYSLOG", "syslog"},
    {"CAP_BPF", "bpf"},
    {"CAP_PERFMON", "perf_event_open"},
};

// CLONE_NEW*: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
constexpr uint64_t kNamespaceFlags = 0x7E020000;
constexpr uint32_t kErrnoNotPermitted = 1;     // EPERM
constexpr uint32_t kErrnoNotImplemented = 38;  // ENOSYS
constexpr uint64_t kAddressFamilyAlg = 38;     // AF_ALG and AF_VSOCK are not for containers
constexpr uint64_t kAddressFamilyNfc = 39;
constexpr uint64_t kAddressFamilyVsock = 40;

void Allow(oci::Seccomp* seccomp, std::vector<std::string> names,
           std::vector<oci::SeccompArg> args = {}) {
  seccomp->syscalls.push_back(
      {std::move(names), std::string(kAllow), std::nullopt, std::move(args)});
}

}  // namespace

oci::Seccomp DefaultSeccomp(const std::set<std::string>& capabilities) {
  oci::Seccomp seccomp;
  seccomp.default_action = "SCMP_ACT_ERRNO";
  seccomp.default_errno_ret = kErrnoNotPermitted;
  seccomp.architectures = kArchitectures;
  Allow(&seccomp, SplitWords(kAllowed));
  // Safe since kernel 4.8, and no older one is supported.
  Allow(&seccomp, {"process_vm_readv", "process_vm_writev", "ptrace"});
  Allow(&seccomp, {"socket"}, {{0, kAddressFamilyAlg, 0, "SCMP_CMP_LT"}});
  Allow(&seccomp, {"socket"}, {{0, kAddressFamilyNfc, 0, "SCMP_CMP_EQ"}});
  Allow(&seccomp, {"socket"}, {{0, kAddressFamilyVsock, 0, "SCMP_CMP_GT"}});
  // PER_LINUX, PER_LINUX32, both with UNAME26, and the query.
  for (uint64_t persona : {0x0ull, 0x8ull, 0x20000ull, 0x20008ull, 0xFFFFFFFFull}) {
    Allow(&seccomp, {"personality"}, {{0, persona, 0, "SCMP_CMP_EQ"}});
  }
#if defined(__x86_64__)
  Allow(&seccomp, {"arch_prctl", "modify_ldt"});
#elif defined(__aarch64__)
  Allow(&seccomp, {"arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint",
                   "cacheflush", "set_tls"});
#endif
  for (const CapabilityRule& rule : kByCapability) {
    if (capabilities.contains(std::string(rule.capability))) {
      Allow(&seccomp, SplitWords(rule.names));
    }
  }
  if (!capabilities.contains("CAP_SYS_ADMIN")) {
    Allow(&seccomp, {"clone"}, {{0, kNamespaceFlags, 0, "SCMP_CMP_MASKED_EQ"}});
    // Its flags lie in memory, where a filter can't look: libcs fall back to clone.
    seccomp.syscalls.push_back({{"clone3"}, "SCMP_ACT_ERRNO", kErrnoNotImplemented, {}});
  }
  return seccomp;
}

namespace {

// Whether this kernel is at least "major.minor".
bool KernelIsAtLeast(std::string_view wanted) {
  auto parse = [](std::string_view text) {
    std::pair<int, int> version{0, 0};
    const char* end = text.data() + text.size();
    auto major = std::from_chars(text.data(), end, version.first);
    if (major.ptr < end && *major.ptr == '.') {
      std::from_chars(major.ptr + 1, end, version.second);
    }
    return version;
  };
  utsname name{};
  if (::uname(&name) < 0) return false;
  return parse(name.release) >= parse(wanted);
}

struct Condition {
  std::vector<std::string> capabilities;
  std::vector<std::string> architectures;
  std::string minimum_kernel;

  void Read(JsonReader& reader) {
    reader.Field("caps", &capabilities);
    reader.Field("arches", &architectures);
    reader.Field("minKernel", &minimum_kernel);
  }
  bool IncludesHold(const std::set<std::string>& held) const {
    for (const std::string& capability : capabilities) {
      if (!held.contains(capability)) return false;
    }
    return (architectures.empty() || Contains(architectures, kGoArchitecture)) &&
           (minimum_kernel.empty() || KernelIsAtLeast(minimum_kernel));
  }
  bool ExcludesHold(const std::set<std::string>& held) const {
    for (const std::string& capability : capabilities) {
      if (held.contains(capability)) return true;
    }
    return Contains(architectures, kGoArchitecture) ||
           (!minimum_kernel.empty() && KernelIsAtLeast(minimum_kernel));
  }
};

void ReadRule(JsonReader& rule, const std::set<std::string>& capabilities, oci::Seccomp* out) {
  oci::SeccompSyscall call;
  std::string name;
  rule.Field("name", &name);
  rule.Field("names", &call.names);
  if (!name.empty() && !call.names.empty()) {
    return rule.Fail("name", "can't be used together with 'names'");
  }
  if (!name.empty()) call.names = {name};
  rule.Field("action", &call.action);
  rule.Field("errnoRet", &call.errno_ret);
  rule.Objects("args", [&](JsonReader& reader) {
    oci::SeccompArg& arg = call.args.emplace_back();
    reader.Field("index", &arg.index);
    reader.Field("value", &arg.value);
    reader.Field("valueTwo", &arg.value_two);
    reader.Field("op", &arg.op);
  });
  Condition includes;
  Condition excludes;
  rule.Object("includes", [&](JsonReader& reader) { includes.Read(reader); });
  rule.Object("excludes", [&](JsonReader& reader) { excludes.Read(reader); });
  if (includes.IncludesHold(capabilities) && !excludes.ExcludesHold(capabilities)) {
    out->syscalls.push_back(std::move(call));
  }
}

}  // namespace

Result<oci::Seccomp> ParseSeccompProfile(std::string_view text,
                                         const std::set<std::string>& capabilities) {
  Json json = TRY_WITH(Json::Parse(text), "decoding seccomp profile");
  oci::Seccomp out;
  JsonReader reader(json, "seccomp");
  reader.Field("defaultAction", &out.default_action);
  reader.Field("defaultErrnoRet", &out.default_errno_ret);
  reader.Field("architectures", &out.architectures);
  reader.Field("flags", &out.flags);
  reader.Field("listenerPath", &out.listener_path);
  reader.Field("listenerMetadata", &out.listener_metadata);
  reader.Objects("archMap", [&](JsonReader& map) {
    std::string architecture;
    std::vector<std::string> others;
    map.Field("architecture", &architecture);
    map.Field("subArchitectures", &others);
    if (architecture == kArchitecture) {
      out.architectures = {architecture};
      out.architectures.insert(out.architectures.end(), others.begin(), others.end());
    }
  });
  if (reader.ok() && out.default_action.empty()) reader.Fail("defaultAction", "is missing");
  reader.Objects("syscalls", [&](JsonReader& rule) { ReadRule(rule, capabilities, &out); });
  TRY(reader.Finish());
  return out;
}

}  // namespace gantry::engine
