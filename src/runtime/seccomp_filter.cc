// SPDX-License-Identifier: Apache-2.0
#include "runtime/seccomp_filter.h"

#include <errno.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <span>
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

// What one entry of the specification says about one call: an action at once, rules, or (neither)
// that the profile knows the call and leaves it to the default.
struct Saying {
  uint32_t number;
  std::optional<uint32_t> action;
  const std::vector<Rule>* rules;
};

struct Profile {
  uint32_t default_action = 0;
  // In the order of the specification; the profile is compiled at every start of a container, so
  // these are plain vectors and not maps of maps.
  std::map<Architecture, std::vector<Saying>> calls;
  std::deque<std::vector<Rule>> rules;  // what `calls` points to
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

// A program from its last instruction to its first: a jump only goes forwards, so what it passes
// over is always there already.
class Assembler {
 public:
  void Put(sock_filter instruction) { reversed_.push_back(instruction); }
  void Put(const Code& code) { reversed_.insert(reversed_.end(), code.rbegin(), code.rend()); }
  size_t size() const { return reversed_.size(); }

  // `test` true: falls through to what `yes` puts; false: to what `no` puts. Long ways need an
  // unconditional jump, since a condition reaches 255 instructions only.
  template <typename Yes, typename No>
  void Branch(int test, uint32_t k, Yes yes, No no) {
    no();
    size_t before = size();
    yes();
    size_t length = size() - before;
    if (length <= 255) {
      Put(Jump(test, k, 0, length));
    } else {
      Put(Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(length)));
      Put(Jump(test, k, 1, 0));
    }
  }

  Code Take() && {
    std::reverse(reversed_.begin(), reversed_.end());
    return std::move(reversed_);
  }

 private:
  Code reversed_;
};

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

// On x86 these also come as one call with the kind in its first argument (socketcall(2), ipc(2)).
// In alphabetical order.
struct Multiplexed {
  std::string_view name;
  std::string_view through;
  uint32_t kind;
};
constexpr Multiplexed kMultiplexed[] = {
    {"accept", "socketcall", 5},
    {"accept4", "socketcall", 18},
    {"bind", "socketcall", 2},
    {"connect", "socketcall", 3},
    {"getpeername", "socketcall", 7},
    {"getsockname", "socketcall", 6},
    {"getsockopt", "socketcall", 15},
    {"listen", "socketcall", 4},
    {"msgctl", "ipc", 14},
    {"msgget", "ipc", 13},
    {"msgrcv", "ipc", 12},
    {"msgsnd", "ipc", 11},
    {"recv", "socketcall", 10},
    {"recvfrom", "socketcall", 12},
    {"recvmmsg", "socketcall", 19},
    {"recvmsg", "socketcall", 17},
    {"semctl", "ipc", 3},
    {"semget", "ipc", 2},
    {"semop", "ipc", 1},
    {"semtimedop", "ipc", 4},
    {"send", "socketcall", 9},
    {"sendmmsg", "socketcall", 20},
    {"sendmsg", "socketcall", 16},
    {"sendto", "socketcall", 11},
    {"setsockopt", "socketcall", 14},
    {"shmat", "ipc", 21},
    {"shmctl", "ipc", 24},
    {"shmdt", "ipc", 22},
    {"shmget", "ipc", 23},
    {"shutdown", "socketcall", 13},
    {"socket", "socketcall", 1},
    {"socketpair", "socketcall", 8},
};
constexpr bool Before(const Multiplexed& a, const Multiplexed& b) { return a.name < b.name; }
static_assert(std::is_sorted(std::begin(kMultiplexed), std::end(kMultiplexed), Before));

void AddMultiplexed(std::string_view name, uint32_t action, Profile* profile) {
  const Multiplexed* entry = std::lower_bound(std::begin(kMultiplexed), std::end(kMultiplexed),
                                              Multiplexed{name, {}, 0}, Before);
  if (entry == std::end(kMultiplexed) || entry->name != name) return;
  const SyscallNumbers* call = FindSyscall(entry->through);
  std::optional<uint32_t> number = call ? call->On(Architecture::kX86) : std::nullopt;
  if (!number) return;
  profile->rules.push_back({{{{0, entry->kind, 0, "SCMP_CMP_EQ"}}, action}});
  profile->calls[Architecture::kX86].push_back({*number, {}, &profile->rules.back()});
}

Result<> AddEntry(const oci::SeccompSyscall& call, Profile* profile) {
  uint32_t action = TRY(ActionValue(call.action, call.errno_ret));
  for (const oci::SeccompArg& arg : call.args) {
    TRY(CheckOperator(arg.op));
    if (arg.index > 5) return InvalidArgument("argument index {} is above 5", arg.index);
  }
  // What the profile names is known to it, even where it says no more than the default.
  bool is_default = action == profile->default_action;
  const std::vector<Rule>* rules = nullptr;
  if (!call.args.empty() && !is_default) {
    rules = &profile->rules.emplace_back(RulesOf(call, action));
  }
  std::optional<uint32_t> at_once;
  if (call.args.empty() && !is_default) at_once = action;
  bool multiplexed = at_once && profile->calls.contains(Architecture::kX86);
  const SyscallNumbers* before = nullptr;
  for (const std::string& name : call.names) {
    const SyscallNumbers* known = FindSyscall(name, before);
    if (known != nullptr) before = known;
    for (auto& [architecture, calls] : profile->calls) {
      std::optional<uint32_t> number = known ? known->On(architecture) : std::nullopt;
      if (number) calls.push_back({*number, at_once, rules});
    }
    if (multiplexed) AddMultiplexed(name, action, profile);
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

// Numbers from `first` up to the next range's have this action, or, when `code` is not empty, this
// code.
struct Range {
  uint32_t first;
  uint32_t action;
  Code code;
};

// All that is said about one call. An unconditional entry wins over conditional ones wherever it
// stands, and the first of these over later ones, as in libseccomp.
Range RangeOf(const Saying* begin, const Saying* end, uint32_t default_action, bool wide) {
  Range range{begin->number, default_action, {}};
  for (const Saying* at = begin; at != end; ++at) {
    if (at->action) return {begin->number, *at->action, {}};
  }
  for (const Saying* at = begin; at != end; ++at) {
    if (at->rules == nullptr) continue;
    for (const Rule& rule : *at->rules) {
      Code compiled = CompileRule(rule, wide);
      range.code.insert(range.code.end(), compiled.begin(), compiled.end());
    }
  }
  if (!range.code.empty()) range.code.push_back(Return(default_action));
  return range;
}

std::vector<Range> RangesOf(std::vector<Saying>* calls, uint32_t base, uint32_t default_action,
                            uint32_t beyond, bool wide) {
  std::stable_sort(calls->begin(), calls->end(),
                   [](const Saying& a, const Saying& b) { return a.number < b.number; });
  std::vector<Range> ranges;
  auto add = [&](Range range) {
    bool same = !ranges.empty() && ranges.back().code.empty() && range.code.empty() &&
                ranges.back().action == range.action;
    if (!same) ranges.push_back(std::move(range));
  };
  uint32_t next = base;
  const Saying* end = calls->data() + calls->size();
  for (const Saying* at = calls->data(); at != end;) {
    const Saying* after = at;
    while (after != end && after->number == at->number) ++after;
    if (at->number > next) add({next, default_action, {}});
    add(RangeOf(at, after, default_action, wide));
    next = at->number + 1;
    at = after;
  }
  add({next, beyond, {}});
  return ranges;
}

void PutTree(const std::vector<Range>& ranges, size_t begin, size_t end, Assembler* out) {
  if (end - begin == 1) {
    const Range& range = ranges[begin];
    return range.code.empty() ? out->Put(Return(range.action)) : out->Put(range.code);
  }
  size_t middle = begin + (end - begin) / 2;
  out->Branch(
      BPF_JGE, ranges[middle].first, [&] { PutTree(ranges, middle, end, out); },
      [&] { PutTree(ranges, begin, middle, out); });
}

// After the number was loaded.
void PutArchitecture(Profile* profile, Architecture architecture, Assembler* out) {
  auto found = profile->calls.find(architecture);
  if (found == profile->calls.end()) return out->Put(Return(SECCOMP_RET_KILL_THREAD));
  // x32's arguments count as 32 bits wide too, as for libseccomp.
  bool wide = architecture == Architecture::kX86_64 || architecture == Architecture::kArm64;
  uint32_t base = architecture == Architecture::kX32 ? kX32Bit : 0;
  uint32_t kind = profile->default_action & SECCOMP_RET_ACTION_FULL;
  bool denies = kind == SECCOMP_RET_ERRNO || kind == SECCOMP_RET_KILL_THREAD ||
                kind == SECCOMP_RET_KILL_PROCESS || kind == SECCOMP_RET_TRAP;
  uint32_t beyond = denies && !found->second.empty() ? uint32_t{SECCOMP_RET_ERRNO} | ENOSYS
                                                     : profile->default_action;
  std::vector<Range> ranges = RangesOf(&found->second, base, profile->default_action, beyond, wide);
  PutTree(ranges, 0, ranges.size(), out);
}

void PutCalls(Profile* profile, Architecture architecture, Assembler* out) {
  auto calls = [&] { PutArchitecture(profile, architecture, out); };
  if (architecture == Architecture::kX86_64) {
    out->Branch(
        BPF_JGE, kX32Bit, [&] { PutArchitecture(profile, Architecture::kX32, out); }, calls);
  } else {
    calls();
  }
  out->Put(Load(offsetof(seccomp_data, nr)));
}

void PutProfile(Profile* profile, std::span<const Architecture> architectures, Assembler* out) {
  if (architectures.empty()) return out->Put(Return(SECCOMP_RET_KILL_THREAD));
  Architecture architecture = architectures.front();
  auto rest = [&] { PutProfile(profile, architectures.subspan(1), out); };
  if (!profile->calls.contains(architecture)) return rest();
  out->Branch(
      BPF_JEQ, AuditValue(architecture), [&] { PutCalls(profile, architecture, out); }, rest);
}

Code CompileProfile(Profile* profile) {
  constexpr Architecture kOrder[] = {Architecture::kX86_64, Architecture::kX86,
                                     Architecture::kArm64, Architecture::kArm};
  Assembler out;
  PutProfile(profile, kOrder, &out);
  out.Put(Load(offsetof(seccomp_data, arch)));
  return std::move(out).Take();
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

// Those of other machines (config-linux.md, "Seccomp").
constexpr std::string_view kForeign[] = {
    "MIPS",     "MIPS64",  "MIPS64N32",   "MIPSEL", "MIPSEL64", "MIPSEL64N32",
    "PPC",      "PPC64",   "PPC64LE",     "S390",   "S390X",    "PARISC",
    "PARISC64", "RISCV64", "LOONGARCH64", "M68K",   "SH",       "SHEB"};

Result<> AddArchitecture(std::string_view name, Profile* profile) {
  if (std::optional<Architecture> architecture = ArchitectureOfName(name)) {
    // What this kernel cannot run needs no rules.
    if (IsOfThisMachine(*architecture)) profile->calls[*architecture];
    return {};
  }
  constexpr std::string_view kPrefix = "SCMP_ARCH_";
  if (name.starts_with(kPrefix) && std::find(std::begin(kForeign), std::end(kForeign),
                                             name.substr(kPrefix.size())) != std::end(kForeign)) {
    return {};
  }
  return InvalidArgument("unknown architecture '{}'", name);
}

}  // namespace

Result<child::SeccompProgram> CompileSeccomp(const oci::Seccomp& seccomp) {
  Profile profile;
  profile.default_action = TRY(ActionValue(seccomp.default_action, seccomp.default_errno_ret));
  profile.calls[NativeArchitecture()];
  for (const std::string& name : seccomp.architectures) {
    TRY(AddArchitecture(name, &profile));
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
  program.filter = CompileProfile(&profile);
  if (program.filter.size() > kMaxProgram) {
    return MakeError(ErrorKind::kResourceExhausted, "the filter has {} instructions, more than {}",
                     program.filter.size(), kMaxProgram);
  }
  return program;
}

}  // namespace gantry::runtime
