// SPDX-License-Identifier: Apache-2.0
#include "networks/counters.h"

#include <charconv>

#include "base/io.h"
#include "base/text.h"

namespace gantry::networks {
namespace {

// net/core/net-procfs.c: eight columns for what was received, then as many for what was sent.
constexpr size_t kBytes = 0;
constexpr size_t kPackets = 1;
constexpr size_t kDropped = 3;
constexpr size_t kSent = 8;
constexpr size_t kColumns = 16;

}  // namespace

std::map<std::string, Counters> ParseCounters(std::string_view text) {
  std::map<std::string, Counters> found;
  for (const std::string& line : Split(text, '\n')) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;  // the headings
    std::vector<std::string> words = SplitWords(std::string_view(line).substr(colon + 1));
    if (words.size() < kColumns) continue;
    auto number = [&](size_t column) {
      uint64_t value = 0;
      std::from_chars(words[column].data(), words[column].data() + words[column].size(), value);
      return value;
    };
    Counters& counters = found[std::string(Trim(line.substr(0, colon)))];
    counters.sent_bytes = number(kBytes);
    counters.sent_packets = number(kPackets);
    counters.sent_dropped = number(kDropped);
    counters.received_bytes = number(kSent + kBytes);
    counters.received_packets = number(kSent + kPackets);
    counters.received_dropped = number(kSent + kDropped);
  }
  return found;
}

Result<std::map<std::string, Counters>> ReadCounters() {
  return ParseCounters(TRY_WITH(ReadFile("/proc/thread-self/net/dev"), "reading counters"));
}

}  // namespace gantry::networks
