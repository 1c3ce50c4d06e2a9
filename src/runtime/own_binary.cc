// SPDX-License-Identifier: Apache-2.0
#include "runtime/own_binary.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/protected_program.h"

namespace gantry::runtime {

Result<> ProtectOwnBinary(char** argv, char** envp) {
  UniqueFd file = TRY(OpenFile("/proc/self/exe", O_RDONLY));
  if (kernel::IsProtectedProgram(file)) return {};
  UniqueFd program = TRY(kernel::ProtectProgram(file));
  ::syscall(SYS_execveat, program.get(), "", argv, envp, AT_EMPTY_PATH);
  return ErrnoError("executing the protected program");
}

}  // namespace gantry::runtime
