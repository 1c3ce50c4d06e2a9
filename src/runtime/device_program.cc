// SPDX-License-Identifier: Apache-2.0
//
// AttachDeviceProgram of cgroup_setup.h: the device rules of a v2 cgroup as a BPF program of type
// BPF_PROG_TYPE_CGROUP_DEVICE. The last rule that matches decides, so the program tries them from
// the last to the first.
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/io.h"
#include "runtime/cgroup_setup.h"

namespace gantry::runtime {
namespace {

constexpr uint8_t kType = BPF_REG_2;
constexpr uint8_t kAccess = BPF_REG_3;
constexpr uint8_t kMajor = BPF_REG_4;
constexpr uint8_t kMinor = BPF_REG_5;

bpf_insn Instruction(int code, int destination, int source, int offset, int immediate) {
  bpf_insn out{};
  out.code = static_cast<uint8_t>(code);
  out.dst_reg = static_cast<uint8_t>(destination & 15);
  out.src_reg = static_cast<uint8_t>(source & 15);
  out.off = static_cast<int16_t>(offset);
  out.imm = immediate;
  return out;
}

bpf_insn LoadContext(int destination, size_t offset) {
  return Instruction(BPF_LDX | BPF_MEM | BPF_W, destination, BPF_REG_1, static_cast<int>(offset),
                     0);
}

int AccessBits(const std::string& access) {
  int bits = 0;
  for (char c : access) {
    bits |= c == 'r' ? BPF_DEVCG_ACC_READ : c == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
  }
  return bits == 0 ? BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD : bits;
}

// access_type is (access << 16) | type.
void AppendRule(const oci::DeviceRule& rule, std::vector<bpf_insn>* out) {
  std::vector<bpf_insn> body;
  std::vector<size_t> misses;  // instructions that jump to the next rule
  auto unless = [&](int code, int reg, int value) {
    misses.push_back(body.size());
    body.push_back(Instruction(BPF_JMP32 | code | BPF_K, reg, 0, 0, value));
  };
  bool all = rule.type.empty() || rule.type == "a";
  if (!all) unless(BPF_JNE, kType, rule.type == "b" ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  int bits = AccessBits(rule.access);
  if (bits != 7) {
    // Matches if nothing is asked for beyond the rule's letters (an allow), or anything of them is
    // (a deny).
    body.push_back(Instruction(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_6, kAccess, 0, 0));
    body.push_back(
        Instruction(BPF_ALU | BPF_AND | BPF_K, BPF_REG_6, 0, 0, rule.allow ? ~bits & 7 : bits));
    unless(rule.allow ? BPF_JNE : BPF_JEQ, BPF_REG_6, 0);
  }
  if (!all && rule.major && *rule.major >= 0)
    unless(BPF_JNE, kMajor, static_cast<int>(*rule.major));
  if (!all && rule.minor && *rule.minor >= 0)
    unless(BPF_JNE, kMinor, static_cast<int>(*rule.minor));
  body.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule.allow ? 1 : 0));
  body.push_back(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  for (size_t at : misses) body[at].off = static_cast<int16_t>(body.size() - at - 1);
  out->insert(out->end(), body.begin(), body.end());
}

std::vector<bpf_insn> Compile(const std::vector<oci::DeviceRule>& rules) {
  std::vector<bpf_insn> code = {
      LoadContext(kType, offsetof(bpf_cgroup_dev_ctx, access_type)),
      Instruction(BPF_ALU | BPF_MOV | BPF_X, kAccess, kType, 0, 0),
      Instruction(BPF_ALU | BPF_AND | BPF_K, kType, 0, 0, 0xFFFF),
      Instruction(BPF_ALU | BPF_RSH | BPF_K, kAccess, 0, 0, 16),
      LoadContext(kMajor, offsetof(bpf_cgroup_dev_ctx, major)),
      LoadContext(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    AppendRule(*rule, &code);
    // Nothing before a rule for all devices and all access can be reached.
    if ((rule->type.empty() || rule->type == "a") && AccessBits(rule->access) == 7) return code;
  }
  code.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0));
  code.push_back(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  return code;
}

int Bpf(bpf_cmd command, bpf_attr* attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

Result<UniqueFd> Load(const std::vector<bpf_insn>& code) {
  static const char kLicense[] = "Apache-2.0";
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uintptr_t>(code.data());
  attributes.insn_cnt = static_cast<uint32_t>(code.size());
  attributes.license = reinterpret_cast<uintptr_t>(kLicense);
  UniqueFd program(Bpf(BPF_PROG_LOAD, &attributes));
  if (!program.valid()) return ErrnoError("loading the device program");
  return program;
}

// The ids of the programs that are attached now.
std::vector<uint32_t> Attached(BorrowedFd cgroup) {
  std::vector<uint32_t> ids(64);
  bpf_attr attributes{};
  attributes.query.target_fd = static_cast<uint32_t>(cgroup.get());
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = reinterpret_cast<uintptr_t>(ids.data());
  attributes.query.prog_cnt = static_cast<uint32_t>(ids.size());
  if (Bpf(BPF_PROG_QUERY, &attributes) < 0) return {};
  ids.resize(attributes.query.prog_cnt);
  return ids;
}

void Detach(BorrowedFd cgroup, uint32_t id) {
  bpf_attr by_id{};
  by_id.prog_id = id;
  UniqueFd program(Bpf(BPF_PROG_GET_FD_BY_ID, &by_id));
  if (!program.valid()) return;
  bpf_attr attributes{};
  attributes.target_fd = static_cast<uint32_t>(cgroup.get());
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  Bpf(BPF_PROG_DETACH, &attributes);
}

}  // namespace

Result<> AttachDeviceProgram(const std::string& directory,
                             const std::vector<oci::DeviceRule>& rules) {
  UniqueFd program = TRY_WITH(Load(Compile(rules)), "linux.resources.devices");
  UniqueFd cgroup = TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY));
  std::vector<uint32_t> before = Attached(cgroup);
  bpf_attr attributes{};
  attributes.target_fd = static_cast<uint32_t>(cgroup.get());
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (Bpf(BPF_PROG_ATTACH, &attributes) < 0) return ErrnoError("attaching the device program");
  // All attached programs must allow, so the old ones go only after the new one is there.
  for (uint32_t id : before) Detach(cgroup, id);
  return {};
}

}  // namespace gantry::runtime
