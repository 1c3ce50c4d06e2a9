// SPDX-License-Identifier: Apache-2.0
#include "build_client/result_receiver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <optional>

#include "base/io.h"
#include "base/output_file.h"
#include "base/text.h"
#include "formats/go_file_mode.h"
#include "formats/protobuf_wire.h"
#include "kernel/paths.h"
#include "moby/filesync/filesync.plain.h"

namespace gantry::build_client {
namespace {

using Type = plain::fsutil::types::Packet_PacketType;

constexpr size_t kAtOnce = 64;  // files that are on their way

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
      return InvalidArgument("the engine sent a bad path: '{}'", path);
    }
  }
  return kernel::OpenParentIn(root, path, kernel::Links::kRefuse);
}

bool IsDirectory(const kernel::ParentAndName& place) {
  struct stat status;
  return ::fstatat(place.parent.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISDIR(status.st_mode);
}

// The bytes of one file; it has its name once all have come.
class FileReceiver {
 public:
  static Result<std::shared_ptr<FileReceiver>> Create(const std::string& path) {
    std::shared_ptr<FileReceiver> self(new FileReceiver());
    if (path == "-") return self;
    self->file_.emplace(TRY(OutputFile::Create(path, 0644)));
    return self;
  }

  Result<> Take(std::string_view message) {
    auto piece = TRY(formats::ProtoDecode<plain::moby::filesync::v1::BytesMessage>(message));
    BorrowedFd to = file_ ? file_->fd() : BorrowedFd(STDOUT_FILENO);
    return WriteAll(to, piece.data);
  }
  Result<> Finish() { return file_ ? file_->Finish() : Result<>(); }

 private:
  FileReceiver() = default;
  std::optional<OutputFile> file_;  // none: standard output
};

void ReceiveFile(const std::shared_ptr<wire::GrpcCall>& call, const std::string& path) {
  auto file = FileReceiver::Create(path);
  if (!file.ok()) return call->Finish(file.error());
  auto failed = std::make_shared<bool>(false);
  wire::GrpcCall* at = call.get();
  call->on_message = [at, failed, file = *file](std::string_view message) {
    if (*failed) return;
    Result<> taken = file->Take(message);
    if (taken.ok()) return;
    *failed = true;
    at->Finish(taken);
  };
  call->on_last_message = [at, failed, file = *file] {
    if (!*failed) at->Finish(file->Finish());
  };
}

}  // namespace

void ReceiveResult(const std::shared_ptr<wire::GrpcCall>& call, const ResultTarget& target) {
  if (target.kind == ResultTarget::Kind::kFile) return ReceiveFile(call, target.path);
  DirectoryReceiver::Serve(call, target.path);
}

void DirectoryReceiver::Serve(const std::shared_ptr<wire::GrpcCall>& call,
                              const std::string& path) {
  std::shared_ptr<DirectoryReceiver> self(new DirectoryReceiver(*call));
  auto open = [&]() -> Result<> {
    TRY(MakeDirectories(path, 0755));
    self->root_ = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY));
    return {};
  };
  Result<> opened = open();
  if (!opened.ok()) return call->Finish(opened);
  call->on_message = [self](std::string_view message) { self->Take(message); };
}

void DirectoryReceiver::Take(std::string_view message) {
  if (done_) return;
  auto take = [&]() -> Result<> { return TakePacket(TRY(formats::ProtoDecode<Packet>(message))); };
  Result<> taken = take();
  if (taken.ok()) return;
  done_ = true;
  call_.Finish(taken);
}

Result<> DirectoryReceiver::TakePacket(const Packet& packet) {
  switch (packet.type) {
    case Type::kPacketStat:
      if (packet.stat) {
        TRY_WITH(Make(*packet.stat), "writing '{}'", packet.stat->path);
      } else {
        listed_ = true;
      }
      break;
    case Type::kPacketData:
      TRY(Write(packet));
      break;
    case Type::kPacketFin:
      if (!told_end_) return InvalidArgument("the engine ended before it had sent all");
      TRY(FinishDirectories());
      done_ = true;
      call_.Finish({});
      return {};
    case Type::kPacketErr:
      return MakeError(ErrorKind::kUnknown, "the engine could not send the result: {}",
                       packet.data);
    default:
      return InvalidArgument("the engine sent a packet of an unknown type");
  }
  TRY(Ask());
  if (listed_ && wanted_.empty() && coming_.empty() && !std::exchange(told_end_, true)) {
    Packet end;
    end.type = Type::kPacketFin;
    call_.Send(formats::ProtoEncode(end));
  }
  return {};
}

Result<> DirectoryReceiver::Make(const Stat& stat) {
  uint32_t number = number_++;
  auto place = TRY(PlaceOf(root_, stat.path));
  const char* name = place.name.c_str();
  File file{stat.path, ModeOf(stat.mode), stat.modTime, {}};
  uint32_t type = stat.mode & formats::kModeType;
  bool is_directory = type == formats::kModeDirectory;
  if (is_directory && IsDirectory(place)) {
    directories_.push_back(std::move(file));
    return {};
  }
  TRY(kernel::RemoveTreeAt(place.parent, place.name));
  if (is_directory) {
    if (::mkdirat(place.parent.get(), name, 0700) != 0) return ErrnoError("making it");
    directories_.push_back(std::move(file));
    return {};
  }
  if (type == formats::kModeSymlink) {
    if (::symlinkat(stat.linkname.c_str(), place.parent.get(), name) != 0) {
      return ErrnoError("making it");
    }
  } else if (type == formats::kModeNamedPipe) {
    if (::mkfifoat(place.parent.get(), name, file.mode) != 0) return ErrnoError("making it");
  } else if (type != 0) {
    dev_t device =
        makedev(static_cast<unsigned>(stat.devmajor), static_cast<unsigned>(stat.devminor));
    mode_t kind = (type & formats::kModeCharDevice) != 0 ? S_IFCHR : S_IFBLK;
    if (::mknodat(place.parent.get(), name, kind | file.mode, device) != 0) {
      return ErrnoError("making it");
    }
  } else if (!stat.linkname.empty()) {
    auto first = TRY(PlaceOf(root_, stat.linkname));
    if (::linkat(first.parent.get(), first.name.c_str(), place.parent.get(), name, 0) != 0) {
      return ErrnoError("linking it to '{}'", stat.linkname);
    }
    return {};
  } else {
    // Its name is there at once, for links to it.
    file.fd = TRY(
        kernel::OpenIn(place.parent, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    file.fd.Reset();
    wanted_.emplace_back(number, std::move(file));
    return {};
  }
  timespec times[2] = {TimeOf(stat.modTime), TimeOf(stat.modTime)};
  if (::utimensat(place.parent.get(), name, times, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("setting its time");
  }
  return {};
}

Result<> DirectoryReceiver::Ask() {
  while (!wanted_.empty() && coming_.size() < kAtOnce) {
    auto [number, file] = std::move(wanted_.front());
    wanted_.pop_front();
    file.fd = TRY_WITH(kernel::OpenIn(root_, file.path, O_WRONLY | O_TRUNC | O_NOFOLLOW, 0,
                                      kernel::Links::kRefuse),
                       "writing '{}'", file.path);
    coming_.emplace(number, std::move(file));
    Packet request;
    request.type = Type::kPacketReq;
    request.ID = number;
    call_.Send(formats::ProtoEncode(request));
  }
  return {};
}

Result<> DirectoryReceiver::Write(const Packet& packet) {
  auto found = coming_.find(packet.ID);
  if (found == coming_.end()) {
    return InvalidArgument("the engine sent bytes that nobody asked for");
  }
  File& file = found->second;
  if (!packet.data.empty()) {
    TRY_WITH(WriteAll(file.fd, packet.data), "writing '{}'", file.path);
    return {};
  }
  timespec times[2] = {TimeOf(file.modified), TimeOf(file.modified)};
  if (::fchmod(file.fd.get(), file.mode) != 0 || ::futimens(file.fd.get(), times) != 0) {
    return ErrnoError("writing '{}'", file.path);
  }
  coming_.erase(found);
  return {};
}

Result<> DirectoryReceiver::FinishDirectories() {
  // The innermost first: what is above may not be writable afterwards.
  for (auto at = directories_.rbegin(); at != directories_.rend(); ++at) {
    UniqueFd directory =
        TRY(kernel::OpenIn(root_, at->path, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse));
    timespec times[2] = {TimeOf(at->modified), TimeOf(at->modified)};
    if (::fchmod(directory.get(), at->mode) != 0 || ::futimens(directory.get(), times) != 0) {
      return ErrnoError("writing '{}'", at->path);
    }
  }
  return {};
}

}  // namespace gantry::build_client
