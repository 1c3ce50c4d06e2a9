// SPDX-License-Identifier: Apache-2.0
#include "build_client/directory_sender.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <climits>

#include "base/directory.h"
#include "base/io.h"
#include "formats/go_file_mode.h"
#include "formats/protobuf_wire.h"
#include "kernel/paths.h"
#include "wire/url.h"

namespace gantry::build_client {
namespace {

using Type = plain::fsutil::types::Packet_PacketType;

constexpr size_t kPiece = size_t{128} << 10;
constexpr int kMostLevels = 1000;  // each holds a descriptor
constexpr int64_t kNanos = 1'000'000'000;

uint32_t GoModeOf(mode_t mode) {
  uint32_t out = mode & 0777;
  if ((mode & S_ISUID) != 0) out |= formats::kModeSetuid;
  if ((mode & S_ISGID) != 0) out |= formats::kModeSetgid;
  if ((mode & S_ISVTX) != 0) out |= formats::kModeSticky;
  if (S_ISDIR(mode)) out |= formats::kModeDirectory;
  if (S_ISLNK(mode)) out |= formats::kModeSymlink;
  if (S_ISFIFO(mode)) out |= formats::kModeNamedPipe;
  if (S_ISBLK(mode)) out |= formats::kModeDevice;
  if (S_ISCHR(mode)) out |= formats::kModeDevice | formats::kModeCharDevice;
  return out;
}

// Values beyond ASCII come percent-encoded.
std::vector<std::string> Values(const wire::GrpcCall& call, const std::string& name) {
  std::vector<std::string> values = call.Values(name);
  if (call.Value(name + "-encoded") != "1") return values;
  for (std::string& value : values) {
    if (auto decoded = wire::PercentDecode(value); decoded.ok()) value = *std::move(decoded);
  }
  return values;
}

}  // namespace

void DirectorySender::Serve(const std::shared_ptr<wire::GrpcCall>& call,
                            std::shared_ptr<const SharedDirectory> directory) {
  std::shared_ptr<DirectorySender> self(new DirectorySender(*call, std::move(directory)));
  std::vector<std::string> paths = Values(*call, "followpaths");
  for (std::string& path : Values(*call, "include-patterns")) paths.push_back(std::move(path));
  auto choice =
      PathChoice::Create(self->directory_->root, Values(*call, "exclude-patterns"), paths);
  if (!choice.ok()) return self->Fail(choice.error());
  self->choice_ = *std::move(choice);
  // They keep it until the call has ended.
  call->on_message = [self](std::string_view message) { self->Take(message); };
  call->on_writable = [self] { self->SendMore(); };
  Result<> told = self->TellAll();
  if (!told.ok()) self->Fail(told.error());
}

void DirectorySender::Fail(const Error& error) {
  if (std::exchange(done_, true)) return;
  call_.Finish(error);
}

Result<> DirectorySender::TellAll() {
  if (directory_->root.valid()) {
    TRY(Walk(directory_->root, "", 0));
  } else {
    for (const auto& [name, text] : directory_->texts) {
      if (choice_.Of(name) != PathChoice::Part::kWhole) continue;
      Stat stat;
      stat.path = name;
      stat.mode = 0644;
      stat.size = static_cast<int64_t>(text.size());
      Send(std::move(stat), name);
    }
  }
  Packet end;
  end.type = Type::kPacketStat;
  call_.Send(formats::ProtoEncode(end));
  return {};
}

Result<> DirectorySender::Walk(BorrowedFd directory, const std::string& path, int depth) {
  if (depth > kMostLevels) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  for (const std::string& name : TRY_WITH(ListDirectory(directory), "reading '{}'", path)) {
    std::string below = path.empty() ? name : path + "/" + name;
    PathChoice::Part part = choice_.Of(below);
    if (part == PathChoice::Part::kNone) continue;
    struct stat status;
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // it has gone meanwhile
      return ErrnoError("reading '{}'", below);
    }
    bool is_directory = S_ISDIR(status.st_mode);
    if (S_ISSOCK(status.st_mode) || (part == PathChoice::Part::kBelow && !is_directory)) continue;
    size_t above = above_.size();
    if (part == PathChoice::Part::kWhole) {
      TRY(Tell(directory, name, below, status));
    } else {
      Stat stat;
      stat.path = below;
      stat.mode = GoModeOf(status.st_mode);
      stat.modTime = int64_t{status.st_mtim.tv_sec} * kNanos + status.st_mtim.tv_nsec;
      above_.push_back(std::move(stat));
    }
    if (!is_directory) continue;
    UniqueFd inner = TRY_WITH(kernel::OpenIn(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
                              "reading '{}'", below);
    TRY(Walk(inner, below, depth + 1));
    // Nothing in it was told.
    if (above_.size() > above) above_.resize(above);
  }
  return {};
}

Result<> DirectorySender::Tell(BorrowedFd directory, const std::string& name,
                               const std::string& path, const struct stat& status) {
  Stat stat;
  stat.path = path;
  stat.mode = GoModeOf(status.st_mode);
  stat.modTime = int64_t{status.st_mtim.tv_sec} * kNanos + status.st_mtim.tv_nsec;
  bool file = S_ISREG(status.st_mode);
  if (S_ISLNK(status.st_mode)) {
    char target[PATH_MAX];
    ssize_t size = ::readlinkat(directory.get(), name.c_str(), target, sizeof target);
    if (size < 0) return ErrnoError("reading '{}'", path);
    stat.linkname.assign(target, static_cast<size_t>(size));
  } else if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    stat.devmajor = major(status.st_rdev);
    stat.devminor = minor(status.st_rdev);
  } else if (file && status.st_nlink > 1) {
    auto [first, is_new] = linked_.try_emplace({status.st_dev, status.st_ino}, path);
    if (!is_new) {
      stat.linkname = first->second;
      file = false;
    }
  }
  if (file) stat.size = status.st_size;
  Send(std::move(stat), file ? path : "");
  return {};
}

void DirectorySender::Send(Stat stat, std::string contents) {
  for (Stat& one : std::exchange(above_, {})) Send(std::move(one), "");
  Packet packet;
  packet.type = Type::kPacketStat;
  packet.stat = std::move(stat);
  files_.push_back(std::move(contents));
  call_.Send(formats::ProtoEncode(packet));
}

void DirectorySender::Take(std::string_view message) {
  if (done_) return;
  auto packet = formats::ProtoDecode<Packet>(message);
  if (!packet.ok()) return Fail(packet.error());
  if (packet->type == Type::kPacketFin) {
    call_.Send(formats::ProtoEncode(*packet));
    done_ = true;
    return call_.Finish({});
  }
  if (packet->type == Type::kPacketErr) {
    return Fail(
        MakeError(ErrorKind::kUnknown, "the engine could not take a directory: {}", packet->data));
  }
  if (packet->type != Type::kPacketReq || packet->ID >= files_.size() ||
      files_[packet->ID].empty()) {
    return Fail(InvalidArgument("the engine asked for what there is not"));
  }
  wanted_.push_back(packet->ID);
}

void DirectorySender::SendMore() {
  if (wanted_.empty() || done_) return;
  Result<> sent = SendPiece();
  if (!sent.ok()) Fail(sent.error());
}

Result<> DirectorySender::SendPiece() {
  const std::string& path = files_[wanted_.front()];
  bool in_memory = !directory_->root.valid();
  if (!std::exchange(begun_, true)) {
    if (in_memory) {
      text_ = directory_->texts.at(path);
    } else {
      file_ = TRY_WITH(kernel::OpenIn(directory_->root, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0,
                                      kernel::Links::kRefuse),
                       "reading '{}'", path);
    }
  }
  Packet packet;
  packet.type = Type::kPacketData;
  packet.ID = wanted_.front();
  if (in_memory) {
    packet.data = text_.substr(0, kPiece);
  } else {
    packet.data.resize(kPiece);
    packet.data.resize(TRY_WITH(ReadSome(file_, packet.data.data(), kPiece), "reading '{}'", path));
  }
  if (in_memory) text_.remove_prefix(packet.data.size());
  // The one without data ends the file.
  if (packet.data.empty()) {
    wanted_.pop_front();
    begun_ = false;
    file_.Reset();
  }
  call_.Send(formats::ProtoEncode(packet));
  return {};
}

}  // namespace gantry::build_client
