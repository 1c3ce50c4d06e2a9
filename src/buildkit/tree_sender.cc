// SPDX-License-Identifier: Apache-2.0
#include "buildkit/tree_sender.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <memory>
#include <thread>

#include "base/directory.h"
#include "formats/go_file_mode.h"
#include "kernel/paths.h"

namespace gantry::buildkit {
namespace {

using fsutil::types::Packet;
using fsutil::types::Stat;

constexpr size_t kPiece = size_t{32} << 10;
constexpr int kMostLevelsSent = 1000;  // each holds a descriptor

Error Broke() { return MakeError(ErrorKind::kUnavailable, "the client's session broke"); }

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

}  // namespace

void FillStat(const struct stat& status, Stat* out) {
  out->set_mode(GoModeOf(status.st_mode));
  out->set_uid(status.st_uid);
  out->set_gid(status.st_gid);
  out->set_modtime(int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec);
  if (S_ISREG(status.st_mode)) out->set_size(status.st_size);
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    out->set_devmajor(major(status.st_rdev));
    out->set_devminor(minor(status.st_rdev));
  }
}

TreeSender::TreeSender(std::vector<SentTree> trees) : trees_(std::move(trees)) {
  std::sort(trees_.begin(), trees_.end(),
            [](const SentTree& a, const SentTree& b) { return a.directory < b.directory; });
}

void TreeSender::ReadRequests(PacketStream& stream) {
  Packet packet;
  while (stream.Read(&packet)) {
    MutexLock lock(mutex_);
    requests_.push_back(packet);
    come_.NotifyAll();
  }
  MutexLock lock(mutex_);
  ended_ = true;
  come_.NotifyAll();
}

std::optional<Packet> TreeSender::NextRequest() {
  MutexLock lock(mutex_);
  while (requests_.empty() && !ended_) come_.Wait(mutex_);
  if (requests_.empty()) return std::nullopt;
  Packet next = std::move(requests_.front());
  requests_.pop_front();
  return next;
}

Result<> TreeSender::Run(PacketStream& stream) {
  std::thread reader([&] { ReadRequests(stream); });
  Result<> sent = SendAll(stream);
  if (!sent.ok()) {
    Packet packet;
    packet.set_type(Packet::PACKET_ERR);
    packet.set_data(sent.error().message());
    (void)stream.Write(packet);
  }
  stream.EndWrites();
  reader.join();
  return sent;
}

Result<> TreeSender::SendAll(PacketStream& stream) {
  for (const SentTree& tree : trees_) {
    tree_ = &tree;
    UniqueFd top = TRY(kernel::OpenIn(tree.root, "", O_RDONLY | O_DIRECTORY));
    if (!tree.directory.empty()) TRY(SendDirectory(stream, tree));
    TRY(Walk(stream, top, "", 0));
  }
  Packet listed;
  listed.set_type(Packet::PACKET_STAT);
  if (!stream.Write(listed)) return Broke();
  while (auto request = NextRequest()) {
    switch (request->type()) {
      case Packet::PACKET_REQ:
        TRY(SendFile(stream, request->id()));
        break;
      case Packet::PACKET_FIN:
        // It answers theirs; whether the client has all is what its status says.
        (void)stream.Write(*request);
        return {};
      case Packet::PACKET_ERR:
        return MakeError(ErrorKind::kUnknown, "the client could not take a directory: {}",
                         request->data());
      default:
        return InvalidArgument("the client sent a packet of an unknown type");
    }
  }
  return Broke();
}

Result<> TreeSender::SendDirectory(PacketStream& stream, const SentTree& tree) {
  struct stat status;
  if (::fstat(tree.root.get(), &status) != 0) return ErrnoError("reading '{}'", tree.directory);
  Packet packet;
  packet.set_type(Packet::PACKET_STAT);
  packet.mutable_stat()->set_path(tree.directory);
  FillStat(status, packet.mutable_stat());
  files_.push_back({tree.root, ""});
  return stream.Write(packet) ? Result<>() : Broke();
}

Result<> TreeSender::Walk(PacketStream& stream, BorrowedFd directory, const std::string& path,
                          int depth) {
  if (depth > kMostLevelsSent) return MakeError(ErrorKind::kResourceExhausted, "too many levels");
  for (const std::string& name : TRY(ListDirectory(directory))) {
    std::string below = path.empty() ? name : path + "/" + name;
    struct stat status;
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("reading '{}'", below);
    }
    if (S_ISSOCK(status.st_mode)) continue;
    Packet packet;
    packet.set_type(Packet::PACKET_STAT);
    const std::string shown = tree_->directory.empty() ? below : tree_->directory + "/" + below;
    packet.mutable_stat()->set_path(shown);
    FillStat(status, packet.mutable_stat());
    bool file = S_ISREG(status.st_mode);
    if (S_ISLNK(status.st_mode)) {
      char target[PATH_MAX];
      ssize_t size = ::readlinkat(directory.get(), name.c_str(), target, sizeof target);
      if (size < 0) return ErrnoError("reading '{}'", below);
      packet.mutable_stat()->set_linkname(target, static_cast<size_t>(size));
    } else if (file && status.st_nlink > 1) {
      auto [first, is_new] = linked_.try_emplace({status.st_dev, status.st_ino}, shown);
      if (!is_new) {
        packet.mutable_stat()->set_linkname(first->second);
        packet.mutable_stat()->set_size(0);
        file = false;
      }
    }
    files_.push_back({tree_->root, file ? below : ""});
    if (!stream.Write(packet)) return Broke();
    if (!S_ISDIR(status.st_mode)) continue;
    UniqueFd inner = TRY(kernel::OpenIn(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY(Walk(stream, inner, below, depth + 1));
  }
  return {};
}

Result<> TreeSender::SendFile(PacketStream& stream, uint32_t number) {
  if (number >= files_.size() || files_[number].path.empty()) {
    return InvalidArgument("the client asked for a file that there is not: {}", number);
  }
  const std::string& path = files_[number].path;
  UniqueFd file = TRY(kernel::OpenIn(files_[number].root, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW,
                                     0, kernel::Links::kRefuse));
  auto buffer = std::make_unique<char[]>(kPiece);
  Packet packet;
  packet.set_type(Packet::PACKET_DATA);
  packet.set_id(number);
  for (;;) {
    ssize_t size = ::read(file.get(), buffer.get(), kPiece);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoError("reading '{}'", path);
    bytes_ += size;
    // The one without data ends the file.
    packet.set_data(buffer.get(), static_cast<size_t>(size));
    if (!stream.Write(packet)) return Broke();
    if (size == 0) return {};
  }
}

}  // namespace gantry::buildkit
