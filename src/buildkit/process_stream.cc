// SPDX-License-Identifier: Apache-2.0
#include "buildkit/process_stream.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/mutex.h"
#include "build/attach_frames.h"
#include "buildkit/rpc.h"

namespace gantry::buildkit {
namespace {

namespace frontend = moby::buildkit::v1::frontend;

// What may wait: for a process, and for the caller.
constexpr size_t kMostInput = size_t{1} << 20;
constexpr size_t kMostAnswers = size_t{1} << 20;
constexpr size_t kMostProcesses = 256;
constexpr size_t kPieceOfOutput = size_t{32} << 10;
constexpr uint32_t kNoExitCode = 255;
constexpr std::chrono::milliseconds kExitTick{100};

// What the caller sends to one process, until it has taken it. Any thread.
class Input {
 public:
  static Result<std::shared_ptr<Input>> Create() {
    UniqueFd changed(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!changed.valid()) return ErrnoError("making an event descriptor");
    return std::shared_ptr<Input>(new Input(std::move(changed)));
  }
  // Waits while much is waiting already.
  void Put(std::string_view bytes, bool last) {
    MutexLock lock(mutex_);
    wire::WorkerPool::Blocked blocked;
    while (!ended_ && waiting_.size() > kMostInput) taken_.Wait(mutex_);
    waiting_ += bytes;
    last_ = last_ || last;
    Signal();
  }
  // The process takes nothing any more.
  void End() {
    MutexLock lock(mutex_);
    ended_ = true;
    taken_.NotifyAll();
  }
  BorrowedFd changed() const { return changed_; }
  // All that waits; whether it is the last.
  std::pair<std::string, bool> Take() {
    uint64_t count = 0;
    (void)!::read(changed_.get(), &count, sizeof count);
    MutexLock lock(mutex_);
    taken_.NotifyAll();
    return {std::exchange(waiting_, {}), last_};
  }

 private:
  explicit Input(UniqueFd changed) : changed_(std::move(changed)) {}
  void Signal() REQUIRES(mutex_) {
    uint64_t one = 1;
    (void)!::write(changed_.get(), &one, sizeof one);
  }

  const UniqueFd changed_;
  Mutex mutex_;
  CondVar taken_;
  std::string waiting_ GUARDED_BY(mutex_);
  bool last_ GUARDED_BY(mutex_) = false;
  bool ended_ GUARDED_BY(mutex_) = false;
};

// A process in its container.
struct Running {
  std::string id;  // the caller's
  std::shared_ptr<GatewayContainer> container;
  std::string exec;  // as the container knows it
  std::set<uint32_t> wanted;
  std::shared_ptr<Input> input;
};

// One message each way is under way; workers do what may block. Deletes itself.
class ProcessStream : public grpc::ServerBidiReactor<ExecMessage, ExecMessage> {
 public:
  static ProcessStream* Start(wire::WorkerPool& workers, FindContainer find) {
    auto stop = StopSource::Create();
    std::shared_ptr<ProcessStream> stream(
        new ProcessStream(workers, std::move(find), stop.ok() ? *stop : *StopSource::Create()));
    stream->self_ = stream;
    stream->ReadNext();
    return stream.get();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return EndReads();
    workers_.Run([stream = self_] {
      Result<> taken = stream->Take(stream->received_);
      if (!taken.ok()) return stream->End(ToStatus(taken.error()));
      stream->ReadNext();
    });
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return End({grpc::StatusCode::CANCELLED, "the caller is gone"});
    MutexLock lock(mutex_);
    unsent_ -= waiting_.front().ByteSizeLong();
    waiting_.pop_front();
    writes_ = false;
    sent_.NotifyAll();
    WriteNext();
  }
  void OnCancel() override { End({grpc::StatusCode::CANCELLED, "the caller is gone"}); }
  void OnDone() override { self_.reset(); }

 private:
  ProcessStream(wire::WorkerPool& workers, FindContainer find, StopSource stop)
      : workers_(workers), find_(std::move(find)), stop_(std::move(stop)) {}

  Result<> Take(const ExecMessage& message);
  Result<> Begin(const std::string& id, const frontend::InitMessage& init);
  // The process to its end, in a thread of its own.
  void Follow(const Running& running, GatewayContainer::Process process);
  void Relay(const Running& running, GatewayContainer::Process& process);
  Result<> SendOutput(const Running& running, uint8_t stream, std::string_view bytes);
  void SendExit(const std::string& id, int code, const Error* error);
  // Waits for the caller when much is waiting. False: it is gone.
  bool Send(const std::string& id, const std::function<void(ExecMessage*)>& fill);

  std::optional<Running> Find(const std::string& id) {
    MutexLock lock(mutex_);
    auto found = processes_.find(id);
    if (found == processes_.end()) return std::nullopt;
    return found->second;
  }
  void Forget(const std::string& id) {
    MutexLock lock(mutex_);
    processes_.erase(id);
    EndWhenIdle();
  }

  void ReadNext() {
    MutexLock lock(mutex_);
    if (!ended_) StartRead(&received_);
  }
  // The caller sends no more: the stream ends with its processes.
  void EndReads() {
    MutexLock lock(mutex_);
    reads_ended_ = true;
    EndWhenIdle();
  }
  void EndWhenIdle() REQUIRES(mutex_) {
    bool idle = reads_ended_ && processes_.empty() && waiting_.empty();
    if (idle && !std::exchange(ended_, true)) Finish(grpc::Status::OK);
  }
  void WriteNext() REQUIRES(mutex_) {
    if (ended_ || writes_) return;
    if (waiting_.empty()) return EndWhenIdle();
    writes_ = true;
    StartWrite(&waiting_.front());
  }
  void End(const grpc::Status& status) {
    stop_.RequestStop();
    MutexLock lock(mutex_);
    for (auto& [id, running] : processes_) running.input->End();
    sent_.NotifyAll();
    if (!std::exchange(ended_, true)) Finish(status);
  }

  std::shared_ptr<ProcessStream> self_;  // until gRPC is done with it
  wire::WorkerPool& workers_;
  const FindContainer find_;
  StopSource stop_;
  ExecMessage received_;
  Mutex mutex_;
  CondVar sent_;
  std::map<std::string, Running> processes_ GUARDED_BY(mutex_);
  std::deque<ExecMessage> waiting_ GUARDED_BY(mutex_);
  size_t unsent_ GUARDED_BY(mutex_) = 0;  // bytes
  bool writes_ GUARDED_BY(mutex_) = false;
  bool reads_ended_ GUARDED_BY(mutex_) = false;
  bool ended_ GUARDED_BY(mutex_) = false;
};

bool ProcessStream::Send(const std::string& id, const std::function<void(ExecMessage*)>& fill) {
  ExecMessage message;
  message.set_processid(id);
  fill(&message);
  MutexLock lock(mutex_);
  wire::WorkerPool::Blocked blocked;
  while (!ended_ && unsent_ > kMostAnswers) sent_.Wait(mutex_);
  if (ended_) return false;
  unsent_ += message.ByteSizeLong();
  waiting_.push_back(std::move(message));
  WriteNext();
  return true;
}

Result<> ProcessStream::Take(const ExecMessage& message) {
  const std::string& id = message.processid();
  if (id.empty()) return InvalidArgument("a message names no process");
  std::optional<Running> running = Find(id);
  if (message.has_init()) {
    if (running) return AlreadyExists("process {} exists already", id);
    return Begin(id, message.init());
  }
  // It may have ended while the message was on its way.
  if (!running) return {};
  if (message.has_file()) {
    if (message.file().fd() != 0) {
      return InvalidArgument("descriptor {} of process {} takes no input", message.file().fd(), id);
    }
    running->input->Put(message.file().data(), message.file().eof());
  } else if (message.has_resize()) {
    (void)running->container->Resize(running->exec, message.resize().rows(),
                                     message.resize().cols());
  } else if (message.has_signal()) {
    Result<> sent = running->container->Signal(running->exec, message.signal().name());
    if (!sent.ok() && sent.error().kind() == ErrorKind::kInvalidArgument) return sent;
  }
  return {};
}

Result<> ProcessStream::Begin(const std::string& id, const frontend::InitMessage& init) {
  {
    MutexLock lock(mutex_);
    if (processes_.size() >= kMostProcesses) {
      return MakeError(ErrorKind::kResourceExhausted, "{} processes run already", kMostProcesses);
    }
  }
  Running running;
  running.id = id;
  running.container = TRY(find_(init.containerid()));
  running.wanted.insert(init.fds().begin(), init.fds().end());
  running.input = TRY(Input::Create());
  if (!running.wanted.contains(0)) running.input->Put("", /*last=*/true);
  auto process = running.container->Start(init, stop_.token());
  auto started = [](ExecMessage* out) { out->mutable_started(); };
  if (!process.ok()) {
    // The caller waits for this process alone; others of the stream go on.
    Send(id, started);
    SendExit(id, static_cast<int>(kNoExitCode), &process.error());
    return {};
  }
  running.exec = process->exec;
  {
    MutexLock lock(mutex_);
    processes_.emplace(id, running);
  }
  Send(id, started);
  auto held = std::make_shared<GatewayContainer::Process>(*std::move(process));
  workers_.Run([stream = self_, running, held] { stream->Follow(running, std::move(*held)); });
  return {};
}

Result<> ProcessStream::SendOutput(const Running& running, uint8_t stream, std::string_view bytes) {
  if (!running.wanted.contains(stream)) return {};
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kPieceOfOutput))) {
    bool sent = Send(running.id, [&](ExecMessage* out) {
      out->mutable_file()->set_fd(stream);
      out->mutable_file()->set_data(std::string(bytes.substr(0, kPieceOfOutput)));
    });
    if (!sent) return MakeError(ErrorKind::kCancelled, "the caller is gone");
  }
  return {};
}

void ProcessStream::SendExit(const std::string& id, int code, const Error* error) {
  Send(id, [&](ExecMessage* out) {
    frontend::ExitMessage& exit = *out->mutable_exit();
    exit.set_code(static_cast<uint32_t>(code));
    if (code == 0) return;
    exit.mutable_error()->set_code(grpc::StatusCode::UNKNOWN);
    exit.mutable_error()->set_message(error != nullptr ? error->message()
                                                       : fmt::format("exit code: {}", code));
  });
  Send(id, [](ExecMessage* out) { out->mutable_done(); });
}

// Its output to the caller and the caller's input to it, until the output ends or the caller goes.
void ProcessStream::Relay(const Running& running, GatewayContainer::Process& process) {
  build::AttachFrames frames;
  std::string input;
  bool last = false, closed = false;
  char buffer[kPieceOfOutput];
  StopToken stop = stop_.token();
  for (;;) {
    if (input.empty() && last && !std::exchange(closed, true)) {
      if (process.frames_input) input = build::AttachFrames::Make(build::AttachFrames::kStdin, "");
      if (!process.frames_input) (void)::shutdown(process.streams.get(), SHUT_WR);
    }
    pollfd fds[] = {
        {process.streams.get(), static_cast<short>(POLLIN | (input.empty() ? 0 : POLLOUT)), 0},
        {input.empty() && !last ? running.input->changed().get() : -1, POLLIN, 0},
        {stop.fd().get(), POLLIN, 0}};
    {
      wire::WorkerPool::Blocked blocked;
      if (::poll(fds, std::size(fds), -1) < 0 && errno != EINTR) return;
    }
    if (stop.stop_requested()) return;
    if (fds[1].revents != 0) {
      auto [bytes, is_last] = running.input->Take();
      last = is_last;
      if (!bytes.empty()) {
        input = process.frames_input ? build::AttachFrames::Make(build::AttachFrames::kStdin, bytes)
                                     : std::move(bytes);
      }
    }
    if (!input.empty()) {
      ssize_t sent =
          ::send(process.streams.get(), input.data(), input.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) input.erase(0, static_cast<size_t>(sent));
      // It reads no more and may still write.
      if (sent < 0 && errno != EAGAIN && errno != EINTR) input.clear();
    }
    if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    ssize_t size = ::recv(process.streams.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return;
    if (size < 0) continue;
    Result<> taken = frames.Take({buffer, static_cast<size_t>(size)}, [&](auto stream, auto bytes) {
      return SendOutput(running, stream, bytes);
    });
    if (!taken.ok()) return;
  }
}

void ProcessStream::Follow(const Running& running, GatewayContainer::Process process) {
  if (process.streams.valid()) Relay(running, process);
  running.input->End();
  StopToken stop = stop_.token();
  {
    wire::WorkerPool::Blocked blocked;
    while (process.end.wait_for(kExitTick) != std::future_status::ready) {
      // Its end is the container's; nobody hears of it.
      if (stop.stop_requested()) return Forget(running.id);
    }
  }
  for (uint32_t stream : running.wanted) {
    if (stream == 0) continue;
    Send(running.id, [&](ExecMessage* out) {
      out->mutable_file()->set_fd(stream);
      out->mutable_file()->set_eof(true);
    });
  }
  SendExit(running.id, process.end.get().exit_code, nullptr);
  Forget(running.id);
}

}  // namespace

grpc::ServerBidiReactor<ExecMessage, ExecMessage>* ServeProcesses(wire::WorkerPool& workers,
                                                                  FindContainer find) {
  return ProcessStream::Start(workers, std::move(find));
}

}  // namespace gantry::buildkit
