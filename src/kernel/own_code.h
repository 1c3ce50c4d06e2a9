// SPDX-License-Identifier: Apache-2.0
//
// This program's code as it is mapped. Any thread.
#pragma once

namespace gantry::kernel {

// Takes the code of this program and of its libraries out of its memory; what runs again is mapped
// again, from the page cache. A start touches megabytes that nothing touches later, and a fault
// maps 15 pages around the one that was meant. Costs a page fault for each 64 KiB that are used on,
// in all some tenths of a millisecond. Breakpoints and uprobes that were set before are lost.
void UnmapOwnCode();

}  // namespace gantry::kernel
