// SPDX-License-Identifier: Apache-2.0
#include "runtime/child/targets.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <string>
#include <vector>

#include "kernel/paths.h"

namespace gantry::runtime::child {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel

void PushFront(std::deque<std::string>* parts, std::string_view path) {
  std::vector<std::string> names;
  while (!path.empty()) {
    size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0 && path.substr(0, slash) != ".") names.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  parts->insert(parts->begin(), names.begin(), names.end());
}

// A walk with a stack of open directories: ".." pops, an absolute link empties it, so that there is
// no way out. Each name is opened without following it.
class Walk {
 public:
  explicit Walk(BorrowedFd root) : root_(root) {}

  Result<Target> To(std::string_view path, TargetKind kind) {
    PushFront(&parts_, path);
    Target target;
    while (!parts_.empty()) {
      std::string name = std::move(parts_.front());
      parts_.pop_front();
      if (name == "..") {
        if (!stack_.empty()) stack_.pop_back();
        continue;
      }
      TRY(Step(name, parts_.empty() ? kind : TargetKind::kDirectory, &target.existed));
    }
    if (stack_.empty()) {
      target.fd = TRY(kernel::OpenIn(root_, "", O_PATH));
    } else {
      target.fd = std::move(stack_.back());
    }
    return target;
  }

 private:
  int Here() const { return stack_.empty() ? root_.get() : stack_.back().get(); }

  Result<> Step(const std::string& name, TargetKind kind, bool* existed) {
    UniqueFd entry(::openat(Here(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!entry.valid() && errno == ENOENT) {
      *existed = false;
      TRY(Make(name, kind));
      entry = UniqueFd(::openat(Here(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    }
    if (!entry.valid()) return ErrnoError("opening '{}'", name);
    struct stat info{};
    if (::fstat(entry.get(), &info) < 0) return ErrnoError("looking at '{}'", name);
    if (!S_ISLNK(info.st_mode)) {
      stack_.push_back(std::move(entry));
      return {};
    }
    if (++links_ > kMaxLinks) return ErrnoErrorOf(ELOOP, fmt::format("resolving '{}'", name));
    char link[PATH_MAX];
    ssize_t size = ::readlinkat(entry.get(), "", link, sizeof link);
    if (size < 0) return ErrnoError("reading link '{}'", name);
    std::string_view goal(link, static_cast<size_t>(size));
    if (goal.starts_with('/')) stack_.clear();
    PushFront(&parts_, goal);
    return {};
  }

  Result<> Make(const std::string& name, TargetKind kind) {
    if (kind == TargetKind::kDirectory) {
      if (::mkdirat(Here(), name.c_str(), 0755) < 0 && errno != EEXIST) {
        return ErrnoError("making directory '{}'", name);
      }
      return {};
    }
    UniqueFd file(
        ::openat(Here(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file.valid() && errno != EEXIST) return ErrnoError("making file '{}'", name);
    return {};
  }

  BorrowedFd root_;
  std::vector<UniqueFd> stack_;
  std::deque<std::string> parts_;
  int links_ = 0;
};

}  // namespace

Result<Target> MakeTarget(BorrowedFd root, std::string_view path, TargetKind kind) {
  Result<UniqueFd> there = kernel::OpenIn(root, path, O_PATH);
  if (there.ok()) return Target{std::move(there).value(), true};
  if (there.error().error_number() != ENOENT) return std::move(there).error();
  return TRY_WITH(Walk(root).To(path, kind), "making mount point '{}'", path);
}

}  // namespace gantry::runtime::child
