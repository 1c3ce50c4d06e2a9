// SPDX-License-Identifier: Apache-2.0
//
// Measures the peak resident set of a command and of what it waits for, in kB. Small itself, since
// a process begins with the peak of the one that made it. Not installed.
//
//   peak COMMAND [ARGUMENT…]   its number after the command's output
//   peak                       prints "peak": a program for the container that is measured
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 2) return puts("peak") < 0;
  pid_t pid = vfork();
  if (pid == 0) {
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  int status = 0;
  struct rusage usage;
  if (pid < 0 || wait4(pid, &status, 0, &usage) < 0) {
    perror("peak");
    return 1;
  }
  printf("%ld\n", usage.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
