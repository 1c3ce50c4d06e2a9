// SPDX-License-Identifier: Apache-2.0
//
// What COPY and ADD take: files and directories below a root that somebody else has filled. Names
// are resolved by the kernel below that root; symbolic links on the way and at the end of a named
// source are followed inside of it. One thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "dockerfile/patterns.h"
#include "trees/archive_tree.h"

namespace gantry::build {

struct CopySource {
  UniqueFd parent;   // of a file: the directory that has it; of a directory: itself
  std::string name;  // the entry in `parent`; "" for a directory
  std::string base;  // what the copy is called in a directory
  bool is_directory = false;
  bool is_archive = false;  // ADD: it is unpacked instead
  // Of a directory: what of it; unset: everything.
  std::function<trees::Take(const std::string& path)> takes;
  std::string hash;  // of all that a copy shows, times apart
};

struct FindRequest {
  BorrowedFd root;
  // What errors call it: "file not found in build context or excluded by .dockerignore".
  std::string missing;
  bool in_classic_words = false;  // "stat PATH: file does not exist", not "\"/PATH\": not found"
  bool finds_archives = false;
  bool follows_links = true;  // also at the end of a path
  // Left out: a named file by its name, what is in a directory by its path below that.
  dockerfile::IgnoreList excludes;
  // Unless it is empty: what is in a directory and not in this list, or below, is left out, too.
  dockerfile::IgnoreList includes;
  StopToken stop;
};

// The one source at that path, in which nothing is a wildcard. kNotFound.
Result<CopySource> FindSource(const FindRequest& request, const std::string& path);

// The sources that `pattern` names: one, or with wildcards any number, sorted. kNotFound.
Result<std::vector<CopySource>> FindSources(const FindRequest& request, const std::string& pattern);

// `COPY --parents`: the directory up to "/./", else the root, as one source with nothing but what
// the rest of the pattern names, at its path. No link is followed in that rest. kNotFound.
Result<CopySource> FindWithParents(const FindRequest& request, const std::string& pattern);

// The same for a pattern that has wildcards before "/./": what each directory that fits has of the
// rest. kNotFound: none has any.
Result<std::vector<CopySource>> FindAllWithParents(const FindRequest& request,
                                                   const std::string& pattern);

// Paths below the root that the pattern fits, sorted by directories.
Result<std::vector<std::string>> FindPaths(BorrowedFd root, const std::string& pattern);

// Whether a file is a tar archive that ADD unpacks, compressed or not.
Result<bool> IsArchive(BorrowedFd parent, const std::string& name);

}  // namespace gantry::build
