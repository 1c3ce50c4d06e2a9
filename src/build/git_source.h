// SPDX-License-Identifier: Apache-2.0
//
// Files of a git repository, for contexts and ADD: by the host's git, which reads no configuration,
// runs no hooks, asks nobody, and speaks http, https, git and ssh only. Any thread; a call blocks.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"

namespace gantry::build {

// "git://…", "ssh://…", "git@…", "github.com/…", "https://….git": each with "#REF:DIRECTORY" maybe.
bool IsGitUrl(std::string_view text);

enum class GitDirectory { kDrop, kKeep };
// The directory that the URL names, which no link leads to.
struct GitTree {
  UniqueFd files;
  std::string path;
};
// The whole tree of the named revision (else of HEAD), with its submodules, into `path`, an empty
// directory that nobody else changes. kInvalidArgument for a bad reference or directory; a failing
// git is kUnknown in its own words.
Result<GitTree> FetchGit(const std::string& url, const std::string& path, GitDirectory keep,
                         const StopToken& stop);

}  // namespace gantry::build
