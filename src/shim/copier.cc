// SPDX-License-Identifier: Apache-2.0
#include "shim/copier.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"

namespace gantry::shim {
namespace {

constexpr size_t kSpliceSize = size_t{1} << 20;
constexpr size_t kBufferSize = 65536;
// One callback moves at most so many pieces, so that other descriptors get their turn.
constexpr int kMaxSteps = 16;

}  // namespace

Result<> SetNonBlocking(BorrowedFd fd) {
  int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) {
    return ErrnoError("making descriptor {} non-blocking", fd.get());
  }
  return {};
}

Copier::Copier(EventLoop* loop, UniqueFd from, UniqueFd to, std::function<void()> at_end)
    : loop_(loop), from_(std::move(from)), to_(std::move(to)), at_end_(std::move(at_end)) {}

Copier::~Copier() {
  at_end_ = nullptr;
  Close();
}

Result<> Copier::Start() {
  TRY(SetNonBlocking(from_));
  TRY(SetNonBlocking(to_));
  struct stat info{};
  always_ready_ = ::fstat(to_.get(), &info) == 0 && S_ISREG(info.st_mode);
  if (always_ready_) splice_ = false;  // splice(2) refuses O_APPEND
  Wait(Waiting::kSource);
  return {};
}

void Copier::Move() {
  if (done_) return;
  for (int i = 0; i < kMaxSteps; ++i) {
    switch (MoveSome()) {
      case Step::kMoved:
        continue;
      case Step::kSourceEmpty:
        return Wait(Waiting::kSource);
      case Step::kTargetFull:
        return Wait(Waiting::kTarget);
      case Step::kEnd:
        return End();
    }
  }
  Wait(Waiting::kSource);
}

Copier::Step Copier::MoveSome() {
  if (!splice_) return ReadAndWrite();
  ssize_t moved = ::splice(from_.get(), nullptr, to_.get(), nullptr, kSpliceSize,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (moved > 0) return Step::kMoved;
  if (moved == 0) return Step::kEnd;
  if (errno == EINTR) return Step::kMoved;
  if (errno == EINVAL) {
    splice_ = false;  // a terminal on one side
    return Step::kMoved;
  }
  if (errno != EAGAIN) return Step::kEnd;  // EPIPE, EIO
  // Either side: the source has bytes exactly when the target is what is full.
  int available = 0;
  if (::ioctl(from_.get(), FIONREAD, &available) == 0 && available > 0) return Step::kTargetFull;
  return Step::kSourceEmpty;
}

Copier::Step Copier::ReadAndWrite() {
  if (!buffer_.empty()) return FlushBuffer();
  static char shared[kBufferSize];
  ssize_t got = ::read(from_.get(), shared, sizeof shared);
  if (got < 0 && errno == EINTR) return Step::kMoved;
  if (got < 0 && errno == EAGAIN) return Step::kSourceEmpty;
  if (got <= 0) return Step::kEnd;  // EIO: the terminal's last user is gone
  buffer_.assign(shared, static_cast<size_t>(got));
  return FlushBuffer();
}

Copier::Step Copier::FlushBuffer() {
  ssize_t put = ::write(to_.get(), buffer_.data(), buffer_.size());
  if (put < 0 && errno == EINTR) return Step::kMoved;
  if (put < 0 && errno == EAGAIN) return Step::kTargetFull;
  if (put < 0) return Step::kEnd;
  buffer_.erase(0, static_cast<size_t>(put));
  return Step::kMoved;
}

// Exactly one of the two is watched: a hang-up of the other would wake us for ever.
void Copier::Wait(Waiting what) {
  if (waiting_ == what) return;
  if (waiting_ == Waiting::kSource) loop_->Unwatch(from_);
  if (waiting_ == Waiting::kTarget) loop_->Unwatch(to_);
  waiting_ = what;
  Result<> watched;
  if (what == Waiting::kSource) {
    watched = loop_->Watch(from_, EPOLLIN, [this](uint32_t) { Move(); });
  } else if (what == Waiting::kTarget) {
    watched = loop_->Watch(to_, EPOLLOUT, [this](uint32_t) { Move(); });
  }
  if (watched.ok()) return;
  log::Warning("copying a stream: {}", watched.error().message());
  waiting_ = Waiting::kNothing;
  End();
}

void Copier::End() {
  Close();
  if (auto at_end = std::exchange(at_end_, nullptr)) at_end();
}

void Copier::Close() {
  if (done_) return;
  Wait(Waiting::kNothing);
  done_ = true;
  from_.Reset();
  to_.Reset();
}

}  // namespace gantry::shim
