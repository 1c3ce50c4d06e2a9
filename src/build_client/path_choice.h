// SPDX-License-Identifier: Apache-2.0
//
// Which part of a directory the engine asks for: without what patterns leave out, and, where it
// names paths, only these, what is below them, and what their symbolic links lead to. One thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "dockerfile/patterns.h"

namespace gantry::build_client {

class PathChoice {
 public:
  PathChoice() = default;
  // `excludes`: patterns of .dockerignore; `paths`: may have wildcards, none for everything.
  static Result<PathChoice> Create(BorrowedFd root, const std::vector<std::string>& excludes,
                                   const std::vector<std::string>& paths);

  enum class Part : uint8_t {
    kNone,
    kWhole,
    kBelow,  // of a directory: it is looked into, and goes along with what is found
  };
  Part Of(const std::string& path) const;

 private:
  using Components = std::vector<std::string>;
  void Follow(BorrowedFd root, const std::string& path);
  void FollowIn(BorrowedFd root, const std::string& above, const Components& rest, size_t depth);
  Part Chosen(const std::string& path) const;

  dockerfile::IgnoreList excludes_;
  std::set<std::string> followed_;
  std::vector<Components> patterns_;
};

}  // namespace gantry::build_client
