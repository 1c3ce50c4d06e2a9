// SPDX-License-Identifier: Apache-2.0
//
// Makes files as another user with all the rights of root: where the file system is shown with
// mapped ids, root itself may have none. Of the calling thread, until it ends.
#pragma once

#include <sys/types.h>

#include "base/error.h"

namespace gantry::kernel {

class FilesystemUser {
 public:
  FilesystemUser() = default;
  ~FilesystemUser();
  FilesystemUser(const FilesystemUser&) = delete;
  FilesystemUser& operator=(const FilesystemUser&) = delete;

  Result<> Become(uid_t uid, gid_t gid);

 private:
  bool changed_ = false;
};

}  // namespace gantry::kernel
