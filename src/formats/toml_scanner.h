// SPDX-License-Identifier: Apache-2.0
//
// The text of a TOML document: blanks, comments, keys and strings, and where one is. For
// formats/toml.cc. Pure; one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::formats {

class TomlScanner {
 public:
  // Refuses what no part of a document may hold: invalid UTF-8, control characters.
  static Result<TomlScanner> Create(std::string_view text);

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool Take(char c);
  bool Take(std::string_view word);

  void SkipBlanks();  // within the line
  // Over comments and line ends too: between lines, and within brackets.
  void SkipLines();
  // A comment may be before the end of the line, nothing else.
  Result<> ExpectLineEnd();

  // A key with its dots: `a . "b".c`. *lines gets the line of its first part.
  Result<std::vector<std::string>> ReadKey();
  // One of the four kinds, from its first quote.
  Result<std::string> ReadString();
  // Up to what can't be a part of a number, date or bare word.
  std::string_view ReadWord();

  int line() const;
  // "line 3, column 7: …", for where the scanner is, or was.
  size_t position() const { return at_; }
  Error Fault(std::string_view what) const { return FaultAt(at_, what); }
  Error FaultAt(size_t position, std::string_view what) const;

 private:
  explicit TomlScanner(std::string text) : text_(std::move(text)) {}

  Result<std::string> ReadKeyPart();
  Result<std::string> ReadLines(char quote);
  Result<> ReadEscape(bool in_lines, std::string* out);
  Result<> ReadCodePoint(size_t digits, std::string* out);

  std::string text_;  // with "\n" for "\r\n"
  size_t at_ = 0;
  // line() goes on from where it was asked last.
  mutable size_t counted_to_ = 0;
  mutable int counted_lines_ = 1;
};

}  // namespace gantry::formats
