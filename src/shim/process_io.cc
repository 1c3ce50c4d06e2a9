// SPDX-License-Identifier: Apache-2.0
#include "shim/process_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/io.h"
#include "shim/copier.h"
#include "shim/log_program.h"

namespace gantry::shim {
namespace {

// fifos, file://, and the program of a terminal: a copier a stream.
class CopiedIo : public ProcessIo {
 public:
  explicit CopiedIo(EventLoop* loop, IoRequest request)
      : loop_(loop), request_(std::move(request)) {}
  ~CopiedIo() override { Close(); }

  Result<> Prepare() {
    // Our own writer keeps stdin open from one client to the next, until CloseIO.
    if (!request_.stdin_uri.empty()) {
      StdioUri uri = TRY(ParseStdioUri(request_.stdin_uri));
      if (uri.scheme != StdioScheme::kFifo) {
        return InvalidArgument("stdin '{}' is no fifo", request_.stdin_uri);
      }
      stdin_source_ = TRY(OpenFile(uri.path, O_RDONLY | O_NONBLOCK));
      stdin_keeper_ = TRY(OpenFile(uri.path, O_WRONLY | O_NONBLOCK));
    }
    StdioUri output = TRY(ParseStdioUri(request_.stdout_uri));
    if (IsBinary(output.scheme)) return StartProgram(output);
    TRY(OpenTarget(request_.stdout_uri, &stdout_target_, &stdout_keeper_));
    if (request_.terminal) return {};
    TRY(OpenTarget(request_.stderr_uri, &stderr_target_, &stderr_keeper_));
    if (stdin_source_.valid()) {
      Pipe pipe = TRY(MakePipe(request_.uid, request_.gid));
      child_.in = std::move(pipe.read);
      TRY(AddInput(std::move(pipe.write)));
    }
    if (stdout_target_.valid()) {
      Pipe pipe = TRY(MakePipe(request_.uid, request_.gid));
      child_.out = std::move(pipe.write);
      TRY(AddOutput(std::move(pipe.read), std::move(stdout_target_)));
    }
    if (stderr_target_.valid()) {
      Pipe pipe = TRY(MakePipe(request_.uid, request_.gid));
      child_.err = std::move(pipe.write);
      TRY(AddOutput(std::move(pipe.read), std::move(stderr_target_)));
    }
    return {};
  }

  Result<> StartOutput() override {
    for (const auto& output : outputs_) TRY(output->Start());
    return {};
  }

  Result<> UseTerminal(UniqueFd master) override {
    if (stdin_source_.valid()) {
      UniqueFd writer(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
      if (!writer.valid()) return ErrnoError("duplicating the terminal");
      TRY(AddInput(std::move(writer)));
    }
    // Without a reader of the output the terminal is still emptied, or the process would block.
    if (!stdout_target_.valid()) stdout_target_ = TRY(OpenFile("/dev/null", O_WRONLY));
    TRY(AddOutput(std::move(master), std::move(stdout_target_)));
    return outputs_.back()->Start();
  }

  void CloseStdin() override { stdin_keeper_.Reset(); }

  void Drain() override {
    for (const auto& output : outputs_) output->Drain();
  }

  bool finished() const override {
    for (const auto& output : outputs_) {
      if (!output->done()) return false;
    }
    return true;
  }

  bool waits_for_reader() const override {
    for (const auto& output : outputs_) {
      if (!output->done() && output->blocked()) return true;
    }
    return false;
  }

  void Close() override {
    if (input_) input_->Close();
    for (const auto& output : outputs_) output->Close();
    stdin_source_.Reset();
    stdin_keeper_.Reset();
    stdout_target_.Reset();
    stderr_target_.Reset();
    stdout_keeper_.Reset();
    stderr_keeper_.Reset();
  }

  void End(std::function<void()> done) override {
    Close();
    program_.End(std::move(done));
  }

 private:
  // With a terminal only; its stderr has an end that nobody writes to.
  Result<> StartProgram(const StdioUri& uri) {
    Pipe out = TRY(MakePipe(request_.uid, request_.gid));
    Pipe err = TRY(MakePipe(request_.uid, request_.gid));
    program_ = TRY(LogProgram::Run(
        loop_, {uri, request_.container_id, request_.name_space, out.read, err.read}));
    stdout_target_ = std::move(out.write);
    return {};
  }

  // A fifo is opened for reading too, so that it keeps its bytes while no client is there.
  static Result<> OpenTarget(const std::string& text, UniqueFd* target, UniqueFd* keeper) {
    StdioUri uri = TRY(ParseStdioUri(text));
    if (uri.scheme == StdioScheme::kFifo) {
      struct stat info{};
      if (::stat(uri.path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode)) {
        *keeper = TRY(OpenFile(uri.path, O_RDONLY | O_NONBLOCK));
      }
      *target = TRY(OpenFile(uri.path, O_WRONLY | O_NONBLOCK));
    } else if (uri.scheme == StdioScheme::kFile) {
      size_t slash = uri.path.rfind('/');
      if (slash > 0) TRY(MakeDirectories(uri.path.substr(0, slash), 0711));
      *target = TRY(OpenFile(uri.path, O_WRONLY | O_CREAT | O_APPEND, 0644));
    } else if (uri.scheme != StdioScheme::kNone) {
      return InvalidArgument("output '{}' cannot be mixed with other kinds", text);
    }
    return {};
  }

  Result<> AddInput(UniqueFd target) {
    input_ = std::make_unique<Copier>(loop_, std::move(stdin_source_), std::move(target), [] {});
    return input_->Start();
  }

  Result<> AddOutput(UniqueFd source, UniqueFd target) {
    outputs_.push_back(std::make_unique<Copier>(loop_, std::move(source), std::move(target),
                                                [this] { TellFinished(); }));
    return {};
  }

  EventLoop* loop_;
  IoRequest request_;
  UniqueFd stdin_source_, stdin_keeper_;
  UniqueFd stdout_target_, stdout_keeper_;
  UniqueFd stderr_target_, stderr_keeper_;
  std::unique_ptr<Copier> input_;
  std::vector<std::unique_ptr<Copier>> outputs_;
  LogProgram program_;
};

// binary:// without a terminal: a program reads the process's pipes, nothing passes through us. As
// with containerd's shim there is no stdin, whatever the request says.
class BinaryIo : public ProcessIo {
 public:
  Result<> Prepare(EventLoop* loop, const IoRequest& request, const StdioUri& uri) {
    Pipe out = TRY(MakePipe(request.uid, request.gid));
    Pipe err = TRY(MakePipe(request.uid, request.gid));
    program_ = TRY(
        LogProgram::Run(loop, {uri, request.container_id, request.name_space, out.read, err.read}));
    child_.out = std::move(out.write);
    child_.err = std::move(err.write);
    return {};
  }

  Result<> UseTerminal(UniqueFd) override { return Internal("a terminal where there is none"); }
  void CloseStdin() override {}
  void Drain() override {}
  bool finished() const override { return true; }
  void Close() override {}
  void End(std::function<void()> done) override { program_.End(std::move(done)); }

 private:
  LogProgram program_;
};

}  // namespace

Result<Pipe> MakePipe(uid_t uid, gid_t gid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if ((uid != 0 || gid != 0) && ::fchown(ends[0], uid, gid) < 0) {
    return ErrnoError("giving a pipe to {}:{}", uid, gid);
  }
  return pipe;
}

Result<std::unique_ptr<ProcessIo>> CreateProcessIo(EventLoop* loop, const IoRequest& request) {
  StdioUri uri = TRY(ParseStdioUri(request.stdout_uri));
  if (uri.scheme == StdioScheme::kGantry) {
    if (!request.stdin_uri.empty() || !request.stderr_uri.empty()) {
      return InvalidArgument("with a gantry:// output, stdin and stderr must be empty");
    }
    return CreateGantryIo(loop, request, TRY(ParseGantryStdio(uri)));
  }
  if (IsBinary(uri.scheme) && !request.terminal) {
    auto io = std::make_unique<BinaryIo>();
    TRY(io->Prepare(loop, request, uri));
    return std::unique_ptr<ProcessIo>(std::move(io));
  }
  auto io = std::make_unique<CopiedIo>(loop, request);
  TRY(io->Prepare());
  return std::unique_ptr<ProcessIo>(std::move(io));
}

}  // namespace gantry::shim
