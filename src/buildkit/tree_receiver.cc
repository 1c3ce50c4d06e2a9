// SPDX-License-Identifier: Apache-2.0
#include "buildkit/tree_receiver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/go_file_mode.h"
#include "kernel/paths.h"

namespace gantry::buildkit {
namespace {

using fsutil::types::Packet;
using fsutil::types::Stat;

// The sender queues 128 requests before it stops reading.
constexpr size_t kAtOnce = 64;
constexpr size_t kMaxEntries = 5'000'000;
constexpr int kDeepest = 1000;  // each holds a descriptor
constexpr int64_t kNanos = 1'000'000'000;
// How many bytes come between two tellings.
constexpr int64_t kToldEvery = int64_t{4} << 20;

mode_t ModeOf(uint32_t mode) {
  return (mode & 0777) | ((mode & formats::kModeSetuid) != 0 ? S_ISUID : 0U) |
         ((mode & formats::kModeSetgid) != 0 ? S_ISGID : 0U) |
         ((mode & formats::kModeSticky) != 0 ? S_ISVTX : 0U);
}

int64_t UnixNanosOf(const timespec& time) { return int64_t{time.tv_sec} * kNanos + time.tv_nsec; }

timespec TimeOf(int64_t nanos) {
  int64_t seconds = nanos / kNanos - (nanos % kNanos < 0 ? 1 : 0);
  return {seconds, nanos - seconds * kNanos};
}

// To be listed, whatever the root's descriptor may be used for.
Result<UniqueFd> OpenRootList(BorrowedFd root) {
  return kernel::OpenIn(root, "", O_RDONLY | O_DIRECTORY);
}

Result<kernel::ParentAndName> PlaceOf(BorrowedFd root, const std::string& path) {
  for (std::string_view part : Split(path, '/')) {
    if (part.empty() || part == "." || part == "..") {
      return InvalidArgument("the client sent a bad path: '{}'", path);
    }
  }
  return kernel::OpenParentIn(root, path, kernel::Links::kRefuse);
}

}  // namespace

Result<> TreeReceiver::Run(PacketStream& stream) {
  Packet packet;
  bool told_end = false;
  for (;;) {
    if (!stream.Read(&packet)) {
      return MakeError(ErrorKind::kUnavailable, "the client's session broke");
    }
    switch (packet.type()) {
      case Packet::PACKET_STAT:
        if (packet.has_stat()) {
          TRY_WITH(Take(packet.stat()), "receiving '{}'", packet.stat().path());
        } else {
          listed_ = true;
        }
        break;
      case Packet::PACKET_DATA:
        TRY(Write(packet));
        break;
      case Packet::PACKET_ERR:
        return MakeError(ErrorKind::kUnknown, "the client could not send a directory: {}",
                         packet.data());
      case Packet::PACKET_FIN:
        // It answers ours.
        if (!told_end) return InvalidArgument("the client ended before it had sent all");
        stream.EndWrites();
        if (updates_) TRY(RemoveOthers(TRY(OpenRootList(root_)), "", 0));
        return FinishDirectories();
      default:
        return InvalidArgument("the client sent a packet of an unknown type");
    }
    TRY(Ask(stream));
    if (listed_ && wanted_.empty() && coming_.empty() && !std::exchange(told_end, true)) {
      Packet end;
      end.set_type(Packet::PACKET_FIN);
      (void)stream.Write(end);
    }
  }
}

Result<> TreeReceiver::Take(const Stat& stat) {
  uint32_t number = number_++;
  if (listed_ || number >= kMaxEntries) {
    return InvalidArgument("the client sends more entries than there may be");
  }
  auto place = TRY(PlaceOf(root_, stat.path()));
  size_ += stat.size();
  if (updates_) {
    if (!seen_.insert(stat.path()).second) return InvalidArgument("the client told it twice");
    if (TRY(IsHere(stat, place))) {
      bool is_directory = (stat.mode() & formats::kModeType) == formats::kModeDirectory;
      if (is_directory) {
        directories_.push_back({stat.path(), ModeOf(stat.mode()), stat.modtime(), {}});
      }
      return {};
    }
    TRY(kernel::RemoveTreeAt(place.parent, place.name));
  }
  return Make(stat, place, number);
}

Result<bool> TreeReceiver::IsHere(const Stat& stat, const kernel::ParentAndName& place) const {
  struct stat status;
  if (::fstatat(place.parent.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    return ErrnoError("looking at what is there");
  }
  bool same_mode = (status.st_mode & 07777) == ModeOf(stat.mode());
  bool same_time = UnixNanosOf(status.st_mtim) == stat.modtime();
  uint32_t type = stat.mode() & formats::kModeType;
  // Its mode and time are set in the end.
  if (type == formats::kModeDirectory) return S_ISDIR(status.st_mode);
  if (type == formats::kModeNamedPipe) return S_ISFIFO(status.st_mode) && same_mode && same_time;
  if (type == formats::kModeSymlink) {
    char target[PATH_MAX];
    ssize_t size = ::readlinkat(place.parent.get(), place.name.c_str(), target, sizeof target);
    return size >= 0 && stat.linkname() == std::string_view(target, static_cast<size_t>(size)) &&
           same_time;
  }
  if (type != 0 || !S_ISREG(status.st_mode)) return false;
  if (stat.linkname().empty()) {
    return same_mode && same_time && status.st_size == stat.size();
  }
  auto first = TRY(PlaceOf(root_, stat.linkname()));
  struct stat linked;
  return ::fstatat(first.parent.get(), first.name.c_str(), &linked, AT_SYMLINK_NOFOLLOW) == 0 &&
         linked.st_ino == status.st_ino;
}

Result<> TreeReceiver::RemoveOthers(BorrowedFd directory, const std::string& path, int depth) {
  if (depth > kDeepest) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  for (const std::string& name : TRY(ListDirectory(directory))) {
    std::string below = path.empty() ? name : path + "/" + name;
    if (!seen_.contains(below)) {
      TRY_WITH(kernel::RemoveTreeAt(directory, name), "removing '{}'", below);
      continue;
    }
    struct stat status;
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("looking at '{}'", below);
    }
    if (!S_ISDIR(status.st_mode)) continue;
    UniqueFd inner = TRY(kernel::OpenIn(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY(RemoveOthers(inner, below, depth + 1));
  }
  return {};
}

Result<> TreeReceiver::Make(const Stat& stat, const kernel::ParentAndName& place, uint32_t number) {
  const char* name = place.name.c_str();
  File file{stat.path(), ModeOf(stat.mode()), stat.modtime(), {}};
  uint32_t type = stat.mode() & formats::kModeType;
  if (type == formats::kModeDirectory) {
    if (::mkdirat(place.parent.get(), name, 0700) != 0) return ErrnoError("making it");
    directories_.push_back(std::move(file));
    return {};
  }
  if (type == formats::kModeSymlink) {
    if (::symlinkat(stat.linkname().c_str(), place.parent.get(), name) != 0) {
      return ErrnoError("making it");
    }
  } else if (type == formats::kModeNamedPipe) {
    if (::mkfifoat(place.parent.get(), name, file.mode) != 0) return ErrnoError("making it");
  } else if (type != 0) {
    return Unimplemented("it is a device or a socket, which no context may have");
  } else if (!stat.linkname().empty()) {
    auto first = TRY(PlaceOf(root_, stat.linkname()));
    if (::linkat(first.parent.get(), first.name.c_str(), place.parent.get(), name, 0) != 0) {
      return ErrnoError("linking it to '{}'", stat.linkname());
    }
    return {};
  } else {
    // Its name is there at once, for links to it.
    UniqueFd made(::openat(place.parent.get(), name,
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!made.valid()) return ErrnoError("making it");
    wanted_.emplace_back(number, std::move(file));
    return {};
  }
  timespec times[2] = {TimeOf(stat.modtime()), TimeOf(stat.modtime())};
  if (::utimensat(place.parent.get(), name, times, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("setting its time");
  }
  return {};
}

Result<> TreeReceiver::Ask(PacketStream& stream) {
  while (!wanted_.empty() && coming_.size() < kAtOnce) {
    auto [number, file] = std::move(wanted_.front());
    wanted_.pop_front();
    file.fd =
        TRY_WITH(kernel::OpenIn(root_, file.path, O_WRONLY | O_NOFOLLOW, 0, kernel::Links::kRefuse),
                 "receiving '{}'", file.path);
    coming_.emplace(number, std::move(file));
    Packet request;
    request.set_type(Packet::PACKET_REQ);
    request.set_id(number);
    if (!stream.Write(request)) {
      return MakeError(ErrorKind::kUnavailable, "the client's session broke");
    }
  }
  return {};
}

Result<> TreeReceiver::Write(const Packet& packet) {
  auto found = coming_.find(packet.id());
  if (found == coming_.end()) {
    return InvalidArgument("the client sent bytes that nobody asked for");
  }
  File& file = found->second;
  if (!packet.data().empty()) {
    int64_t before = std::exchange(bytes_, bytes_ + static_cast<int64_t>(packet.data().size()));
    if (told_ && before / kToldEvery != bytes_ / kToldEvery) told_(bytes_);
    TRY_WITH(WriteAll(file.fd, packet.data()), "receiving '{}'", file.path);
    return {};
  }
  timespec times[2] = {TimeOf(file.modified), TimeOf(file.modified)};
  if (::fchmod(file.fd.get(), file.mode) != 0 || ::futimens(file.fd.get(), times) != 0) {
    return ErrnoError("receiving '{}'", file.path);
  }
  coming_.erase(found);
  return {};
}

Result<> TreeReceiver::FinishDirectories() {
  // The innermost first: what is above may not be writable afterwards.
  for (auto at = directories_.rbegin(); at != directories_.rend(); ++at) {
    UniqueFd directory =
        TRY(kernel::OpenIn(root_, at->path, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse));
    timespec times[2] = {TimeOf(at->modified), TimeOf(at->modified)};
    if (::fchmod(directory.get(), at->mode) != 0 || ::futimens(directory.get(), times) != 0) {
      return ErrnoError("receiving '{}'", at->path);
    }
  }
  return {};
}

}  // namespace gantry::buildkit
