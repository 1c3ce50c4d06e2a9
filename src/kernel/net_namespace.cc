// SPDX-License-Identifier: Apache-2.0
#include "kernel/net_namespace.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <system_error>
#include <thread>

#include "base/io.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {
namespace {

// The one index that is the same everywhere: loopback is a namespace's first device.
constexpr int kLoopbackIndex = 1;

// A thread that changed its namespace must not do anything else afterwards, so it is not reused.
Result<> RunInOwnThread(const std::function<Result<>()>& step) {
  Result<> result;
  try {
    std::thread([&] { result = step(); }).join();
  } catch (const std::system_error& error) {
    return ErrnoErrorOf(error.code().value(), "starting a thread");
  }
  return result;
}

// What this thread's namespace, which is new, begins with.
Result<> Furnish(NetlinkSocket* route) {
  NetlinkBatch batch;
  AppendLinkUp(&batch, kLoopbackIndex);
  TRY_WITH(route->Transact(&batch), "bringing up loopback");
  // A kernel without IPv6 has no such file.
  const char* ipv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
  if (PathExists(ipv6)) TRY(WriteFile(ipv6, "1"));
  return {};
}

Result<> FillNewNamespace(NetNamespace* out) {
  if (::unshare(CLONE_NEWNET) < 0) return ErrnoError("making a network namespace");
  out->fd = TRY(OpenFile("/proc/thread-self/ns/net", O_RDONLY));
  out->route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
  return Furnish(&out->route);
}

bool IsNamespace(BorrowedFd fd) {
  struct statfs info;
  return ::fstatfs(fd.get(), &info) == 0 && info.f_type == NSFS_MAGIC;
}

}  // namespace

Result<NetNamespace> MakeNetNamespace() {
  NetNamespace made;
  TRY(RunInOwnThread([&] { return FillNewNamespace(&made); }));
  return made;
}

Result<> FurnishNetNamespace(BorrowedFd netns) {
  return RunInNetNamespace(netns, [&]() -> Result<> {
    NetlinkSocket route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
    return Furnish(&route);
  });
}

Result<NetNamespace> OpenNetNamespace(BorrowedFd netns) {
  NetNamespace opened;
  opened.fd = UniqueFd(::fcntl(netns.get(), F_DUPFD_CLOEXEC, 3));
  if (!opened.fd.valid()) return ErrnoError("duplicating a network namespace's descriptor");
  TRY(RunInNetNamespace(netns, [&]() -> Result<> {
    opened.route = TRY(NetlinkSocket::Open(NETLINK_ROUTE));
    return {};
  }));
  return opened;
}

Result<> RunInNetNamespace(BorrowedFd netns, const std::function<Result<>()>& step) {
  return RunInOwnThread([&]() -> Result<> {
    if (::setns(netns.get(), CLONE_NEWNET) < 0) return ErrnoError("entering a network namespace");
    return step();
  });
}

Result<UniqueFd> SocketInNetNamespace(BorrowedFd netns, int family, int type) {
  UniqueFd own = TRY(OpenFile("/proc/self/ns/net", O_RDONLY));
  if (::setns(netns.get(), CLONE_NEWNET) < 0) return ErrnoError("entering a network namespace");
  UniqueFd socket(::socket(family, type, 0));
  int failure = errno;
  CHECK(::setns(own.get(), CLONE_NEWNET) == 0);
  if (!socket.valid()) return ErrnoErrorOf(failure, "opening a socket");
  return socket;
}

Result<> BindNetNamespace(BorrowedFd netns, const std::string& path) {
  UniqueFd file = TRY(OpenFile(path, O_RDONLY | O_CREAT | O_EXCL, 0600));
  std::string source = fmt::format("/proc/self/fd/{}", netns.get());
  if (::mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) < 0) {
    Error error = ErrnoError("mounting a network namespace on '{}'", path);
    ::unlink(path.c_str());
    return error;
  }
  return {};
}

Result<> UnbindNetNamespace(const std::string& path) {
  // EINVAL: nothing is mounted there. unlink(2) then takes the mount out of all other mount
  // namespaces too (since Linux 3.18).
  if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
      errno != ENOENT) {
    return ErrnoError("unmounting '{}'", path);
  }
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  return {};
}

Result<UniqueFd> OpenNetNamespaceEntry(const std::string& path) {
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY | O_NOFOLLOW));
  if (!IsNamespace(fd)) {
    return FailedPrecondition("'{}' is no network namespace: nothing is mounted on it", path);
  }
  return fd;
}

Result<ino_t> NetNamespaceInode(BorrowedFd netns) {
  struct stat info;
  if (::fstat(netns.get(), &info) < 0) return ErrnoError("looking at a network namespace");
  return info.st_ino;
}

}  // namespace gantry::kernel
