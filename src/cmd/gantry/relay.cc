// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/relay.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/io.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;
constexpr size_t kGatherBytes = 64 * 1024;
// Copying this much costs about what a write of its own does.
constexpr size_t kLargePieceBytes = 16 * 1024;
constexpr size_t kMaxPendingBytes = 1 << 20;
constexpr size_t kMaxDaemonErrorBytes = 64 * 1024;

constexpr int kProxiedSignals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                   SIGUSR2, SIGALRM, SIGCONT, SIGTSTP};

// Standard output may be non-blocking, since somebody else's terminal is shared.
Result<> WriteFully(BorrowedFd fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t put = ::write(fd.get(), data.data(), data.size());
    if (put >= 0) {
      data.remove_prefix(static_cast<size_t>(put));
    } else if (errno == EAGAIN) {
      pollfd wait{fd.get(), POLLOUT, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return ErrnoError("writing output");
    }
  }
  return {};
}

Result<UniqueFd> WatchSignals(bool proxied, bool resize) {
  sigset_t set;
  sigemptyset(&set);
  if (proxied) {
    for (int signal : kProxiedSignals) sigaddset(&set, signal);
  }
  if (resize) sigaddset(&set, SIGWINCH);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return ErrnoError("blocking signals");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoError("making a signal descriptor");
  return fd;
}

}  // namespace

Result<> Demultiplexer::Feed(std::string_view data) {
  Result<> parsed = Parse(data);
  // What came before an error belongs to the output, too.
  TRY(Flush());
  return parsed;
}

Result<> Demultiplexer::Flush() {
  Result<> written = WriteFully(gathered_for_, gathered_);
  gathered_.clear();
  return written;
}

Result<> Demultiplexer::Gather(BorrowedFd target, std::string_view piece) {
  bool large = piece.size() >= kLargePieceBytes;
  if (large || target.get() != gathered_for_.get() ||
      gathered_.size() + piece.size() > kGatherBytes) {
    TRY(Flush());
    gathered_for_ = target;
  }
  if (large) return WriteFully(target, piece);
  gathered_.append(piece);
  return {};
}

Result<> Demultiplexer::Parse(std::string_view data) {
  while (!data.empty()) {
    if (left_ == 0) {
      size_t take = std::min(sizeof header_ - header_size_, data.size());
      std::memcpy(header_ + header_size_, data.data(), take);
      header_size_ += take;
      data.remove_prefix(take);
      if (header_size_ < sizeof header_) return {};
      header_size_ = 0;
      stream_ = header_[0];
      left_ = uint32_t{header_[4]} << 24 | uint32_t{header_[5]} << 16 | uint32_t{header_[6]} << 8 |
              header_[7];
      if (stream_ > 3) return InvalidArgument("Unrecognized input header: {}", stream_);
      continue;
    }
    std::string_view piece = data.substr(0, left_);
    data.remove_prefix(piece.size());
    left_ -= static_cast<uint32_t>(piece.size());
    if (stream_ == 3) {
      daemon_error_.append(piece.substr(0, kMaxDaemonErrorBytes - daemon_error_.size()));
      if (left_ == 0) return Internal("error from daemon in stream: {}", daemon_error_);
    } else if (BorrowedFd target = stream_ == 2 ? err_ : out_; target.valid()) {
      TRY(Gather(target, piece));
    }
  }
  return {};
}

Result<DetachKeys> DetachKeys::Parse(std::string_view text) {
  DetachKeys parsed;
  while (!text.empty()) {
    size_t comma = text.find(',');
    std::string_view key = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    if (key.size() == 1) {
      parsed.keys_.push_back(key[0]);
    } else if (key.size() == 6 && key.substr(0, 5) == "ctrl-" &&
               ((key[5] >= 'a' && key[5] <= 'z') ||
                std::string_view("@[\\]^_").find(key[5]) != std::string_view::npos)) {
      parsed.keys_.push_back(static_cast<char>(key[5] & 0x1F));
    } else {
      return InvalidArgument("Unknown character: '{}'", key);
    }
  }
  return parsed;
}

bool DetachKeys::Filter(std::string_view typed, std::string* passed_on) {
  for (char c : typed) {
    if (!keys_.empty() && c == keys_[matched_]) {
      if (++matched_ == keys_.size()) return true;
      continue;
    }
    passed_on->append(keys_, 0, matched_);
    matched_ = 0;
    if (!keys_.empty() && c == keys_[0]) {
      matched_ = 1;
      if (keys_.size() == 1) return true;
    } else {
      passed_on->push_back(c);
    }
  }
  return false;
}

Result<Relay> Relay::Create(RelayOptions options) {
  Result<DetachKeys> keys =
      DetachKeys::Parse(options.detach_keys.empty() ? kDefaultDetachKeys : options.detach_keys);
  if (!keys.ok()) keys = DetachKeys::Parse(kDefaultDetachKeys);
  UniqueFd signals = TRY(WatchSignals(options.proxy_signals, options.terminal));
  return Relay(std::move(options), std::move(*keys), std::move(signals));
}

Result<RelayEnd> Relay::Run(wire::HttpConnection::Raw raw) {
  socket_ = std::move(raw.socket);
  BorrowedFd out(options_.output ? STDOUT_FILENO : -1);
  if (!options_.terminal) {
    demultiplexer_.emplace(out, BorrowedFd(options_.error ? STDERR_FILENO : -1));
  }
  std::optional<kernel::RawTerminal> raw_mode;
  if (options_.terminal && options_.input && kernel::IsTerminal(BorrowedFd(STDIN_FILENO))) {
    raw_mode.emplace(TRY(kernel::RawTerminal::Enter(BorrowedFd(STDIN_FILENO))));
  }
  input_open_ = options_.input;
  TRY(TakeOutput(raw.received));
  // Not cleared: most programs print less than it holds.
  auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  for (;;) {
    pollfd waits[3] = {
        {socket_.get(), static_cast<short>(POLLIN | (pending_.empty() ? 0 : POLLOUT)), 0},
        {signals_.get(), POLLIN, 0},
        {input_open_ && pending_.size() < kMaxPendingBytes ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(waits, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("waiting for the container's streams");
    }
    if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      ssize_t got = ::recv(socket_.get(), buffer.get(), kBufferBytes, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return RelayEnd::kClosed;
      if (got < 0 && errno != EAGAIN && errno != EINTR) {
        return ErrnoError("receiving the container's output");
      }
      if (got > 0) TRY(TakeOutput(std::string_view(buffer.get(), static_cast<size_t>(got))));
    }
    // Before the input: keys that are typed after a change of size find the new size.
    if ((waits[1].revents & POLLIN) != 0) ReadSignals();
    if ((waits[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && TRY(ReadInput())) {
      return RelayEnd::kDetached;
    }
    TRY(SendPending());
  }
}

Result<> Relay::TakeOutput(std::string_view data) {
  if (demultiplexer_) return demultiplexer_->Feed(data);
  if (!options_.output) return {};
  return WriteFully(BorrowedFd(STDOUT_FILENO), data);
}

// True when the detach keys are complete.
Result<bool> Relay::ReadInput() {
  char buffer[32 * 1024];
  ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return false;
  if (got <= 0) {
    // A terminal that went away (EIO) ends the input as an end of file does.
    input_open_ = false;
    if (pending_.empty()) EndInput();
    return false;
  }
  std::string_view data(buffer, static_cast<size_t>(got));
  if (options_.terminal) return keys_.Filter(data, &pending_);
  pending_.append(data);
  return false;
}

Result<> Relay::SendPending() {
  while (!pending_.empty()) {
    ssize_t put =
        ::send(socket_.get(), pending_.data(), pending_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0) {
      if (errno == EAGAIN || errno == EINTR) return {};
      // The container no longer reads; its output may still come.
      pending_.clear();
      input_open_ = false;
      return {};
    }
    pending_.erase(0, static_cast<size_t>(put));
  }
  if (!input_open_ && options_.input) EndInput();
  return {};
}

// Half-closes the connection: the container's standard input ends.
void Relay::EndInput() {
  if (input_ended_) return;
  input_ended_ = true;
  ::shutdown(socket_.get(), SHUT_WR);
}

void Relay::ReadSignals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGWINCH) {
      kernel::WindowSize size = kernel::TerminalSize(BorrowedFd(STDOUT_FILENO));
      if (options_.on_resize && size.rows != 0) options_.on_resize(size.rows, size.columns);
    } else if (options_.on_signal) {
      options_.on_signal(static_cast<int>(info.ssi_signo));
    }
  }
}

}  // namespace gantry::cli
