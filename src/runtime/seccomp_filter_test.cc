// SPDX-License-Identifier: Apache-2.0
//
// Our filters against libseccomp's: both programs run in a small interpreter for every
// architecture, every number that the profile can know, and edge values of the arguments.
#include "runtime/seccomp_filter.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <seccomp_profiles.inc>  // made by tools/seccomp_profiles
#include <set>

#include "formats/json.h"
#include "runtime/syscall_names.h"

namespace gantry::runtime {
namespace {

using Code = std::vector<sock_filter>;

// Classic BPF as far as seccomp allows it (Documentation/networking/filter.rst).
uint32_t Verdict(const Code& code, const seccomp_data& data) {
  uint32_t a = 0;
  for (size_t pc = 0; pc < code.size(); ++pc) {
    const sock_filter& in = code[pc];
    switch (in.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + in.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= in.k;
        break;
      case BPF_JMP | BPF_JA:
        pc += in.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        pc += a == in.k ? in.jt : in.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        pc += a >= in.k ? in.jt : in.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        pc += a > in.k ? in.jt : in.jf;
        break;
      case BPF_RET | BPF_K:
        return in.k;
      default:
        ADD_FAILURE() << "unknown instruction " << in.code;
        return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

uint32_t LibraryAction(const std::string& name, uint32_t error_number) {
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(error_number);
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  return SCMP_ACT_LOG;
}

scmp_compare LibraryOperator(const std::string& op) {
  if (op == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (op == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (op == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (op == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (op == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (op == "SCMP_CMP_GT") return SCMP_CMP_GT;
  return SCMP_CMP_MASKED_EQ;
}

Code LibraryProgram(const oci::Seccomp& profile) {
  scmp_filter_ctx context = seccomp_init(
      LibraryAction(profile.default_action, profile.default_errno_ret.value_or(EPERM)));
  seccomp_arch_add(context, SCMP_ARCH_X86);
  seccomp_arch_add(context, SCMP_ARCH_X32);
  for (const oci::SeccompSyscall& call : profile.syscalls) {
    uint32_t action = LibraryAction(call.action, call.errno_ret.value_or(EPERM));
    for (const std::string& name : call.names) {
      int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) continue;
      std::vector<scmp_arg_cmp> args;
      for (const oci::SeccompArg& arg : call.args) {
        args.push_back({arg.index, LibraryOperator(arg.op), arg.value, arg.value_two});
      }
      seccomp_rule_add_array(context, action, number, static_cast<unsigned>(args.size()),
                             args.data());
    }
  }
  int file = ::memfd_create("bpf", 0);
  EXPECT_EQ(seccomp_export_bpf(context, file), 0);
  seccomp_release(context);
  Code code(static_cast<size_t>(::lseek(file, 0, SEEK_END)) / sizeof(sock_filter));
  EXPECT_GT(::pread(file, code.data(), code.size() * sizeof(sock_filter), 0), 0);
  ::close(file);
  return code;
}

// Numbers next to every one that a rule names, and the rules' own values with their neighbours.
std::set<uint64_t> EdgeValues(const oci::Seccomp& profile) {
  std::set<uint64_t> values = {0, 1, UINT32_MAX, uint64_t{1} << 32, UINT64_MAX};
  for (const oci::SeccompSyscall& call : profile.syscalls) {
    for (const oci::SeccompArg& arg : call.args) {
      for (uint64_t value : {arg.value, arg.value_two}) {
        values.insert({value - 1, value, value + 1, value | uint64_t{1} << 32, ~value});
      }
    }
  }
  return values;
}

// A small profile: each argument has each of the edge values. A whole one compares first arguments
// only, and knows x32's own calls.
enum class Size { kSmall, kWhole };

void Compare(const oci::Seccomp& profile, uint32_t newest, Size size = Size::kSmall) {
  auto ours = CompileSeccomp(profile);
  ASSERT_TRUE(ours.ok()) << ours.error().message();
  Code theirs = LibraryProgram(profile);
  std::set<uint64_t> values = EdgeValues(profile);
  std::set<uint64_t> others = size == Size::kSmall ? values : std::set<uint64_t>{0, UINT64_MAX};
  size_t different = 0;
  auto check = [&](uint32_t arch, uint32_t number) {
    for (uint64_t first : values) {
      for (uint64_t second : others) {
        seccomp_data data{};
        data.arch = arch;
        data.nr = static_cast<int>(number);
        // 32-bit programs have 32-bit arguments.
        uint64_t mask = arch == AUDIT_ARCH_I386 ? UINT32_MAX : UINT64_MAX;
        for (auto& arg : data.args) arg = second & mask;
        data.args[0] = first & mask;
        uint32_t mine = Verdict(ours->filter, data);
        uint32_t other = Verdict(theirs, data);
        if (mine == other || ++different > 10) continue;
        ADD_FAILURE() << std::hex << "arch " << arch << " number " << number << " args " << first
                      << " " << second << ": " << mine << ", libseccomp " << other;
      }
    }
  };
  for (uint32_t number = 0; number <= newest; ++number) {
    check(AUDIT_ARCH_X86_64, number);
    check(AUDIT_ARCH_I386, number);
    check(AUDIT_ARCH_X86_64, number | 0x40000000);
  }
  for (uint32_t number = 512; size == Size::kWhole && number <= 547; ++number) {
    check(AUDIT_ARCH_X86_64, number | 0x40000000);
  }
  check(AUDIT_ARCH_ARM, 0);
  check(AUDIT_ARCH_AARCH64, 1);
  EXPECT_EQ(different, 0u);
}

oci::Seccomp Profile(std::string default_action, std::vector<oci::SeccompSyscall> calls) {
  oci::Seccomp profile;
  profile.default_action = std::move(default_action);
  profile.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  profile.syscalls = std::move(calls);
  return profile;
}

// The last call that all three architectures have with libseccomp 2.5.4.
constexpr uint32_t kNewest = 448;
const char kNewestName[] = "process_mrelease";

TEST(SeccompFilter, AllowListLikeLibseccomp) {
  Compare(Profile("SCMP_ACT_ERRNO",
                  {{{"read", "write", "openat", "close", "mmap", "futex", "exit_group", "socket",
                     "connect", "shmget", "semop", "clock_gettime64", kNewestName},
                    "SCMP_ACT_ALLOW",
                    {},
                    {}},
                   {{"clone"}, "SCMP_ACT_ALLOW", {}, {{0, 2114060288, 0, "SCMP_CMP_MASKED_EQ"}}},
                   {{"personality"}, "SCMP_ACT_ALLOW", {}, {{0, 0, 0, "SCMP_CMP_EQ"}}},
                   {{"personality"}, "SCMP_ACT_ALLOW", {}, {{0, 8, 0, "SCMP_CMP_EQ"}}},
                   {{"personality"}, "SCMP_ACT_ALLOW", {}, {{0, 0xFFFFFFFF, 0, "SCMP_CMP_EQ"}}},
                   {{"clone3"}, "SCMP_ACT_ERRNO", ENOSYS, {}}}),
          kNewest);
}

TEST(SeccompFilter, DenyListLikeLibseccomp) {
  Compare(Profile("SCMP_ACT_ALLOW", {{{"mount", "ptrace", "kexec_load"}, "SCMP_ACT_ERRNO", {}, {}},
                                     {{"reboot"}, "SCMP_ACT_KILL_PROCESS", {}, {}},
                                     {{"bpf"}, "SCMP_ACT_TRAP", {}, {}}}),
          500);
}

TEST(SeccompFilter, OperatorsLikeLibseccomp) {
  for (const char* op :
       {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT"}) {
    for (uint64_t value : {uint64_t{5}, uint64_t{5} << 32 | 7}) {
      SCOPED_TRACE(op);
      // Above 32 bits the 32-bit architecture is not comparable.
      oci::Seccomp profile = Profile(
          "SCMP_ACT_ERRNO",
          {{{"ioctl", kNewestName}, "SCMP_ACT_ALLOW", {}, {}},
           {{"prctl"}, "SCMP_ACT_ALLOW", {}, {{0, value, 0, op}, {1, 1, 0, "SCMP_CMP_NE"}}}});
      Compare(profile, 200);
    }
  }
}

// docker's whole profile, as the engine writes it into config.json.
class DefaultProfile : public testing::TestWithParam<bool> {
 protected:
  static oci::Seccomp Read() {
    auto json = formats::Json::Parse(GetParam() ? kDefaultProfileOfAdmin : kDefaultProfile);
    EXPECT_TRUE(json.ok()) << json.error().message();
    auto spec = oci::ParseSpec(*json);
    EXPECT_TRUE(spec.ok()) << spec.error().message();
    return *std::move(*spec).platform.seccomp;
  }
};

// Without and with CAP_SYS_ADMIN.
INSTANTIATE_TEST_SUITE_P(Administrator, DefaultProfile, testing::Bool());

TEST_P(DefaultProfile, LikeLibseccomp) { Compare(Read(), kNewest, Size::kWhole); }

// Calls that libseccomp does not know have the same number on all architectures.
TEST_P(DefaultProfile, CallsAfterLibseccomps) {
  const std::map<uint32_t, std::string> kNames = {
      {449, "futex_waitv"},       {450, "set_mempolicy_home_node"},
      {451, "cachestat"},         {452, "fchmodat2"},
      {453, "map_shadow_stack"},  {454, "futex_wake"},
      {455, "futex_wait"},        {456, "futex_requeue"},
      {457, "statmount"},         {458, "listmount"},
      {459, "lsm_get_self_attr"}, {460, "lsm_set_self_attr"},
      {461, "lsm_list_modules"},  {462, "mseal"},
      {463, "setxattrat"},        {464, "getxattrat"},
      {465, "listxattrat"},       {466, "removexattrat"},
      {467, "open_tree_attr"},    {468, "file_getattr"},
      {469, "file_setattr"},
  };
  oci::Seccomp profile = Read();
  std::set<std::string> allowed;
  for (const oci::SeccompSyscall& call : profile.syscalls) {
    if (call.action == "SCMP_ACT_ALLOW") allowed.insert(call.names.begin(), call.names.end());
  }
  uint32_t newest = 0;
  for (const auto& [number, name] : kNames) {
    if (allowed.contains(name)) newest = number;
  }
  ASSERT_GT(newest, 450u);
  auto program = CompileSeccomp(profile);
  ASSERT_TRUE(program.ok()) << program.error().message();
  for (uint32_t number = kNewest + 1; number <= 500; ++number) {
    auto name = kNames.find(number);
    bool is_allowed = name != kNames.end() && allowed.contains(name->second);
    for (auto [arch, bit] : {std::pair<uint32_t, uint32_t>{AUDIT_ARCH_X86_64, 0},
                             {AUDIT_ARCH_I386, 0},
                             {AUDIT_ARCH_X86_64, 0x40000000}}) {
      seccomp_data data{};
      data.arch = arch;
      data.nr = static_cast<int>(number | bit);
      // x32 has calls of its own from 512 on: nothing here is newer than those.
      bool is_newer = bit == 0 && number > newest;
      uint32_t expected =
          is_allowed ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | (is_newer ? ENOSYS : EPERM);
      EXPECT_EQ(Verdict(program->filter, data), expected)
          << std::hex << "arch " << arch << std::dec << " number " << number << " bit " << bit;
    }
  }
}

TEST(SeccompFilter, NewerCallsAreUnknown) {
  auto program =
      CompileSeccomp(Profile("SCMP_ACT_ERRNO", {{{"read", "openat2"}, "SCMP_ACT_ALLOW", {}, {}}}));
  ASSERT_TRUE(program.ok());
  seccomp_data data{};
  data.arch = AUDIT_ARCH_X86_64;
  data.nr = 438;  // pidfd_getfd, after openat2
  EXPECT_EQ(Verdict(program->filter, data), uint32_t{SECCOMP_RET_ERRNO} | ENOSYS);
  data.nr = 436;  // close_range, before it
  EXPECT_EQ(Verdict(program->filter, data), uint32_t{SECCOMP_RET_ERRNO} | EPERM);
}

TEST(SeccompFilter, BadProfilesAreErrors) {
  EXPECT_FALSE(CompileSeccomp(Profile("SCMP_ACT_BOGUS", {})).ok());
  oci::Seccomp foreign = Profile("SCMP_ACT_ALLOW", {});
  foreign.architectures = {"SCMP_ARCH_S390X"};
  EXPECT_TRUE(CompileSeccomp(foreign).ok());
  foreign.architectures = {"SCMP_ARCH_BOGUS"};
  EXPECT_FALSE(CompileSeccomp(foreign).ok());
  EXPECT_FALSE(
      CompileSeccomp(Profile("SCMP_ACT_ALLOW", {{{"read"}, "SCMP_ACT_NOTIFY", {}, {}}})).ok());
  EXPECT_FALSE(
      CompileSeccomp(
          Profile("SCMP_ACT_ALLOW", {{{"read"}, "SCMP_ACT_ERRNO", {}, {{6, 0, 0, "SCMP_CMP_EQ"}}}}))
          .ok());
}

TEST(FindSyscall, FindsTheSameFromAnywhere) {
  constexpr std::string_view kNames[] = {"_llseek", "accept", "accept4", "access", "mkdir",
                                         "mkdirat", "nosuch", "write",   "writev", "zzz"};
  for (std::string_view before : kNames) {
    for (std::string_view name : kNames) {
      const SyscallNumbers* found = FindSyscall(name, FindSyscall(before));
      EXPECT_EQ(found, FindSyscall(name)) << name << " after " << before;
      EXPECT_EQ(found != nullptr, name != "nosuch" && name != "zzz") << name;
    }
  }
}

}  // namespace
}  // namespace gantry::runtime
