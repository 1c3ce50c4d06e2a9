// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/error.h"

namespace gantry {

void FillRandom(void* buffer, size_t size) {
  char* at = static_cast<char*>(buffer);
  while (size > 0) {
    ssize_t got = ::getrandom(at, size, 0);
    CHECK(got > 0 || errno == EINTR);
    if (got < 0) continue;
    at += got;
    size -= static_cast<size_t>(got);
  }
}

uint64_t RandomU64() {
  uint64_t value = 0;
  FillRandom(&value, sizeof value);
  return value;
}

std::string RandomHex(size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string raw(bytes, '\0');
  FillRandom(raw.data(), raw.size());
  std::string out;
  out.reserve(bytes * 2);
  for (unsigned char c : raw) {
    out.push_back(kDigits[c >> 4]);
    out.push_back(kDigits[c & 15]);
  }
  return out;
}

}  // namespace gantry
