// SPDX-License-Identifier: Apache-2.0
#include "kernel/clone.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gantry::kernel {
namespace {

struct CloneCall {
  long number;      // SYS_clone3 or SYS_clone
  long first;       // clone3's argument structure, or clone's flags
  long second;      // its size, or the end of the stack
  long parent_tid;  // clone's alone: where the pidfd goes
};

// glibc has no wrapper of clone3 that calls a function, and a plain syscall(2) would return in the
// child onto an empty stack.
pid_t CallOnStack(const CloneCall& call, int (*function)(void*), void* argument) {
#if defined(__x86_64__)
  long result;
  register long second asm("rsi") = call.second;
  register long parent_tid asm("rdx") = call.parent_tid;
  register long child_tid asm("r10") = 0;
  register long tls asm("r8") = 0;
  register void* function_register asm("r12") = reinterpret_cast<void*>(function);
  register void* argument_register asm("r13") = argument;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "mov %%r13, %%rdi\n"
      "call *%%r12\n"
      "mov %%eax, %%edi\n"
      "mov %[exit], %%eax\n"
      "syscall\n"
      "hlt\n"
      "1:\n"
      : "=a"(result)
      : "0"(call.number), "D"(call.first), "r"(second), "r"(parent_tid), "r"(child_tid), "r"(tls),
        "r"(function_register), "r"(argument_register), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory");
  return static_cast<pid_t>(result);
#elif defined(__aarch64__)
  register long x0 asm("x0") = call.first;
  register long x1 asm("x1") = call.second;
  register long x2 asm("x2") = call.parent_tid;
  register long x3 asm("x3") = 0;
  register long x4 asm("x4") = 0;
  register long x8 asm("x8") = call.number;
  register void* x20 asm("x20") = reinterpret_cast<void*>(function);
  register void* x21 asm("x21") = argument;
  asm volatile(
      "svc #0\n"
      "cbnz x0, 1f\n"
      "mov x29, #0\n"
      "mov x0, x21\n"
      "blr x20\n"
      "mov x8, %[exit]\n"
      "svc #0\n"
      "1:\n"
      : "+r"(x0)
      : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x8), "r"(x20), "r"(x21), [exit] "i"(SYS_exit)
      : "memory", "cc");
  return static_cast<pid_t>(x0);
#else
#error "clone is written for x86-64 and arm64"
#endif
}

}  // namespace

pid_t CloneOnStack(clone_args* args, int (*function)(void*), void* argument) {
  CloneCall call{.number = SYS_clone3,
                 .first = reinterpret_cast<long>(args),
                 .second = sizeof(clone_args),
                 .parent_tid = 0};
  pid_t pid = CallOnStack(call, function, argument);
  // The usual filters can't look into clone3's structure and say that there is no such call, but
  // let clone(2) pass. It has no CLONE_CLEAR_SIGHAND.
  if (pid != -ENOSYS || ((args->flags & ~CLONE_CLEAR_SIGHAND) >> 32) != 0) return pid;
  CloneCall old{.number = SYS_clone,
                .first = static_cast<long>((args->flags & UINT32_MAX) | args->exit_signal),
                .second = static_cast<long>(args->stack + args->stack_size),
                .parent_tid = static_cast<long>(args->pidfd)};
  return CallOnStack(old, function, argument);
}

pid_t CloneFork(clone_args* args) {
  long result = ::syscall(SYS_clone3, args, sizeof *args);
  return result < 0 ? -errno : static_cast<pid_t>(result);
}

}  // namespace gantry::kernel
