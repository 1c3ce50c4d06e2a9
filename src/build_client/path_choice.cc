// SPDX-License-Identifier: Apache-2.0
#include "build_client/path_choice.h"

#include <fcntl.h>
#include <unistd.h>

#include <climits>

#include "base/directory.h"
#include "base/text.h"
#include "kernel/paths.h"

namespace gantry::build_client {
namespace {

constexpr size_t kMostLinks = 255;  // on the way of one path

std::vector<std::string> ComponentsOf(const std::string& path) {
  std::vector<std::string> out;
  for (std::string_view part : Split(path, '/')) {
    if (!part.empty() && part != ".") out.emplace_back(part);
  }
  return out;
}

std::string Joined(const std::string& above, const std::string& name) {
  return above.empty() ? name : above + "/" + name;
}

// Where the link at that path leads, below the root; nothing for what is no link.
std::string TargetOf(BorrowedFd root, const std::string& path) {
  auto place = kernel::OpenParentIn(root, path, kernel::Links::kRefuse);
  if (!place.ok()) return "";
  char buffer[PATH_MAX];
  ssize_t size = ::readlinkat(place->parent.get(), place->name.c_str(), buffer, sizeof buffer);
  if (size <= 0) return "";
  std::string target(buffer, static_cast<size_t>(size));
  size_t slash = path.rfind('/');
  if (target[0] != '/' && slash != std::string::npos) target = path.substr(0, slash + 1) + target;
  // One that leads outside leads nowhere.
  target = dockerfile::CleanRelative(target);
  return target.starts_with("../") || target == ".." ? "" : target;
}

}  // namespace

Result<PathChoice> PathChoice::Create(BorrowedFd root, const std::vector<std::string>& excludes,
                                      const std::vector<std::string>& paths) {
  PathChoice choice;
  std::string text;
  for (const std::string& line : excludes) text += line + "\n";
  choice.excludes_ = TRY(dockerfile::IgnoreList::Parse(text));
  for (const std::string& path : paths) choice.Follow(root, path);
  return choice;
}

void PathChoice::Follow(BorrowedFd root, const std::string& path) {
  std::string clean = dockerfile::CleanRelative(path);
  if (clean == ".") clean.clear();
  if (!followed_.insert(clean).second) return;
  patterns_.push_back(ComponentsOf(clean));
  if (root.valid()) FollowIn(root, "", ComponentsOf(clean), 0);
}

void PathChoice::FollowIn(BorrowedFd root, const std::string& above, const Components& rest,
                          size_t depth) {
  if (rest.empty() || depth > kMostLinks) return;
  std::vector<std::string> names{rest[0]};
  if (dockerfile::HasWildcard(rest[0])) {
    names.clear();
    auto directory = kernel::OpenIn(root, above, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse);
    // What can't be looked into now fails when it is sent.
    if (!directory.ok()) return;
    for (std::string& name : ListDirectory(*directory).value_or({})) {
      if (dockerfile::MatchPath(rest[0], name)) names.push_back(std::move(name));
    }
  }
  Components below(rest.begin() + 1, rest.end());
  for (const std::string& name : names) {
    std::string path = Joined(above, name);
    std::string target = TargetOf(root, path);
    if (target.empty()) {
      FollowIn(root, path, below, depth + 1);
      continue;
    }
    for (const std::string& part : below) target = Joined(target, part);
    // The link itself; what it leads to is another path.
    patterns_.push_back(ComponentsOf(path));
    if (followed_.size() < kMostLinks) Follow(root, target);
  }
}

PathChoice::Part PathChoice::Chosen(const std::string& path) const {
  if (patterns_.empty()) return Part::kWhole;
  Components parts = ComponentsOf(path);
  Part part = Part::kNone;
  for (const Components& pattern : patterns_) {
    size_t common = std::min(parts.size(), pattern.size());
    bool fits = true;
    for (size_t i = 0; fits && i < common; ++i) {
      fits = dockerfile::MatchPath(pattern[i], parts[i]);
    }
    if (fits && parts.size() >= pattern.size()) return Part::kWhole;
    if (fits) part = Part::kBelow;
  }
  return part;
}

PathChoice::Part PathChoice::Of(const std::string& path) const {
  Part part = Chosen(path);
  if (part == Part::kNone || !excludes_.Ignores(path)) return part;
  return excludes_.has_exceptions() ? Part::kBelow : Part::kNone;
}

}  // namespace gantry::build_client
