// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/copy_paths.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"

namespace gantry::cli {
namespace {

constexpr int kMaxLinks = 10;

bool EndsInDot(const std::string& path) { return path == "." || path.ends_with("/."); }

std::string KeepEnd(std::string clean, const std::string& original) {
  if (EndsInDot(original) && !EndsInDot(clean)) {
    if (!clean.ends_with('/')) clean += '/';
    clean += '.';
  }
  if (original.ends_with('/') && !clean.ends_with('/')) clean += '/';
  return clean;
}

// As the user's shell says it.
Error PathError(const char* call, const std::string& path) {
  return ErrnoError("{} {}", call, path);
}

Result<std::string> Resolve(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return PathError("lstat", path);
  return std::string(resolved);
}

std::string BaseName(const std::string& path) { return SplitDirectory(path).second; }

}  // namespace

CopyArgument SplitCopyArgument(const std::string& argument) {
  size_t colon = argument.find(':');
  bool local = argument.starts_with('/') || argument.starts_with('.') || argument == "-" ||
               colon == std::string::npos;
  if (local) return {"", argument};
  return {argument.substr(0, colon), argument.substr(colon + 1)};
}

Result<std::string> LocalPath(const std::string& path) {
  std::string full = path;
  if (!path.starts_with('/')) {
    char directory[PATH_MAX];
    if (::getcwd(directory, sizeof directory) == nullptr) {
      return ErrnoError("reading the working directory");
    }
    full = std::string(directory) + "/" + path;
  }
  return KeepEnd(CleanPath(full), path);
}

std::pair<std::string, std::string> SplitDirectory(const std::string& path) {
  std::string clean = CleanPath(path);
  if (EndsInDot(path)) {
    if (clean == ".") return {".", "."};
    return {clean, "."};
  }
  if (clean == "/") return {"/", "/"};
  size_t slash = clean.rfind('/');
  if (slash == std::string::npos) return {".", clean};
  return {slash == 0 ? "/" : clean.substr(0, slash), clean.substr(slash + 1)};
}

std::string FollowOnce(const std::string& path, const std::string& target) {
  if (target.starts_with('/')) return target;
  return CleanPath(SplitDirectory(path).first + "/" + target);
}

CopyPlace KeepAskedName(const std::string& asked, std::string resolved) {
  CopyPlace place;
  place.path = KeepEnd(std::move(resolved), asked);
  if (BaseName(asked) != BaseName(place.path)) place.rename = BaseName(asked);
  return place;
}

Result<CopyPlace> FindLocalSource(const std::string& path, bool follow) {
  CopyPlace place;
  if (follow) {
    place = KeepAskedName(path, TRY(Resolve(path)));
  } else {
    // Links on the way are followed, one at the end is not.
    size_t slash = path.rfind('/');
    std::string base = path.substr(slash + 1);
    std::string directory = TRY(Resolve(path.substr(0, slash + 1)));
    place.path = directory == "/" ? "/" + base : directory + "/" + base;
    if (path.ends_with('/') && BaseName(path) != BaseName(place.path)) {
      place.rename = BaseName(path);
    }
  }
  struct stat status;
  if (::lstat(place.path.c_str(), &status) < 0) return PathError("lstat", place.path);
  place.exists = true;
  place.is_directory = S_ISDIR(status.st_mode);
  return place;
}

Result<CopyPlace> FindLocalDestination(const std::string& path) {
  std::string at = path;
  struct stat status;
  for (int links = 0;; ++links) {
    if (::lstat(at.c_str(), &status) < 0) break;
    if (!S_ISLNK(status.st_mode)) return CopyPlace{at, true, S_ISDIR(status.st_mode), ""};
    if (links > kMaxLinks) return InvalidArgument("too many symlinks in {}", path);
    char target[PATH_MAX];
    ssize_t size = ::readlink(at.c_str(), target, sizeof target);
    if (size < 0) return PathError("readlink", at);
    at = FollowOnce(at, std::string(target, static_cast<size_t>(size)));
  }
  if (errno != ENOENT) return PathError("lstat", at);
  std::string parent = SplitDirectory(at).first;
  if (::stat(parent.c_str(), &status) < 0) return PathError("stat", parent);
  if (!S_ISDIR(status.st_mode)) return InvalidArgument("not a directory");
  return CopyPlace{at, false, false, ""};
}

Result<> CheckOutputPath(const std::string& path) {
  if (path == "-") return {};
  std::string clean = CleanPath(path);
  size_t slash = clean.rfind('/');
  std::string directory = slash == 0 ? "/" : clean.substr(0, slash);
  struct stat status;
  if (slash != std::string::npos && ::stat(directory.c_str(), &status) < 0 && errno == ENOENT) {
    return InvalidArgument("invalid output path: directory \"{}\" does not exist", directory);
  }
  if (::stat(path.c_str(), &status) < 0) return {};
  if (S_ISDIR(status.st_mode) || S_ISREG(status.st_mode)) return {};
  bool device = S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
  return InvalidArgument(
      "invalid output path: \"{}\" must be a directory or a regular file: got {}", path,
      device ? "a device" : "an irregular file");
}

Result<CopyPlan> PlanCopy(const CopyPlace& source, const CopyPlace& destination) {
  auto [directory, base] = SplitDirectory(destination.path);
  std::string name = source.rename.empty() ? BaseName(source.path) : source.rename;
  if (destination.exists && destination.is_directory) {
    return CopyPlan{destination.path, name, name};
  }
  if (destination.exists && source.is_directory) {
    return InvalidArgument("cannot copy directory");
  }
  bool wants_directory = destination.path.ends_with('/') || EndsInDot(destination.path);
  if (!destination.exists && !source.is_directory && wants_directory) {
    return InvalidArgument("no such directory");
  }
  return CopyPlan{directory, name, base};
}

std::string Renamed(const CopyPlan& plan, std::string name) {
  if (plan.old_name == plan.new_name) return name;
  std::string old = plan.old_name == "/" ? "" : plan.old_name;
  if (old.empty()) {
    name.erase(0, name.find_first_not_of('/'));
    return plan.new_name + "/" + name;
  }
  bool first = name.starts_with(old) && (name.size() == old.size() || name[old.size()] == '/');
  return first ? plan.new_name + name.substr(old.size()) : name;
}

}  // namespace gantry::cli
