// SPDX-License-Identifier: Apache-2.0
//
// ApplyProcessAttributes of identity.h: what is set while the host's /proc is still there.
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "runtime/child/identity.h"

namespace gantry::runtime::child {
namespace {

// sched_setattr(2) and ioprio_set(2) as the kernel has them; their headers clash with glibc's and
// C++.
struct SchedulerRequest {
  uint32_t size = sizeof(SchedulerRequest);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};
constexpr int kIoPriorityOfProcess = 1;
constexpr int kIoClassShift = 13;

struct NamedValue {
  std::string_view name;
  int value;
};

constexpr NamedValue kLimits[] = {
    {"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_STACK", RLIMIT_STACK},
    {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME},
};

constexpr NamedValue kPolicies[] = {
    {"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},       {"SCHED_BATCH", 3},
    {"SCHED_ISO", 4},   {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6},
};

constexpr NamedValue kSchedulerFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
    {"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
    {"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};

constexpr NamedValue kIoClasses[] = {
    {"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};

template <size_t N>
Result<int> ValueOf(const NamedValue (&table)[N], std::string_view name, std::string_view what) {
  for (const NamedValue& entry : table) {
    if (entry.name == name) return entry.value;
  }
  return InvalidArgument("{}: unknown value '{}'", what, name);
}

Result<> SetOomScore(int wanted) {
  const std::string file = "/proc/self/oom_score_adj";
  // Lowering needs CAP_SYS_RESOURCE; what is so already needs nothing.
  if (TRY(ReadFile(file)) == fmt::format("{}\n", wanted)) return {};
  TRY_WITH(WriteFile(file, fmt::format("{}", wanted)), "process.oomScoreAdj");
  return {};
}

Result<> SetScheduler(const oci::Scheduler& scheduler) {
  SchedulerRequest request;
  request.policy =
      static_cast<uint32_t>(TRY(ValueOf(kPolicies, scheduler.policy, "process.scheduler.policy")));
  request.nice = scheduler.nice;
  request.priority = static_cast<uint32_t>(scheduler.priority);
  request.runtime = scheduler.runtime;
  request.deadline = scheduler.deadline;
  request.period = scheduler.period;
  for (const std::string& flag : scheduler.flags) {
    request.flags |=
        static_cast<uint64_t>(TRY(ValueOf(kSchedulerFlags, flag, "process.scheduler.flags")));
  }
  if (::syscall(SYS_sched_setattr, 0, &request, 0) < 0) {
    return ErrnoError("setting process.scheduler");
  }
  return {};
}

Result<> SetIoPriority(const oci::IoPriority& priority) {
  int io_class = TRY(ValueOf(kIoClasses, priority.io_class, "process.ioPriority.class"));
  if (::syscall(SYS_ioprio_set, kIoPriorityOfProcess, 0,
                io_class << kIoClassShift | priority.priority) < 0) {
    return ErrnoError("setting process.ioPriority");
  }
  return {};
}

Result<> SetMemoryPolicy(const MemoryPolicy& policy) {
  // The kernel reads one bit less than it is told.
  size_t bits = policy.nodes.empty() ? 0 : policy.nodes.size() * 8 * sizeof(unsigned long) + 1;
  const unsigned long* nodes = policy.nodes.empty() ? nullptr : policy.nodes.data();
  if (::syscall(SYS_set_mempolicy, policy.mode, nodes, bits) < 0) {
    return ErrnoError("setting linux.memoryPolicy");
  }
  return {};
}

Result<> JoinKeyring(const std::string& id) {
  std::string name = "_ses." + id;
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.c_str()) < 0 && errno != ENOSYS) {
    return ErrnoError("making a session keyring");
  }
  return {};
}

}  // namespace

Result<> ApplyProcessAttributes(const ProcessPlan& plan) {
  const oci::Process& process = *plan.process;
  if (process.oom_score_adj) TRY(SetOomScore(*process.oom_score_adj));
  for (const oci::Rlimit& limit : process.rlimits) {
    int resource = TRY(ValueOf(kLimits, limit.type, "process.rlimits"));
    struct rlimit value{};
    value.rlim_cur = limit.soft;
    value.rlim_max = limit.hard;
    if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &value) < 0) {
      return ErrnoError("setting {} to {}", limit.type, limit.hard);
    }
  }
  if (process.scheduler) TRY(SetScheduler(*process.scheduler));
  if (process.io_priority) TRY(SetIoPriority(*process.io_priority));
  if (plan.memory_policy) TRY(SetMemoryPolicy(*plan.memory_policy));
  if (plan.personality && ::personality(static_cast<unsigned long>(*plan.personality)) < 0) {
    return ErrnoError("setting linux.personality");
  }
  if (!plan.final_cpus.empty() &&
      ::syscall(SYS_sched_setaffinity, 0, plan.final_cpus.size() * sizeof(unsigned long),
                plan.final_cpus.data()) < 0) {
    return ErrnoError("setting process.execCPUAffinity.final");
  }
  if (plan.new_keyring) TRY(JoinKeyring(plan.id));
  return {};
}

}  // namespace gantry::runtime::child
