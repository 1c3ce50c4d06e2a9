// SPDX-License-Identifier: Apache-2.0
//
// Patterns of paths: those of .dockerignore (with ** and !), and the wildcards of COPY and ADD.
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::dockerfile {

// Go's filepath.Match: * and ? stop at a slash, [a-z] [^a-z], \ before a character.
bool MatchPath(std::string_view pattern, std::string_view path);
// Whether MatchPath would see more in it than a name.
bool HasWildcard(std::string_view text);
// "a/b" of "/a//./c/../b/": what filepath.Clean leaves, without a slash at the beginning. ".." that
// leads out stays in front.
std::string CleanRelative(std::string_view path);

class IgnoreList {
 public:
  // The text of a .dockerignore. kInvalidArgument: "illegal exclusion pattern: \"!\"".
  static Result<IgnoreList> Parse(std::string_view text);

  // Whether the file or directory at this clean, relative path is left out: itself or for a
  // directory above it. The last pattern that fits decides.
  bool Ignores(std::string_view path) const;
  // Some pattern brings back what another one left out: directories that are left out must be
  // looked into.
  bool has_exceptions() const { return has_exceptions_; }
  bool empty() const { return patterns_.empty(); }
  // The patterns as a client gets them that applies them itself: clean, exceptions with a "!".
  std::vector<std::string> Lines() const;

 private:
  struct Pattern {
    std::string text;
    bool exception = false;
  };
  std::vector<Pattern> patterns_;
  bool has_exceptions_ = false;
};

}  // namespace gantry::dockerfile
