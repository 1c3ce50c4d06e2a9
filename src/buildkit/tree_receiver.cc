// SPDX-License-Identifier: Apache-2.0
#include "buildkit/tree_receiver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

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

mode_t ModeOf(uint32_t mode) {
  return (mode & 0777) | ((mode & formats::kModeSetuid) != 0 ? S_ISUID : 0U) |
         ((mode & formats::kModeSetgid) != 0 ? S_ISGID : 0U) |
         ((mode & formats::kModeSticky) != 0 ? S_ISVTX : 0U);
}

timespec TimeOf(int64_t nanos) {
  constexpr int64_t kNanos = 1'000'000'000;
  int64_t seconds = nanos / kNanos - (nanos % kNanos < 0 ? 1 : 0);
  return {seconds, nanos - seconds * kNanos};
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
          TRY_WITH(Make(packet.stat()), "receiving '{}'", packet.stat().path());
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

Result<> TreeReceiver::Make(const Stat& stat) {
  uint32_t number = number_++;
  if (listed_ || number >= kMaxEntries) {
    return InvalidArgument("the client sends more entries than there may be");
  }
  auto place = TRY(PlaceOf(root_, stat.path()));
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
    auto place = TRY(PlaceOf(root_, file.path));
    file.fd = UniqueFd(::openat(place.parent.get(), place.name.c_str(),
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.fd.valid()) return ErrnoError("receiving '{}'", file.path);
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
    bytes_ += static_cast<int64_t>(packet.data().size());
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
