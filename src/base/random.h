// SPDX-License-Identifier: Apache-2.0
//
// Random bytes from the kernel (getrandom(2)). Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gantry {

void FillRandom(void* buffer, size_t size);
uint64_t RandomU64();
// 2 × `bytes` lower-case hexadecimal digits; container ids are RandomHex(32).
std::string RandomHex(size_t bytes);

}  // namespace gantry
