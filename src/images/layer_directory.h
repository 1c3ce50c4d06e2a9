// SPDX-License-Identifier: Apache-2.0
//
// The directory that a layer is extracted into, for apply_layer.cc: finds and makes the parents of
// entries, with the attributes that the layers below give them. One thread.
#pragma once

#include <sys/stat.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "trees/entry_maker.h"

namespace gantry::images {

using trees::CleanName;
using trees::SetXattrs;

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

 private:
  Result<UniqueFd> MakeParent(const std::string& name);
  Result<> MakeDirectory(BorrowedFd parent, const std::string& name,
                         const std::vector<std::string>& path);
  // The directory at `path` that a mount of the lower layers would show; invalid when there is
  // none.
  Result<UniqueFd> FindInLowers(const std::vector<std::string>& path);

  UniqueFd root_;
  std::vector<UniqueFd> lowers_;
  std::map<std::string, UniqueFd> cache_;
};

}  // namespace gantry::images
