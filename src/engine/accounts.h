// SPDX-License-Identifier: Apache-2.0
//
// Who a container's process runs as: "user[:group]" looked up in the /etc/passwd and /etc/group of
// the container's own root, which are read by descriptor, bounded, and trusted with nothing but
// names and numbers. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::engine {

// The text of both files; "" where there is none.
struct Accounts {
  std::string passwd;
  std::string group;
};

struct ResolvedUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;  // begins with gid, as docker does
  std::string home = "/";
};

// Reads the files below a root directory; each at most 1 MiB, regular files only.
Result<Accounts> ReadAccounts(BorrowedFd root);

// `user`: "", "name", "uid", and each with ":group" or ":gid". All digits are a number, never a
// name, so that no entry of an image can turn "1000" into root. `groups`: --group-add.
// Errors: kInvalidArgument in docker's words.
Result<ResolvedUser> ResolveUser(std::string_view user, const std::vector<std::string>& groups,
                                 const Accounts& accounts);

}  // namespace gantry::engine
