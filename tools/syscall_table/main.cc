// SPDX-License-Identifier: Apache-2.0
//
// Writes the table of system call names and their numbers per architecture that
// src/runtime/syscall_names.cc includes. Runs at build time and asks libseccomp, so that no product
// links it.
#include <seccomp.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

namespace {

constexpr uint32_t kArchitectures[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32,
                                       SCMP_ARCH_AARCH64, SCMP_ARCH_ARM};
constexpr int kX32Bit = 0x40000000;
constexpr int kMaxNumber = 1023;

// Newer than Debian 12's libseccomp; from 424 on, a call has one number on all architectures.
const std::map<std::string, int> kNewer = {
    {"cachestat", 451},         {"fchmodat2", 452},        {"map_shadow_stack", 453},
    {"futex_wake", 454},        {"futex_wait", 455},       {"futex_requeue", 456},
    {"statmount", 457},         {"listmount", 458},        {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},       {"listxattrat", 465},
    {"removexattrat", 466},     {"open_tree_attr", 467},   {"file_getattr", 468},
    {"file_setattr", 469},
};

// libseccomp gives these only pseudo numbers on x86, where they also come through socketcall(2) and
// ipc(2); the direct calls are there since 4.3 and 5.1.
const std::map<std::string, int> kDirectOnX86 = {
    {"socket", 359},      {"socketpair", 360},  {"bind", 361},       {"connect", 362},
    {"listen", 363},      {"accept4", 364},     {"getsockopt", 365}, {"setsockopt", 366},
    {"getsockname", 367}, {"getpeername", 368}, {"sendto", 369},     {"sendmsg", 370},
    {"recvfrom", 371},    {"recvmsg", 372},     {"shutdown", 373},   {"recvmmsg", 337},
    {"sendmmsg", 345},    {"semget", 393},      {"semctl", 394},     {"shmget", 395},
    {"shmctl", 396},      {"shmat", 397},       {"shmdt", 398},      {"msgget", 399},
    {"msgsnd", 400},      {"msgrcv", 401},      {"msgctl", 402},
};

}  // namespace

int main() {
  std::set<std::string> names;
  for (uint32_t architecture : kArchitectures) {
    int bit = architecture == SCMP_ARCH_X32 ? kX32Bit : 0;
    for (int number = 0; number <= kMaxNumber; ++number) {
      if (char* name = seccomp_syscall_resolve_num_arch(architecture, number | bit)) {
        names.insert(name);
        std::free(name);
      }
    }
  }
  for (const auto& [name, number] : kNewer) names.insert(name);
  for (const std::string& name : names) {
    std::printf("{\"%s\", {", name.c_str());
    for (uint32_t architecture : kArchitectures) {
      int number = seccomp_syscall_resolve_name_arch(architecture, name.c_str());
      auto direct = kDirectOnX86.find(name);
      if (architecture == SCMP_ARCH_X86 && direct != kDirectOnX86.end()) number = direct->second;
      auto newer = kNewer.find(name);
      if (number < 0 && newer != kNewer.end()) {
        number = newer->second | (architecture == SCMP_ARCH_X32 ? kX32Bit : 0);
      }
      std::printf("%d, ", number < 0 ? -1 : number);
    }
    std::printf("}},\n");
  }
  return 0;
}
