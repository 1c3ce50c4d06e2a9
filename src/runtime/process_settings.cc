// SPDX-License-Identifier: Apache-2.0
#include "runtime/process_settings.h"

#include <linux/mempolicy.h>
#include <sys/personality.h>

#include <charconv>

#include "base/io.h"

namespace gantry::runtime {
namespace {

// More processors or nodes than any kernel is built for.
constexpr unsigned kMaxNumber = 8192;
constexpr unsigned kWordBits = 8 * sizeof(unsigned long);

struct NamedValue {
  std::string_view name;
  int value;
};

constexpr NamedValue kPolicies[] = {
    {"MPOL_DEFAULT", MPOL_DEFAULT},  {"MPOL_PREFERRED", MPOL_PREFERRED},
    {"MPOL_BIND", MPOL_BIND},        {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
    {"MPOL_LOCAL", MPOL_LOCAL},      {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
    {"MPOL_WEIGHTED_INTERLEAVE", 6},  // 6.9; newer than the headers
};

constexpr NamedValue kPolicyFlags[] = {
    {"MPOL_F_NUMA_BALANCING", 1 << 13},
    {"MPOL_F_RELATIVE_NODES", 1 << 14},
    {"MPOL_F_STATIC_NODES", 1 << 15},
};

constexpr NamedValue kDomains[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};

template <size_t N>
Result<int> ValueOf(const NamedValue (&table)[N], std::string_view name, std::string_view what) {
  for (const NamedValue& entry : table) {
    if (entry.name == name) return entry.value;
  }
  return InvalidArgument("{}: unknown value '{}'", what, name);
}

Result<unsigned> ParseNumber(std::string_view text, std::string_view what) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      value >= kMaxNumber) {
    return InvalidArgument("{}: '{}' is not a number below {}", what, text, kMaxNumber);
  }
  return value;
}

Result<child::MemoryPolicy> PlanMemoryPolicy(const oci::MemoryPolicy& policy) {
  child::MemoryPolicy out;
  out.mode = TRY(ValueOf(kPolicies, policy.mode, "linux.memoryPolicy.mode"));
  for (const std::string& flag : policy.flags) {
    out.mode |= TRY(ValueOf(kPolicyFlags, flag, "linux.memoryPolicy.flags"));
  }
  if (!policy.nodes.empty()) {
    out.nodes = TRY(ParseNumberList(policy.nodes, "linux.memoryPolicy.nodes"));
  }
  return out;
}

}  // namespace

Result<std::vector<unsigned long>> ParseNumberList(std::string_view text, std::string_view what) {
  std::vector<unsigned long> mask;
  for (;;) {
    std::string_view part = text.substr(0, text.find(','));
    size_t dash = part.find('-');
    unsigned first = TRY(ParseNumber(part.substr(0, dash), what));
    unsigned last = first;
    if (dash != std::string_view::npos) last = TRY(ParseNumber(part.substr(dash + 1), what));
    if (last < first) return InvalidArgument("{}: '{}' is no range", what, part);
    if (mask.size() <= last / kWordBits) mask.resize(last / kWordBits + 1);
    for (unsigned i = first; i <= last; ++i) mask[i / kWordBits] |= 1UL << (i % kWordBits);
    if (part.size() == text.size()) return mask;
    text.remove_prefix(part.size() + 1);
  }
}

Result<> CheckLabels(const oci::LinuxPlatform& platform) {
  if (!platform.mount_label.empty() && !PathExists("/sys/fs/selinux/enforce")) {
    return FailedPrecondition("linux.mountLabel: this kernel has no SELinux");
  }
  return {};
}

Result<> FillProcessSettings(const oci::LinuxPlatform& platform, child::ProcessPlan* plan) {
  if (platform.personality) {
    const oci::Personality& personality = *platform.personality;
    if (!personality.flags.empty()) {
      return InvalidArgument("linux.personality.flags: the specification defines none");
    }
    plan->personality = TRY(ValueOf(kDomains, personality.domain, "linux.personality.domain"));
  }
  if (platform.memory_policy) plan->memory_policy = TRY(PlanMemoryPolicy(*platform.memory_policy));
  return {};
}

}  // namespace gantry::runtime
