// SPDX-License-Identifier: Apache-2.0
//
// Whether the kernel has sctp sockets: distributions have them as a module, some kernels not at
// all.
#pragma once

namespace gantry::kernel {

// Loads the module where there is one. Any thread.
bool HasSctp();

}  // namespace gantry::kernel
