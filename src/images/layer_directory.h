// SPDX-License-Identifier: Apache-2.0
//
// The directory that a layer is extracted into, for apply_layer.cc: finds and makes the parents of
// entries, with the attributes that the layers below give them. One thread.
#pragma once

#include <sys/stat.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "trees/entry_maker.h"

namespace gantry::images {

using trees::CleanName;
using trees::SetXattrs;

// Where an open directory is now.
Result<std::string> RealPath(BorrowedFd directory);

class LayerDirectory {
 public:
  static Result<LayerDirectory> Open(const std::string& root,
                                     const std::vector<std::string>& lowers);

  BorrowedFd root() const { return root_; }
  // The directory of this clean name, made when it is missing. Symbolic links on the way lead
  // within the root. Valid until the next call.
  Result<BorrowedFd> Parent(const std::string& name);
  // To be called when something that may be a directory or a link was removed.
  void ForgetParents() { cache_.clear(); }
  // The directory `name` in `parent` has attributes of its own.
  Result<> NoteNamed(BorrowedFd parent, const std::string& name);
  // Clean names of the directories that no entry named, parents first. Without lower layers they
  // have got no attributes yet but 0755 of root.
  std::vector<std::string> unnamed() const { return {unnamed_.begin(), unnamed_.end()}; }
  // Gives these directories (sorted), and the root, the attributes that the lower layers give them.
  // Names that are no directories any more are passed over.
  Result<> TakeAttributes(const std::vector<std::string>& unnamed);

 private:
  Result<UniqueFd> MakeParent(const std::string& name);
  Result<> MakeDirectory(BorrowedFd parent, const std::string& name,
                         const std::vector<std::string>& path);
  static Result<> InheritGroup(BorrowedFd made, const std::string& name);
  Result<> CopyAttributes(BorrowedFd lower, BorrowedFd made, const std::string& name);
  // The directory at `path` that a mount of the lower layers would show; invalid when there is
  // none.
  Result<UniqueFd> FindInLowers(const std::vector<std::string>& path);

  UniqueFd root_;
  std::vector<UniqueFd> lowers_;
  std::map<std::string, UniqueFd> cache_;
  std::set<std::string> unnamed_;
};

}  // namespace gantry::images
