// SPDX-License-Identifier: Apache-2.0
//
// What a URL says of a git repository and of what is wanted of it, as BuildKit reads it: in a
// fragment, "#REF:DIRECTORY", or in a query. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::build {

struct GitUrl {
  std::string repository;  // as git takes it
  std::string reference;   // a branch, a tag, a whole commit; "": the repository's own choice
  std::string directory;   // "": all
  std::string checksum;    // how the hash of the commit, or of the tag, begins; "": it may be any
  std::optional<bool> keeps_git_directory;
  std::optional<bool> submodules;
  bool commit_times = false;  // files are of the commit's time
  bool by_commit = false;     // `checksum` is fetched, whatever the reference is elsewhere
};

// "git://…", "ssh://…", "USER@HOST:PATH", "github.com/…", "https://….git": each with a query and a
// fragment maybe.
bool IsGitUrl(std::string_view text);

// kInvalidArgument: parts that contradict each other, a query that means nothing, a reference or a
// checksum that is none.
Result<GitUrl> ParseGitUrl(const std::string& text);
Result<> CheckGitUrl(const GitUrl& url);

// Git's own name of a commit, in full: 40 or 64 digits.
bool IsGitCommit(std::string_view text);
// Git asks ssh for it.
bool IsSshUrl(std::string_view repository);
// The host with its port, "" without one.
std::string HostOfGitUrl(std::string_view repository);
// Without the name and the password before the host.
std::string WithoutCredentials(const std::string& repository);

}  // namespace gantry::build
