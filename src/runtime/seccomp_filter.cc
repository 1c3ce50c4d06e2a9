// SPDX-License-Identifier: Apache-2.0
#include "runtime/seccomp_filter.h"

#include <errno.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "runtime/syscall_names.h"

namespace gantry::runtime {
namespace {

using Code = std::vector<sock_filter>;

constexpr uint32_t kX32Bit = 0x40000000;
constexpr size_t kMaxProgram = 4096;  // BPF_MAXINSNS

// Jumps in conditions that are filled in when the rule's length is known.
constexpr uint8_t kToFail = 0xFF;
constexpr uint8_t kToPass = 0xFE;

struct Condition {
  uint32_t index;
  uint64_t value;
  uint64_t value_two;
  std::string_view op;
};

struct Rule {
  std::vector<Condition> conditions;
  uint32_t action;
};

// What happens to one call: an action at once, or rules and then the default.
struct Verdict {
  std::optional<uint32_t> action;
  std::vector<Rule> rules;
};

struct Profile {
  uint32_t default_action = 0;
  std::map<Architecture, std::map<uint32_t, Verdict>> calls;
};

sock_filter Statement(int code, uint32_t k) { return {static_cast<uint16_t>(code), 0, 0, k}; }
sock_filter Jump(int code, uint32_t k, size_t yes, size_t no) {
  return {static_cast<uint16_t>(BPF_JMP | code | BPF_K), static_cast<uint8_t>(yes),
          static_cast<uint8_t>(no), k};
}
sock_filter Return(uint32_t action) { return Statement(BPF_RET | BPF_K, action); }
sock_filter Load(size_t offset) {
  return Statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}

void Append(Code* out, const Code& more) { out->insert(out->end(), more.begin(), more.end()); }

// `test` true: falls through to `yes`; false: `no`. Long ways need an unconditional jump, since a
// condition reaches 255 instructions only.
Code Branch(int test, uint32_t k, const Code& yes, const Code& no) {
  Code out;
  if (yes.size() <= 255) {
    out.push_back(Jump(test, k, 0, yes.size()));
  } else {
    out.push_back(Jump(test, k, 1, 0));
    out.push_back(Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(yes.size())));
  }
  Append(&out, yes);
  Append(&out, no);
  return out;
}

Result<uint32_t> ActionValue(const std::string& name, std::optional<uint32_t> errno_ret) {
  uint32_t data = errno_ret.value_or(EPERM);
  if (errno_ret && name != "SCMP_ACT_ERRNO" && name != "SCMP_ACT_TRACE") {
    return InvalidArgument("action '{}' has no errnoRet", name);
  }
  if (data > SECCOMP_RET_DATA) return InvalidArgument("errnoRet {} is too large", data);
  if (name == "SCMP_ACT_ALLOW") return SECCOMP_RET_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SECCOMP_RET_ERRNO | data;
  if (name == "SCMP_ACT_TRACE") return SECCOMP_RET_TRACE | data;
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SECCOMP_RET_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SECCOMP_RET_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SECCOMP_RET_TRAP;
  if (name == "SCMP_ACT_LOG") return SECCOMP_RET_LOG;
  if (name == "SCMP_ACT_NOTIFY") return SECCOMP_RET_USER_NOTIF;
  return InvalidArgument("unknown action '{}'", name);
}

Result<> CheckOperator(const std::string& op) {
  for (std::string_view known : {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ",
                                 "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"}) {
    if (op == known) return {};
  }
  return InvalidArgument("unknown operator '{}'", op);
}

// The rules that one entry of the specification means. Conditions on the same argument are
// alternatives, on different ones they all must hold, as runc reads it.
std::vector<Rule> RulesOf(const oci::SeccompSyscall& call, uint32_t action) {
  bool repeated = false;
  unsigned seen = 0;
  for (const oci::SeccompArg& arg : call.args) {
    repeated |= (seen >> arg.index & 1) != 0;
    seen |= 1U << arg.index;
  }
  std::vector<Rule> rules;
  for (const oci::SeccompArg& arg : call.args) {
    if (rules.empty() || repeated) rules.push_back({{}, action});
    rules.back().conditions.push_back({arg.index, arg.value, arg.value_two, arg.op});
  }
  return rules;
}

// An unconditional entry wins over conditional ones wherever it stands, as in libseccomp.
void AddCall(std::map<uint32_t, Verdict>* calls, uint32_t number, const std::vector<Rule>& rules,
             uint32_t action) {
  Verdict& verdict = (*calls)[number];
  if (rules.empty()) {
    if (!verdict.action) verdict.action = action;
  } else {
    verdict.rules.insert(verdict.rules.end(), rules.begin(), rules.end());
  }
}

// On x86 these also come as one call with the kind in its first argument (socketcall(2), ipc(2)).
struct Multiplexed {
  std::string_view name;
  std::string_view through;
  uint32_t kind;
};
constexpr Multiplexed kMultiplexed[] = {
    {"socket", "socketcall", 1},
    {"bind", "socketcall", 2},
    {"connect", "socketcall", 3},
    {"listen", "socketcall", 4},
    {"accept", "socketcall", 5},
    {"getsockname", "socketcall", 6},
    {"getpeername", "socketcall", 7},
    {"socketpair", "socketcall", 8},
    {"send", "socketcall", 9},
    {"recv", "socketcall", 10},
    {"sendto", "socketcall", 11},
    {"recvfrom", "socketcall", 12},
    {"shutdown", "socketcall", 13},
    {"setsockopt", "socketcall", 14},
    {"getsockopt", "socketcall", 15},
    {"sendmsg", "socketcall", 16},
    {"recvmsg", "socketcall", 17},
    {"accept4", "socketcall", 18},
    {"recvmmsg", "socketcall", 19},
    {"sendmmsg", "socketcall", 20},
    {"semop", "ipc", 1},
    {"semget", "ipc", 2},
    {"semctl", "ipc", 3},
    {"semtimedop", "ipc", 4},
    {"msgsnd", "ipc", 11},
    {"msgrcv", "ipc", 12},
    {"msgget", "ipc", 13},
    {"msgctl", "ipc", 14},
    {"shmat", "ipc", 21},
    {"shmdt", "ipc", 22},
    {"shmget", "ipc", 23},
    {"shmctl", "ipc", 24},
};

void AddMultiplexed(std::map<uint32_t, Verdict>* calls, std::string_view name, uint32_t action) {
  for (const Multiplexed& entry : kMultiplexed) {
    if (entry.name != name) continue;
    std::optional<uint32_t> number = SyscallNumber(entry.through, Architecture::kX86);
    if (number) AddCall(calls, *number, {{{{0, entry.kind, 0, "SCMP_CMP_EQ"}}, action}}, action);
  }
}

Result<> AddEntry(const oci::SeccompSyscall& call, Profile* profile) {
  uint32_t action = TRY(ActionValue(call.action, call.errno_ret));
  for (const oci::SeccompArg& arg : call.args) {
    TRY(CheckOperator(arg.op));
    if (arg.index > 5) return InvalidArgument("argument index {} is above 5", arg.index);
  }
  std::vector<Rule> rules = RulesOf(call, action);
  for (const std::string& name : call.names) {
    for (auto& [architecture, calls] : profile->calls) {
      // What the profile names is known to it, even where it says no more than the default.
      std::optional<uint32_t> number = SyscallNumber(name, architecture);
      if (number && action == profile->default_action) calls.try_emplace(*number);
      if (action == profile->default_action) continue;
      if (number) AddCall(&calls, *number, rules, action);
      if (architecture == Architecture::kX86 && rules.empty()) {
        AddMultiplexed(&calls, name, action);
      }
    }
  }
  return {};
}

size_t LowWord(uint32_t index) { return offsetof(seccomp_data, args) + size_t{8} * index; }
size_t HighWord(uint32_t index) { return LowWord(index) + 4; }

// Jumps to kToFail or kToPass, or falls through to pass.
Code CompileCondition(const Condition& condition, bool wide) {
  Code out;
  auto high = static_cast<uint32_t>(condition.value >> 32);
  auto low = static_cast<uint32_t>(condition.value);
  std::string_view op = condition.op.substr(sizeof("SCMP_CMP_") - 1);
  if (op == "MASKED_EQ") {
    uint64_t wanted = condition.value & condition.value_two;
    if (wide) {
      out.push_back(Load(HighWord(condition.index)));
      out.push_back(Statement(BPF_ALU | BPF_AND | BPF_K, high));
      out.push_back(Jump(BPF_JEQ, static_cast<uint32_t>(wanted >> 32), 0, kToFail));
    }
    out.push_back(Load(LowWord(condition.index)));
    out.push_back(Statement(BPF_ALU | BPF_AND | BPF_K, low));
    out.push_back(Jump(BPF_JEQ, static_cast<uint32_t>(wanted), kToPass, kToFail));
    return out;
  }
  bool negated = op == "NE" || op == "LT" || op == "LE";
  uint8_t yes = negated ? kToFail : kToPass;
  uint8_t no = negated ? kToPass : kToFail;
  // NE, LT, LE are the opposites of EQ, GE, GT.
  int test = op == "EQ" || op == "NE" ? BPF_JEQ : op == "GE" || op == "LT" ? BPF_JGE : BPF_JGT;
  if (wide) {
    out.push_back(Load(HighWord(condition.index)));
    if (test != BPF_JEQ) out.push_back(Jump(BPF_JGT, high, yes, 0));
    out.push_back(Jump(BPF_JEQ, high, 0, no));
  }
  out.push_back(Load(LowWord(condition.index)));
  out.push_back(Jump(test, low, yes, no));
  return out;
}

Code CompileRule(const Rule& rule, bool wide) {
  std::vector<Code> conditions;
  size_t total = 0;
  for (const Condition& condition : rule.conditions) {
    conditions.push_back(CompileCondition(condition, wide));
    total += conditions.back().size();
  }
  Code out;
  for (const Code& condition : conditions) {
    size_t end = out.size() + condition.size();
    for (sock_filter instruction : condition) {
      size_t next = out.size() + 1;
      if (BPF_CLASS(instruction.code) == BPF_JMP) {
        for (uint8_t* way : {&instruction.jt, &instruction.jf}) {
          if (*way == kToPass) *way = static_cast<uint8_t>(end - next);
          // Over the rest of the conditions and the action.
          if (*way == kToFail) *way = static_cast<uint8_t>(total + 1 - next);
        }
      }
      out.push_back(instruction);
    }
  }
  out.push_back(Return(rule.action));
  return out;
}

Code CompileVerdict(const Verdict& verdict, uint32_t default_action, bool wide) {
  if (verdict.action) return {Return(*verdict.action)};
  Code out;
  for (const Rule& rule : verdict.rules) Append(&out, CompileRule(rule, wide));
  out.push_back(Return(default_action));
  return out;
}

// Numbers from `first` up to the next range's have this code.
struct Range {
  uint32_t first;
  Code code;
};

bool Same(const Code& a, const Code& b) {
  return a.size() == 1 && b.size() == 1 && a[0].k == b[0].k;
}

std::vector<Range> RangesOf(const std::map<uint32_t, Verdict>& calls, uint32_t base,
                            uint32_t default_action, uint32_t beyond, bool wide) {
  std::vector<Range> ranges;
  auto add = [&](uint32_t first, Code code) {
    if (!ranges.empty() && Same(ranges.back().code, code)) return;
    ranges.push_back({first, std::move(code)});
  };
  uint32_t next = base;
  for (const auto& [number, verdict] : calls) {
    if (number > next || ranges.empty()) {
      if (number > next) add(next, {Return(default_action)});
    }
    add(number, CompileVerdict(verdict, default_action, wide));
    next = number + 1;
  }
  add(next, {Return(beyond)});
  return ranges;
}

Code Tree(const std::vector<Range>& ranges, size_t begin, size_t end) {
  if (end - begin == 1) return ranges[begin].code;
  size_t middle = begin + (end - begin) / 2;
  return Branch(BPF_JGE, ranges[middle].first, Tree(ranges, middle, end),
                Tree(ranges, begin, middle));
}

// After the number was loaded.
Code CompileArchitecture(const Profile& profile, Architecture architecture) {
  auto found = profile.calls.find(architecture);
  if (found == profile.calls.end()) return {Return(SECCOMP_RET_KILL_THREAD)};
  // x32's arguments count as 32 bits wide too, as for libseccomp.
  bool wide = architecture == Architecture::kX86_64 || architecture == Architecture::kArm64;
  uint32_t base = architecture == Architecture::kX32 ? kX32Bit : 0;
  uint32_t kind = profile.default_action & SECCOMP_RET_ACTION_FULL;
  bool denies = kind == SECCOMP_RET_ERRNO || kind == SECCOMP_RET_KILL_THREAD ||
                kind == SECCOMP_RET_KILL_PROCESS || kind == SECCOMP_RET_TRAP;
  uint32_t beyond = denies && !found->second.empty() ? uint32_t{SECCOMP_RET_ERRNO} | ENOSYS
                                                     : profile.default_action;
  std::vector<Range> ranges = RangesOf(found->second, base, profile.default_action, beyond, wide);
  return Tree(ranges, 0, ranges.size());
}

Code CompileProfile(const Profile& profile) {
  Code out = {Load(offsetof(seccomp_data, arch))};
  Code rest = {Return(SECCOMP_RET_KILL_THREAD)};
  // Built from the last to the first, each with all later ones as its other way.
  for (Architecture architecture :
       {Architecture::kArm, Architecture::kArm64, Architecture::kX86, Architecture::kX86_64}) {
    if (!profile.calls.contains(architecture)) continue;
    Code block = {Load(offsetof(seccomp_data, nr))};
    Code calls = CompileArchitecture(profile, architecture);
    if (architecture == Architecture::kX86_64) {
      calls = Branch(BPF_JGE, kX32Bit, CompileArchitecture(profile, Architecture::kX32), calls);
    }
    Append(&block, calls);
    rest = Branch(BPF_JEQ, AuditValue(architecture), block, rest);
  }
  Append(&out, rest);
  return out;
}

bool IsOfThisMachine(Architecture architecture) {
  bool arm = architecture == Architecture::kArm64 || architecture == Architecture::kArm;
  return arm == (NativeArchitecture() == Architecture::kArm64);
}

constexpr unsigned kWaitKillable = 1U << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 5.19

Result<unsigned> FlagsOf(const oci::Seccomp& seccomp) {
  // Without flags the speculation mitigation is left to the program (as runc does since 1.1).
  if (seccomp.flags.empty()) return SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  unsigned flags = 0;
  for (const std::string& flag : seccomp.flags) {
    if (flag == "SECCOMP_FILTER_FLAG_TSYNC") {
      // There is one thread; and with a listener the kernel refuses it.
    } else if (flag == "SECCOMP_FILTER_FLAG_LOG") {
      flags |= SECCOMP_FILTER_FLAG_LOG;
    } else if (flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") {
      flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    } else if (flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") {
      flags |= kWaitKillable;
    } else {
      return InvalidArgument("unknown flag '{}'", flag);
    }
  }
  return flags;
}

}  // namespace

Result<child::SeccompProgram> CompileSeccomp(const oci::Seccomp& seccomp) {
  Profile profile;
  profile.default_action = TRY(ActionValue(seccomp.default_action, seccomp.default_errno_ret));
  profile.calls[NativeArchitecture()];
  for (const std::string& name : seccomp.architectures) {
    std::optional<Architecture> architecture = ArchitectureOfName(name);
    // What this kernel cannot run needs no rules.
    if (architecture && IsOfThisMachine(*architecture)) profile.calls[*architecture];
  }
  bool notifies = seccomp.default_action == "SCMP_ACT_NOTIFY";
  for (size_t i = 0; i < seccomp.syscalls.size(); ++i) {
    TRY_WITH(AddEntry(seccomp.syscalls[i], &profile), "syscalls[{}]", i);
    notifies |= seccomp.syscalls[i].action == "SCMP_ACT_NOTIFY";
  }
  if (notifies && seccomp.listener_path.empty()) {
    return InvalidArgument("SCMP_ACT_NOTIFY needs a listenerPath");
  }
  child::SeccompProgram program;
  program.flags = TRY(FlagsOf(seccomp));
  program.notifies = notifies;
  // It says how long a call waits for the listener, and the kernel refuses it without one.
  if (!notifies) program.flags &= ~kWaitKillable;
  program.filter = CompileProfile(profile);
  if (program.filter.size() > kMaxProgram) {
    return MakeError(ErrorKind::kResourceExhausted, "the filter has {} instructions, more than {}",
                     program.filter.size(), kMaxProgram);
  }
  return program;
}

}  // namespace gantry::runtime
