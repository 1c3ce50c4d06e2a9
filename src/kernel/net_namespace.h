// SPDX-License-Identifier: Apache-2.0
//
// Network namespaces: making them, entering them for one step, and their entries in a directory
// (bind mounts of /proc/…/ns/net, as ip-netns(8) has them). unshare(2) and setns(2) change the
// calling thread, so each step runs in a thread of its own that ends with it. Any thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

struct NetNamespace {
  UniqueFd fd;
  NetlinkSocket route;  // opened inside
};

// A new namespace, its loopback up, IPv6 off for interfaces that come later (a network with IPv6
// turns it on for its own). About 0.5 ms.
Result<NetNamespace> MakeNetNamespace();
// The same beginning for one that somebody else has made just now.
Result<> FurnishNetNamespace(BorrowedFd netns);
// The same view of one that exists; its descriptor is duplicated.
Result<NetNamespace> OpenNetNamespace(BorrowedFd netns);

// Runs `step` in a thread inside the namespace.
Result<> RunInNetNamespace(BorrowedFd netns, const std::function<Result<>()>& step);

// A socket of the namespace, for programs of one thread: the calling thread goes there and comes
// back; a process that can't come back ends.
Result<UniqueFd> SocketInNetNamespace(BorrowedFd netns, int family, int type);

// Makes the file `path` (0600) and mounts the namespace on it.
Result<> BindNetNamespace(BorrowedFd netns, const std::string& path);
// Unmounts and removes the entry, also where other mount namespaces hold copies of the mount. No
// entry: no error.
Result<> UnbindNetNamespace(const std::string& path);
// kNotFound without entry, kFailedPrecondition for a file that no namespace is mounted on.
Result<UniqueFd> OpenNetNamespaceEntry(const std::string& path);

// Identity: two descriptors of one namespace have equal inodes.
Result<ino_t> NetNamespaceInode(BorrowedFd netns);

}  // namespace gantry::kernel
