// SPDX-License-Identifier: Apache-2.0
//
// The rules by which cp finds out what is copied where and under what name, as docker's users know
// them: a trailing "/" or "/." says that a directory is meant; a directory that is there receives
// the source, anything else becomes it. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace gantry::cli {

// "CONTAINER:PATH", or a local path with an empty container.
struct CopyArgument {
  std::string container;
  std::string path;
};
CopyArgument SplitCopyArgument(const std::string& argument);

// One end of a copy.
struct CopyPlace {
  std::string path;
  bool exists = false;
  bool is_directory = false;
  std::string rename;  // what the source is called instead of its own name
};

// By text alone: "." and ".." taken out, a trailing "/" or "/." kept; relative to the working
// directory.
Result<std::string> LocalPath(const std::string& path);
// Directory and last part; "." counts as a part.
std::pair<std::string, std::string> SplitDirectory(const std::string& path);
// Where a link at `path` with this target leads.
std::string FollowOnce(const std::string& path, const std::string& target);
// A path that was resolved, with the trailing "/" or "/." of the one that was asked for, and the
// asked name where it differs.
CopyPlace KeepAskedName(const std::string& asked, std::string resolved);

// Local ends: the source must be there, the destination's directory must.
Result<CopyPlace> FindLocalSource(const std::string& path, bool follow);
Result<CopyPlace> FindLocalDestination(const std::string& path);
// "invalid output path: …" before anything is asked of the engine.
Result<> CheckOutputPath(const std::string& path);

// The directory that an archive of `source` is extracted in, and the first part of its names before
// and after; equal when nothing is renamed.
struct CopyPlan {
  std::string directory;
  std::string old_name;
  std::string new_name;
};
Result<CopyPlan> PlanCopy(const CopyPlace& source, const CopyPlace& destination);

// An entry's name with its first part renamed.
std::string Renamed(const CopyPlan& plan, std::string name);

}  // namespace gantry::cli
