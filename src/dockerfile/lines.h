// SPDX-License-Identifier: Apache-2.0
//
// A Dockerfile as lines: directives at its top, comments and continuations taken away, each
// instruction cut into keyword, flags, rest and here-documents. What the words mean is
// instruction.h's. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gantry::dockerfile {

// What may stand between the words of a line.
inline constexpr std::string_view kBlanks = " \t\v\f\r";

// At most this many bytes of a Dockerfile are read.
inline constexpr size_t kMaxBytes = size_t{4} << 20;

// <<NAME … NAME behind a RUN, COPY or ADD.
struct Heredoc {
  std::string name;     // without quotes
  std::string word;     // as it stands in the line: <<-"NAME"
  std::string content;  // each line with its end
  bool expands = true;  // the name was not quoted
};

struct Flag {
  std::string name;
  std::string value;
  bool has_value = false;
};

struct Line {
  int number = 0;        // of its first line, from 1
  int last = 0;          // of its last one, here-documents too
  int empty = 0;         // of the last one that a continuation with empty lines has; 0: none
  std::string keyword;   // upper case
  std::string written;   // the keyword as it is written
  std::string original;  // without continuations and here-documents
  std::string rest;      // behind keyword and flags
  std::vector<Flag> flags;
  std::vector<Heredoc> heredocs;
  std::vector<std::string> comments;  // above it, the text of each line
};

// "name=value", where the name has letters and digits only and is lower case then: a directive, or
// what looks like one in a comment.
std::optional<std::pair<std::string, std::string>> ReadDirective(std::string_view text);

struct Source {
  char escape = '\\';
  std::string syntax;
  std::string check;
  std::vector<Line> lines;
};

// kInvalidArgument: "dockerfile parse error on line N: …".
Result<Source> CutLines(std::string_view text);

// The keyword, flags and rest of one instruction: a line, or a trigger of ONBUILD.
Result<Line> CutLine(std::string_view text, char escape);

}  // namespace gantry::dockerfile
