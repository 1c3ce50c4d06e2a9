// SPDX-License-Identifier: Apache-2.0
#include "build/step_mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "base/text.h"
#include "engine/container_files.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::build {
namespace {

using dockerfile::RunMount;

constexpr mode_t kSecretMode = 0400;
constexpr mode_t kSocketMode = 0600;
constexpr size_t kPage = 4096;
constexpr int kBacklog = 16;

Result<> SetOwner(BorrowedFd file, const RunMount& mount, mode_t fallback) {
  if (::fchown(file.get(), mount.uid, mount.gid) != 0 ||
      ::fchmod(file.get(), mount.mode.value_or(fallback)) != 0) {
    return ErrnoError("giving a mount to its owner");
  }
  return {};
}

// The one file of a new tmpfs, which `mount` shows.
Result<UniqueFd> MakeFileInMemory(const std::string& content, uint64_t attributes,
                                  engine::StepMount* mount) {
  size_t pages = content.size() / kPage + 4;
  mount->tree =
      TRY(kernel::NewMount("tmpfs", "tmpfs", {fmt::format("size={}", pages * kPage), "mode=0700"},
                           MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | attributes));
  UniqueFd file = TRY(kernel::OpenIn(mount->tree, "file", O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY(WriteAll(file, content));
  mount->part = TRY(kernel::OpenIn(mount->tree, "file", O_PATH | O_NOFOLLOW));
  mount->options = {"ro", "nosuid", "nodev"};
  return file;
}

}  // namespace

std::string KeyOf(const PlannedMount& planned) {
  const RunMount& mount = planned.mount;
  return fmt::format("mount {} {} {} {} {} {} {} {} {} {} {} {}", static_cast<int>(mount.type),
                     planned.target, mount.read_only, mount.source, mount.id,
                     static_cast<int>(mount.sharing), mount.size.value_or(-1),
                     mount.variable.value_or(""), mount.uid, mount.gid,
                     mount.mode ? static_cast<int64_t>(*mount.mode) : -1, planned.content);
}

Result<engine::StepMount> MakeSecretMount(const PlannedMount& planned, const std::string& content) {
  engine::StepMount out;
  out.destination = planned.target;
  UniqueFd file = TRY_WITH(MakeFileInMemory(content, MOUNT_ATTR_NOEXEC, &out),
                           "making the secret {}", planned.mount.id);
  TRY(SetOwner(file, planned.mount, kSecretMode));
  out.options.emplace_back("noexec");
  return out;
}

Result<engine::StepMount> MakeScriptMount(const std::string& target, const std::string& content) {
  engine::StepMount out;
  out.destination = target;
  UniqueFd file = TRY_WITH(MakeFileInMemory(content, 0, &out), "making '{}'", target);
  if (::fchmod(file.get(), 0755) != 0) return ErrnoError("making '{}'", target);
  return out;
}

Result<engine::StepMount> MakeTmpfsMount(const PlannedMount& planned) {
  engine::StepMount out;
  out.destination = planned.target;
  std::vector<std::string> parameters;
  if (planned.mount.size) parameters.push_back(fmt::format("size={}", *planned.mount.size));
  out.tree = TRY_WITH(kernel::NewMount("tmpfs", "tmpfs", parameters, MOUNT_ATTR_NOSUID),
                      "making the tmpfs on {}", planned.target);
  out.part = TRY(kernel::OpenIn(out.tree, "", O_PATH | O_DIRECTORY));
  out.options = {"nosuid"};
  if (planned.mount.read_only) out.options.emplace_back("ro");
  return out;
}

Result<std::pair<engine::StepMount, UniqueFd>> MakeAgentMount(const PlannedMount& planned,
                                                              BorrowedFd directory) {
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return ErrnoError("making the socket of an ssh agent");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // A path of any length: the directory by its descriptor.
  std::string path = fmt::format("/proc/self/fd/{}/agent", directory.get());
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), kBacklog) != 0) {
    return ErrnoError("making the socket of an ssh agent");
  }
  const RunMount& mount = planned.mount;
  if (::fchownat(directory.get(), "agent", mount.uid, mount.gid, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::fchmodat(directory.get(), "agent", mount.mode.value_or(kSocketMode), 0) != 0) {
    return ErrnoError("giving the socket of an ssh agent to its owner");
  }
  engine::StepMount out;
  out.destination = planned.target;
  out.part = TRY(kernel::OpenIn(directory, "agent", O_PATH | O_NOFOLLOW));
  out.options = {"nosuid", "nodev", "noexec"};
  return std::pair(std::move(out), std::move(listener));
}

Result<TargetStubs> TargetStubs::Note(BorrowedFd root, const std::vector<PlannedMount>& mounts) {
  TargetStubs stubs;
  for (const PlannedMount& planned : mounts) {
    if (planned.target.empty()) continue;
    std::string real =
        root.valid() ? TRY(engine::FollowLinks(root, planned.target)) : planned.target;
    Stub stub;
    std::string at;
    for (const std::string& part : SplitWords(real, "/")) {
      std::string above = at;
      at += (at.empty() ? "" : "/") + part;
      if (stub.paths.empty() && root.valid()) {
        Result<UniqueFd> there = kernel::OpenIn(root, at, O_PATH | O_NOFOLLOW);
        if (there.ok()) continue;
        int error = there.error().error_number();
        // A file on the way: the runtime will say so.
        if (error != ENOENT) break;
        struct stat status;
        UniqueFd parent = TRY(kernel::OpenIn(root, above, O_PATH | O_DIRECTORY));
        if (::fstat(parent.get(), &status) != 0) return ErrnoError("reading '{}'", above);
        stub.times.emplace(status.st_atim, status.st_mtim);
      }
      if (stub.paths.empty()) stub.parent = above;
      stub.paths.push_back(at);
    }
    if (!stub.paths.empty()) stubs.stubs_.push_back(std::move(stub));
  }
  return stubs;
}

Result<> TargetStubs::Remove(BorrowedFd root) const {
  for (const Stub& stub : stubs_) {
    for (auto at = stub.paths.rbegin(); at != stub.paths.rend(); ++at) {
      auto place = kernel::OpenParentIn(root, *at, kernel::Links::kRefuse);
      if (!place.ok()) break;  // the step has made something else of it
      const char* name = place->name.c_str();
      struct stat status;
      if (::fstatat(place->parent.get(), name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
      bool directory = S_ISDIR(status.st_mode);
      bool empty_file = S_ISREG(status.st_mode) && status.st_size == 0 && at == stub.paths.rbegin();
      if (!directory && !empty_file) break;
      if (::unlinkat(place->parent.get(), name, directory ? AT_REMOVEDIR : 0) != 0) {
        if (errno == ENOTEMPTY || errno == ENOENT) break;
        return ErrnoError("removing what a mount has left at '{}'", *at);
      }
    }
    if (!stub.times) continue;
    auto parent =
        kernel::OpenIn(root, stub.parent, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse);
    if (!parent.ok() || kernel::OpenIn(root, stub.paths[0], O_PATH | O_NOFOLLOW).ok()) continue;
    timespec times[2] = {stub.times->first, stub.times->second};
    if (::futimens(parent->get(), times) != 0) {
      return ErrnoError("setting the time of '{}'", stub.parent);
    }
  }
  return {};
}

}  // namespace gantry::build
