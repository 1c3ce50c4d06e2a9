// SPDX-License-Identifier: Apache-2.0
//
// Text cut into parts, trimmed, compared. Letters are those of ASCII, whatever the locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry {

// What is between the separators, the empty parts too: at least one.
std::vector<std::string> Split(std::string_view text, char separator);

// The parts between runs of any of `separators`, none of them empty. The last of `at_most` parts is
// the whole rest.
std::vector<std::string> SplitWords(std::string_view text, std::string_view separators = " \t",
                                    size_t at_most = SIZE_MAX);

// The parts with the separator before each that has something before it: empty ones at the start
// leave nothing. For any range of strings.
template <typename Range>
std::string Join(const Range& parts, std::string_view separator) {
  std::string out;
  for (const auto& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

// Without the blanks, line ends and other characters of `blanks` at both ends.
std::string_view Trim(std::string_view text, std::string_view blanks = " \t\r\n\f\v");

char Lower(char c);
std::string Lower(std::string_view text);
char Upper(char c);
std::string Upper(std::string_view text);

// How docker shows an id: its first 12 characters, those of a digest without the algorithm.
std::string ShortId(std::string_view id);

bool Contains(const std::vector<std::string>& list, std::string_view word);

// A path by text alone, as Go's path.Clean has it: no ".", no ".." that can be resolved, no
// doubled slashes and none at the end. "" is ".".
std::string CleanPath(std::string_view path);

// The length of the valid UTF-8 sequence at the start of `text`, which isn't empty, or 0: RFC 3629
// section 4 allows neither surrogates nor longer forms than needed.
size_t Utf8Length(std::string_view text);

}  // namespace gantry
