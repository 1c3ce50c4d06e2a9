// SPDX-License-Identifier: Apache-2.0
#include "kernel/clone.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gantry::kernel {

// glibc has no wrapper of clone3 that calls a function, and a plain syscall(2) would return in the
// child onto an empty stack.
pid_t CloneOnStack(clone_args* args, int (*function)(void*), void* argument) {
#if defined(__x86_64__)
  long result;
  register long size asm("rsi") = sizeof(clone_args);
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
      : "0"(static_cast<long>(SYS_clone3)), "D"(args), "r"(size), "r"(function_register),
        "r"(argument_register), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory");
  return static_cast<pid_t>(result);
#elif defined(__aarch64__)
  register long x0 asm("x0") = reinterpret_cast<long>(args);
  register long x1 asm("x1") = sizeof(clone_args);
  register long x8 asm("x8") = SYS_clone3;
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
      : "r"(x1), "r"(x8), "r"(x20), "r"(x21), [exit] "i"(SYS_exit)
      : "memory", "cc");
  return static_cast<pid_t>(x0);
#else
#error "clone3 is written for x86-64 and arm64"
#endif
}

pid_t CloneFork(clone_args* args) {
  long result = ::syscall(SYS_clone3, args, sizeof *args);
  return result < 0 ? -errno : static_cast<pid_t>(result);
}

}  // namespace gantry::kernel
