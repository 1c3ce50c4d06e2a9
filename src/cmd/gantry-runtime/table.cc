// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-runtime/table.h"

#include <algorithm>
#include <charconv>

#include "base/io.h"
#include "base/text.h"

namespace gantry::cmd {
namespace {

constexpr size_t kMinWidth = 12;
constexpr size_t kPadding = 3;

}  // namespace

std::string Table::Text() const {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()), kMinWidth);
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size() + kPadding);
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += i + 1 < row.size() ? fmt::format("{:<{}}", row[i], widths[i]) : row[i];
    }
    text += '\n';
  }
  return text;
}

Result<std::string> ProcessesOfTable(std::string_view text, const std::vector<pid_t>& pids) {
  std::vector<std::string> lines = SplitWords(text, "\n");
  if (lines.empty()) return Internal("ps: no output");
  std::vector<std::string> head = SplitWords(lines[0]);
  size_t column = static_cast<size_t>(std::find(head.begin(), head.end(), "PID") - head.begin());
  if (column == head.size()) return InvalidArgument("couldn't find PID field in ps output");
  std::string out = lines[0] + '\n';
  for (size_t i = 1; i < lines.size(); ++i) {
    std::vector<std::string> words = SplitWords(lines[i]);
    pid_t pid = 0;
    if (column < words.size()) {
      std::from_chars(words[column].data(), words[column].data() + words[column].size(), pid);
    }
    if (std::find(pids.begin(), pids.end(), pid) == pids.end()) continue;
    out += lines[i];
    out += '\n';
  }
  return out;
}

std::string UserName(uid_t uid) {
  std::string number = fmt::format("{}", uid);
  Result<std::string> text = ReadFile("/etc/passwd");
  if (!text.ok()) return number;
  for (const std::string& line : SplitWords(*text, "\n")) {
    // name:password:uid:…, where the password may be empty
    size_t first = line.find(':');
    size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string_view rest = std::string_view(line).substr(second + 1);
    if (rest.substr(0, rest.find(':')) == number) return line.substr(0, first);
  }
  return number;
}

}  // namespace gantry::cmd
