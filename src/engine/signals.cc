// SPDX-License-Identifier: Apache-2.0
#include "engine/signals.h"

#include <charconv>
#include <csignal>
#include <cstring>
#include <string>

#include "base/text.h"

namespace gantry::engine {
namespace {

constexpr int kFirstRealTime = 34;  // SIGRTMIN as glibc gives it to programs
constexpr int kLastRealTime = 64;

}  // namespace

Result<int> ParseSignal(std::string_view text) {
  std::string name = Upper(text);
  int number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc() && end == name.data() + name.size()) {
    if (number >= 1 && number <= kLastRealTime) return number;
    return InvalidArgument("Invalid signal: {}", text);
  }
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int signal = 1; signal < kFirstRealTime; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known != nullptr && name == known) return signal;
  }
  if (name == "IOT") return SIGABRT;
  if (name == "CLD") return SIGCHLD;
  if (name == "RTMIN") return kFirstRealTime;
  if (name == "RTMAX") return kLastRealTime;
  bool up = name.starts_with("RTMIN+");
  bool down = name.starts_with("RTMAX-");
  if (up || down) {
    int offset = 0;
    std::from_chars(name.data() + 6, name.data() + name.size(), offset);
    int signal = up ? kFirstRealTime + offset : kLastRealTime - offset;
    if (offset > 0 && signal >= kFirstRealTime && signal <= kLastRealTime) return signal;
  }
  return InvalidArgument("Invalid signal: {}", text);
}

}  // namespace gantry::engine
