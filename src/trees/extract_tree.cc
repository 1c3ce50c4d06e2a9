// SPDX-License-Identifier: Apache-2.0
#include "trees/extract_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "base/text.h"
#include "kernel/paths.h"

namespace gantry::trees {
namespace {

using formats::TarEntry;
using formats::TarType;

constexpr int kDirectory = O_RDONLY | O_DIRECTORY;

// Whether ".." leads above where the name begins.
bool LeadsOut(std::string_view name) {
  int depth = 0;
  for (const std::string& part : SplitWords(name, "/")) {
    if (part == ".") continue;
    depth += part == ".." ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}

class Extraction {
 public:
  explicit Extraction(EntryMaker::Options options)
      : root_(options.root),
        base_(options.base),
        links_(options.links),
        rename_(options.rename),
        maker_(options) {}

  Result<> Apply(formats::TarReader& tar, TarEntry& entry) {
    if (rename_) {
      entry.name = rename_(std::move(entry.name));
      if (entry.type == TarType::kHardLink) entry.link_name = rename_(std::move(entry.link_name));
    }
    if (LeadsOut(entry.name)) {
      return InvalidArgument("\"{}\" is outside of \"/{}\"", entry.name, base_);
    }
    std::string name = CleanName(entry.name);
    if (name.empty()) return {};  // the directory itself stays as it is
    size_t slash = name.rfind('/');
    std::string parent_name = slash == std::string::npos ? "" : name.substr(0, slash);
    UniqueFd parent = TRY(Parent(parent_name));
    TRY(maker_.Make(tar, parent, name.substr(slash + 1), entry));
    if (entry.type == TarType::kDirectory) directories_.emplace_back(name, maker_.TimeFor(entry));
    return {};
  }

  // Times of directories, after everything in them was made.
  Result<> Finish() {
    for (const auto& [name, time] : directories_) {
      auto fd = kernel::OpenIn(root_, Below(name), kDirectory | O_NOFOLLOW, 0, links_);
      if (!fd.ok()) continue;  // a later entry, or somebody else, replaced it
      timespec times[2] = {time, time};
      if (::futimens(fd->get(), times) != 0) return ErrnoError("setting times of '{}'", name);
    }
    return {};
  }

 private:
  std::string Below(const std::string& name) const {
    return base_.empty() || name.empty() ? base_ + name : base_ + "/" + name;
  }

  // Makes what the archive leaves out.
  Result<UniqueFd> Parent(const std::string& name) {
    auto parent = kernel::OpenIn(root_, Below(name), kDirectory, 0, links_);
    if (parent.ok() || name.empty() || parent.error().error_number() != ENOENT) return parent;
    size_t slash = name.rfind('/');
    UniqueFd above = TRY(Parent(slash == std::string::npos ? "" : name.substr(0, slash)));
    std::string last = name.substr(slash + 1);
    if (::mkdirat(above.get(), last.c_str(), 0755) != 0) {
      return ErrnoError("making directory '{}'", name);
    }
    return kernel::OpenIn(above, last, kDirectory, 0, kernel::Links::kRefuse);
  }

  const BorrowedFd root_;
  const std::string base_;
  const kernel::Links links_;
  const std::function<std::string(std::string)> rename_;
  EntryMaker maker_;
  std::vector<std::pair<std::string, timespec>> directories_;
};

}  // namespace

Result<> ExtractTree(EntryMaker::Options options, ByteSource& archive, const StopToken& stop) {
  Extraction extraction(std::move(options));
  formats::TarReader tar(archive);
  TarEntry entry;
  while (TRY(tar.NextEntry(&entry))) {
    if (stop.stop_requested()) return MakeError(ErrorKind::kCancelled, "extracting: stopped");
    TRY_WITH(extraction.Apply(tar, entry), "extracting '{}'", entry.name);
  }
  TRY(tar.Drain());
  return extraction.Finish();
}

}  // namespace gantry::trees
