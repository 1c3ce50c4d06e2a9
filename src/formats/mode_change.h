// SPDX-License-Identifier: Apache-2.0
//
// What chmod(1) takes: permission bits in octal, or changes in letters (POSIX.1-2024, "chmod",
// EXTENDED DESCRIPTION), of which none depends on a mask. Pure; any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::formats {

class ModeChange {
 public:
  // These bits, whatever there was.
  ModeChange(mode_t bits);  // NOLINT: a mode is a change to it
  // "755", "u=rwX,go-w". kInvalidArgument.
  static Result<ModeChange> Parse(std::string_view text);

  // The permission bits of a file that has `mode`.
  mode_t Apply(mode_t mode, bool is_directory) const;

  bool operator==(const ModeChange&) const = default;

 private:
  struct Action {
    char op = '=';       // + - =
    mode_t of = 07777;   // whose bits
    mode_t bits = 0;     // of all three classes
    mode_t if_any = 0;   // set only where somebody may execute, or it is a directory
    char copied = '\0';  // u, g, o: the bits of that class instead
    bool operator==(const Action&) const = default;
  };
  ModeChange() = default;
  static Result<std::vector<Action>> ParseClause(std::string_view clause);
  std::vector<Action> actions_;
};

}  // namespace gantry::formats
