// SPDX-License-Identifier: Apache-2.0
#include "kernel/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"

namespace gantry::kernel {

Result<UniqueFd> MemoryFile(const char* name, std::string_view content) {
  UniqueFd file(::memfd_create(name, MFD_CLOEXEC));
  if (!file.valid()) return ErrnoError("making a memory file");
  TRY(WriteAll(file, content));
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return ErrnoError("rewinding a memory file");
  return file;
}

}  // namespace gantry::kernel
