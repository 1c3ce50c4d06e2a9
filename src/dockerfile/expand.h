// SPDX-License-Identifier: Apache-2.0
//
// Words of a Dockerfile: quotes taken off, escapes followed, variables put in.
//
//   $x ${x} ${x:-word} ${x-word} ${x:+word} ${x+word} ${x:?word} ${x?word}
//   ${x#pattern} ${x##pattern} ${x%pattern} ${x%%pattern} ${x/pattern/word} ${x//pattern/word}
//
// Pure; any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::dockerfile {

// The value of a variable; nothing when it is not set.
using Lookup = std::function<std::optional<std::string>(const std::string& name)>;

struct Expander {
  Lookup lookup;
  char escape = '\\';

  // One word, blanks in it too. Errors: kInvalidArgument, `failed to process "…": …`.
  Result<std::string> Word(std::string_view text) const;
  // Cut at blanks, also those of variables that stand outside of quotes.
  Result<std::vector<std::string>> Words(std::string_view text) const;
  // Only variables: quotes stay. For here-documents.
  Result<std::string> Text(std::string_view text) const;
};

// Cuts at blanks; quotes and escapes hold together and stay, for Expander::Word to take off.
std::vector<std::string> CutWords(std::string_view text, char escape);

}  // namespace gantry::dockerfile
