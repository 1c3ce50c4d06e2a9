// SPDX-License-Identifier: Apache-2.0
#include "kernel/own_code.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace gantry::kernel {
namespace {

// Private file mappings that were never written to: what is dropped is read again as it was.
int UnmapCodeOf(dl_phdr_info* object, size_t, void*) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = object->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & (PF_X | PF_W)) != PF_X) continue;
    uintptr_t begin = (object->dlpi_addr + part.p_vaddr) / page * page;
    uintptr_t end = object->dlpi_addr + part.p_vaddr + part.p_memsz;
    // A failure leaves it as it is, which is no fault.
    (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // NOLINT
  }
  return 0;
}

}  // namespace

void UnmapOwnCode() { ::dl_iterate_phdr(UnmapCodeOf, nullptr); }

}  // namespace gantry::kernel
