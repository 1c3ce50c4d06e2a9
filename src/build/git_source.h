// SPDX-License-Identifier: Apache-2.0
//
// Files of a git repository, for contexts, ADD and LLB: by the host's git, which reads no
// configuration, runs no hooks, asks nobody, and speaks http, https, git and ssh only. Any thread;
// a call blocks.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "build/git_url.h"
#include "build/request.h"

namespace gantry::build {

// What a client gives for a repository that is not everybody's.
struct GitAccess {
  std::string authorization;               // of the web: the header's value
  std::optional<std::string> known_hosts;  // of ssh: lines of the file; unset: those of the machine
                                           // are honoured, others are believed
  // Hands who connects to the listener on to the client's agent, while the object lives; may be
  // empty.
  std::function<std::shared_ptr<void>(UniqueFd listener)> serve_agent;
};
// Names of the client's secrets, with the host behind a dot or without, and of its agent.
struct GitSecrets {
  std::string header = "GIT_AUTH_HEADER";
  std::string token = "GIT_AUTH_TOKEN";
  std::string agent = "default";  // "": none
};
// Of the client of that build. kNotFound: it has no such agent.
Result<GitAccess> FindGitAccess(const BuildRequest& request, const GitUrl& url,
                                const GitSecrets& names = {});

// The directory that the URL names, which no link leads to.
struct GitTree {
  UniqueFd files;
  std::string path;
  std::string commit;
  int64_t committed = 0;  // seconds since 1970
  std::string key;        // the same for the same files, .git apart
};
// The tree of the named revision, with its submodules unless the URL says otherwise, into `path`,
// an empty directory that nobody else changes. Its .git goes, unless the URL keeps it and names no
// directory. kInvalidArgument for a bad reference, checksum or directory; a failing git is kUnknown
// in its own words.
Result<GitTree> FetchGit(const GitUrl& url, const std::string& path, const GitAccess& access,
                         const StopToken& stop);

}  // namespace gantry::build
