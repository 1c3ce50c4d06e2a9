// SPDX-License-Identifier: Apache-2.0
//
// What `gantry build` sends: the files of a directory without what .dockerignore leaves out, or an
// archive that came on standard input, and the Dockerfile. One thread.
#pragma once

#include <optional>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "dockerfile/patterns.h"

namespace gantry::cli {

struct BuildContext {
  // The path of the Dockerfile in what is sent.
  std::string dockerfile;
  // A URL, which the daemon reads itself.
  std::string remote;
  // A directory, or nothing: then `archive` or the Dockerfile alone.
  UniqueFd directory;
  dockerfile::IgnoreList ignored;
  // The directory's path, without links.
  std::string path;
  // The text of a Dockerfile that is not in the directory, and of its own .dockerignore.
  std::optional<std::string> dockerfile_text;
  std::optional<std::string> dockerfile_ignored;
  // Bytes of an archive that were read to know what it is; the rest is still to come.
  std::optional<std::string> archive;
};

// `path`: a directory, a URL or "-"; `dockerfile`: --file, "" for "Dockerfile", "-" for standard
// input. Errors in docker's words.
Result<BuildContext> OpenBuildContext(const std::string& path, const std::string& dockerfile);

// All of it as one archive; `input` is where an archive goes on.
Result<> WriteBuildContext(const BuildContext& context, BorrowedFd input, ByteSink& sink);

}  // namespace gantry::cli
