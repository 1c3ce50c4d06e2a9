// SPDX-License-Identifier: Apache-2.0
//
// gantry:// (docs/shim-io.md): output goes to the log and to attached clients, stdin comes from
// attached clients. The process waits for a client that does not read, never for the log.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/log.h"
#include "shim/attach_server.h"
#include "shim/copier.h"
#include "shim/log_file.h"
#include "shim/process_io.h"

namespace gantry::shim {
namespace {

constexpr size_t kReadSize = size_t{256} << 10;
// A process that fills its pipe gets a larger one: fewer switches for much output, nothing spent
// on the quiet ones.
constexpr int kLargePipe = 256 << 10;
constexpr size_t kDefaultPipe = 65536;
// stdin that waits for the process beyond this stops the clients.
constexpr size_t kMaxInput = 65536;

// Touched only by containers that print; one for all processes, the loop has one thread.
char* ReadBuffer() {
  static std::array<char, kReadSize> buffer;
  return buffer.data();
}

class GantryIo : public ProcessIo {
 public:
  GantryIo(EventLoop* loop, GantryStdio stdio, bool terminal)
      : loop_(loop), stdio_(std::move(stdio)), terminal_(terminal) {}
  ~GantryIo() override { Close(); }

  Result<> Prepare(const IoRequest& request) {
    if (!stdio_.log.empty()) {
      log_ = TRY(LogFile::Open(loop_, {.path = stdio_.log,
                                       .max_size = stdio_.max_size,
                                       .max_files = stdio_.max_files,
                                       .compress = stdio_.compress,
                                       .attributes = stdio_.attributes}));
    }
    AttachServer::Owner owner;
    owner.on_input = [this](std::string_view bytes) { return TakeInput(bytes); };
    owner.on_input_end = [this] {
      if (stdio_.stdin_mode == StdinMode::kOnce && !terminal_) EndInputWhenWritten();
    };
    owner.on_drained = [this] { WatchSources(); };
    attach_ = TRY(AttachServer::Create(loop_, stdio_.socket, std::move(owner)));
    if (terminal_) return {};
    if (stdio_.stdin_mode != StdinMode::kNone) {
      Pipe pipe = TRY(MakePipe(request.uid, request.gid));
      child_.in = std::move(pipe.read);
      input_ = std::move(pipe.write);
      TRY(SetNonBlocking(input_));
    }
    TRY(AddSource(&out_, StreamId::kStdout, &child_.out, request));
    TRY(AddSource(&err_, StreamId::kStderr, &child_.err, request));
    WatchSources();
    return {};
  }

  Result<> UseTerminal(UniqueFd master) override {
    TRY(SetNonBlocking(master));
    if (stdio_.stdin_mode != StdinMode::kNone) {
      input_ = UniqueFd(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
      if (!input_.valid()) return ErrnoError("duplicating the terminal");
    }
    out_ = Source{std::move(master), StreamId::kStdout};
    WatchSources();
    FlushInput();
    return {};
  }

  void CloseStdin() override { EndInputWhenWritten(); }

  void Drain() override {
    // Past the clients' limit: what a pipe holds is bounded, and the log must be whole.
    for (Source* source : {&out_, &err_}) {
      while (source->fd.valid() && ReadOnce(source)) {
      }
    }
  }

  bool finished() const override { return !out_.fd.valid() && !err_.fd.valid() && started_; }

  void Close() override {
    EndSource(&out_);
    EndSource(&err_);
    CloseInput();
    log_.reset();
    attach_.reset();
  }

 private:
  struct Source {
    UniqueFd fd;
    StreamId stream = StreamId::kStdout;
    bool watched = false;
    bool large = false;
  };

  Result<> AddSource(Source* source, StreamId stream, UniqueFd* child, const IoRequest& request) {
    Pipe pipe = TRY(MakePipe(request.uid, request.gid));
    TRY(SetNonBlocking(pipe.read));
    *child = std::move(pipe.write);
    *source = Source{std::move(pipe.read), stream};
    return {};
  }

  // Sources are watched exactly while no client is behind.
  void WatchSources() {
    bool wanted = attach_ != nullptr && !attach_->backlogged();
    for (Source* source : {&out_, &err_}) {
      if (!source->fd.valid() || source->watched == wanted) continue;
      source->watched = wanted;
      if (!wanted) {
        loop_->Unwatch(source->fd);
        continue;
      }
      started_ = true;
      Result<> watched = loop_->Watch(source->fd, EPOLLIN, [this, source](uint32_t) {
        ReadOnce(source);
        WatchSources();
      });
      if (!watched.ok()) log::Failure("reading output: {}", watched.error().message());
    }
  }

  // False when there is nothing now, or never again.
  bool ReadOnce(Source* source) {
    ssize_t got = ::read(source->fd.get(), ReadBuffer(), kReadSize);
    if (got < 0 && errno == EINTR) return true;
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) {  // EIO: the terminal's last user is gone
      EndSource(source);
      EndOutputIfOver();
      return false;
    }
    std::string_view bytes(ReadBuffer(), static_cast<size_t>(got));
    if (bytes.size() == kDefaultPipe && !std::exchange(source->large, true)) {
      (void)::fcntl(source->fd.get(), F_SETPIPE_SZ, kLargePipe);
    }
    if (log_) {
      log_->Append(source->stream == StreamId::kStderr ? formats::LogStream::kStderr
                                                       : formats::LogStream::kStdout,
                   bytes, WallClock::now());
    }
    attach_->Send(source->stream, bytes);
    return true;
  }

  void EndSource(Source* source) {
    if (!source->fd.valid()) return;
    if (source->watched) loop_->Unwatch(source->fd);
    source->watched = false;
    source->fd.Reset();
    if (log_) {
      log_->Finish(source->stream == StreamId::kStderr ? formats::LogStream::kStderr
                                                       : formats::LogStream::kStdout,
                   WallClock::now());
    }
  }

  void EndOutputIfOver() {
    if (!finished()) return;
    if (attach_) attach_->EndOutput();
    TellFinished();
  }

  // Clients' stdin -------------------------------------------------------------------------------

  bool TakeInput(std::string_view bytes) {
    if (input_ended_ || stdio_.stdin_mode == StdinMode::kNone) return true;
    pending_input_.append(bytes);
    FlushInput();
    return pending_input_.size() < kMaxInput;
  }

  void FlushInput() {
    if (!input_.valid()) return;
    size_t done = 0;
    while (done < pending_input_.size()) {
      ssize_t put =
          ::write(input_.get(), pending_input_.data() + done, pending_input_.size() - done);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) break;
      if (put < 0) {  // nobody reads it any more
        pending_input_.clear();
        input_ended_ = true;
        CloseInput();
        if (attach_) attach_->ResumeInput();
        return;
      }
      done += static_cast<size_t>(put);
    }
    pending_input_.erase(0, done);
    bool waiting = !pending_input_.empty();
    if (waiting != input_watched_) {
      input_watched_ = waiting;
      if (!waiting) {
        loop_->Unwatch(input_);
      } else if (!loop_->Watch(input_, EPOLLOUT, [this](uint32_t) { FlushInput(); }).ok()) {
        input_watched_ = false;
      }
    }
    if (waiting) return;
    if (input_ended_) CloseInput();
    if (attach_) attach_->ResumeInput();
  }

  void EndInputWhenWritten() {
    input_ended_ = true;
    if (pending_input_.empty()) CloseInput();
  }

  void CloseInput() {
    if (input_watched_) loop_->Unwatch(input_);
    input_watched_ = false;
    input_.Reset();
  }

  EventLoop* loop_;
  GantryStdio stdio_;
  bool terminal_;
  std::unique_ptr<LogFile> log_;
  std::unique_ptr<AttachServer> attach_;
  Source out_;
  Source err_;
  bool started_ = false;  // sources exist or existed
  UniqueFd input_;
  bool input_watched_ = false;
  bool input_ended_ = false;
  std::string pending_input_;
};

}  // namespace

Result<std::unique_ptr<ProcessIo>> CreateGantryIo(EventLoop* loop, const IoRequest& request,
                                                  const GantryStdio& stdio) {
  auto io = std::make_unique<GantryIo>(loop, stdio, request.terminal);
  TRY(io->Prepare(request));
  return std::unique_ptr<ProcessIo>(std::move(io));
}

}  // namespace gantry::shim
