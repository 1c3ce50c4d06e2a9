// SPDX-License-Identifier: Apache-2.0
//
// Paths inside a root directory that somebody else filled: an image's layer, a container's root.
// Every path is resolved by the kernel below the root's descriptor (openat2(2)), so that no
// symbolic link, "..", magic link or rename leads outside, and nothing is resolved twice. Any
// thread.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

enum class Links {
  kInRoot,   // symbolic links are followed, absolute ones from the root (RESOLVE_IN_ROOT)
  kBeneath,  // symbolic links are followed; one that leads outside is EXDEV (RESOLVE_BENEATH)
  kRefuse,   // any symbolic link on the way is ELOOP (RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS)
};

// A directory's descriptor to resolve under: O_PATH | O_DIRECTORY.
Result<UniqueFd> OpenRoot(const std::string& path);

// openat2(2) below `root`; "" is the root itself. O_CLOEXEC is added, magic links never work.
Result<UniqueFd> OpenIn(BorrowedFd root, std::string_view path, int flags, mode_t mode = 0,
                        Links links = Links::kInRoot);

// The directory that holds the last component of `path`, and that component; symbolic links are
// followed on the way, never at the end. A path without a component, or one that ends in "." or
// "..", is kInvalidArgument.
struct ParentAndName {
  UniqueFd parent;
  std::string name;
};
Result<ParentAndName> OpenParentIn(BorrowedFd root, std::string_view path,
                                   Links links = Links::kInRoot);

// mkdir -p below a root, 0755, with that owner for what is made. Returns whether anything was.
Result<bool> MakeDirectoriesIn(BorrowedFd root, const std::string& path,
                               std::pair<uid_t, gid_t> owner);

// Removes a file, or a directory with everything in it, by descriptors and without following links
// or crossing into other file systems. A name that is not there is no error.
Result<> RemoveTreeAt(BorrowedFd parent, const std::string& name);
// The same by its absolute path, in a directory that is there.
Result<> RemoveTree(const std::string& path);
// The same for what is in a directory; the directory stays.
Result<> RemoveContents(BorrowedFd directory);

}  // namespace gantry::kernel
