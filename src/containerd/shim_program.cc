// SPDX-License-Identifier: Apache-2.0
#include "containerd/shim_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "kernel/memory_file.h"
#include "kernel/spawn.h"

extern char** environ;

namespace gantry::containerd {
namespace {

constexpr auto kStartTime = std::chrono::seconds(30);
constexpr auto kInfoTime = std::chrono::seconds(30);
constexpr auto kDeleteTime = std::chrono::seconds(30);
constexpr size_t kMaxOutput = 64 << 10;
constexpr const char* kInfo = "-info";
constexpr std::string_view kOurShim = "containerd-shim-gantry-v1";

struct Output {
  std::string out;
  std::string err;
  kernel::ExitStatus status;
};

std::vector<std::string> Environment(const ShimSettings& settings, const ShimCall& call) {
  std::vector<std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry) env.emplace_back(*entry);
  env.push_back("GOMAXPROCS=2");
  env.push_back("MAX_SHIM_VERSION=3");
  env.push_back("TTRPC_ADDRESS=" + settings.ttrpc_address);
  env.push_back("GRPC_ADDRESS=" + settings.address);
  env.push_back("NAMESPACE=" + call.ns);
  return env;
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
  static Result<Pipe> Open() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoError("making a pipe");
    return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
  }
};

// Takes what is there; false at the end of the pipe.
Result<bool> Take(BorrowedFd pipe, std::string* text) {
  char buffer[4096];
  size_t count = TRY(ReadSome(pipe, buffer, sizeof buffer));
  if (text->size() < kMaxOutput) text->append(buffer, count);
  return count > 0;
}

Result<> Collect(BorrowedFd pidfd, Pipe* out, Pipe* err, SteadyClock::time_point deadline,
                 Output* output) {
  bool exited = false;
  while (true) {
    pollfd fds[3] = {{out->read.get(), POLLIN, 0},
                     {err->read.get(), POLLIN, 0},
                     {exited ? -1 : pidfd.get(), POLLIN, 0}};
    if (!out->read.valid() && !err->read.valid() && exited) return {};
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    // After the exit only what is in the pipes already counts: what the program left behind may
    // keep them open.
    int ready = ::poll(fds, 3, exited ? 0 : static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ErrnoError("waiting for the shim");
    if (ready == 0 && exited) return {};
    if (ready == 0) return MakeError(ErrorKind::kDeadlineExceeded, "it takes too long");
    if (fds[0].revents != 0 && !TRY(Take(out->read, &output->out))) out->read.Reset();
    if (fds[1].revents != 0 && !TRY(Take(err->read, &output->err))) err->read.Reset();
    if (fds[2].revents != 0) exited = true;
  }
}

std::vector<std::string> Arguments(const ShimSettings& settings, const ShimCall& call,
                                   std::string_view action) {
  if (action == kInfo) return {call.program, kInfo};
  std::vector<std::string> arguments = {
      call.program,      "-namespace",  call.ns, "-address", settings.address,
      "-publish-binary", settings.self, "-id",   call.id};
  if (settings.debug) arguments.push_back("-debug");
  if (action == "delete") arguments.insert(arguments.end(), {"-bundle", call.bundle});
  arguments.emplace_back(action);
  return arguments;
}

Result<Output> Run(const ShimSettings& settings, const ShimCall& call, const char* action,
                   std::chrono::seconds time) {
  Output output;
  Pipe out = TRY(Pipe::Open());
  Pipe err = TRY(Pipe::Open());
  UniqueFd input;
  kernel::SpawnOptions options;
  options.program = call.program;
  options.args = Arguments(settings, call, action);
  options.env = Environment(settings, call);
  options.cwd = call.bundle;
  options.group = kernel::ProcessGroup::kNewGroup;
  options.fds = {{out.write.get(), 1}, {err.write.get(), 2}};
  if (!call.input.empty()) {
    input = TRY(kernel::MemoryFile("shim-input", call.input));
    options.fds.push_back({input.get(), 0});
  }
  auto process = TRY(kernel::Spawn(options));
  out.write.Reset();
  err.write.Reset();
  auto collected = Collect(process.pidfd, &out, &err, SteadyClock::now() + time, &output);
  if (!collected.ok()) ::syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGKILL, nullptr, 0);
  output.status = TRY(kernel::WaitExit(process.pidfd));
  TRY(collected);
  return output;
}

Result<Output> RunChecked(const ShimSettings& settings, const ShimCall& call, const char* action,
                          std::chrono::seconds time) {
  Output output =
      TRY_WITH(Run(settings, call, action, time), "running shim '{}' {}", call.program, action);
  if (output.status.ShellCode() != 0) {
    std::string text = output.err + output.out;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return Internal("running shim '{}' {}: exit code {}: {}", call.program, action,
                    output.status.ShellCode(), text);
  }
  return output;
}

Result<std::string> FindShim(const ShimSettings& settings, const std::string& name) {
  std::string beside = settings.runtime_dir + "/" + name;
  if (::access(beside.c_str(), X_OK) == 0) return beside;
  Result<std::string> found = kernel::FindInPath(name);
  if (found.ok()) return found;
  return NotFound("finding shim '{}': neither beside this program nor in PATH", name);
}

}  // namespace

Result<std::string> ShimProgram(const ShimSettings& settings, const std::string& runtime) {
  auto mapped = settings.runtimes.find(runtime);
  if (mapped != settings.runtimes.end()) return mapped->second;
  if (runtime.starts_with("/")) return runtime;
  if (runtime.empty() || runtime == "io.containerd.runc.v2" ||
      runtime == "io.containerd.gantry.v1") {
    return settings.runtime_dir + "/" + std::string(kOurShim);
  }
  // io.containerd.NAME.vN
  size_t version = runtime.rfind('.');
  size_t name = version == std::string::npos || version == 0 ? std::string::npos
                                                             : runtime.rfind('.', version - 1);
  if (name == std::string::npos || name + 1 == version || version + 1 == runtime.size() ||
      runtime.find('/') != std::string::npos) {
    return InvalidArgument("runtime '{}' is neither a path nor like io.containerd.NAME.v1",
                           runtime);
  }
  return FindShim(settings, "containerd-shim-" + runtime.substr(name + 1, version - name - 1) +
                                "-" + runtime.substr(version + 1));
}

Result<ShimEndpoint> RunShimStart(const ShimSettings& settings, const ShimCall& call) {
  Output output = TRY(RunChecked(settings, call, "start", kStartTime));
  return ParseStartOutput(output.out);
}

Result<std::string> RunShimDelete(const ShimSettings& settings, const ShimCall& call) {
  return TRY(RunChecked(settings, call, "delete", kDeleteTime)).out;
}

Result<std::string> RunShimInfo(const ShimSettings& settings, const std::string& program,
                                const std::string& options) {
  ShimCall call{.program = program, .ns = "", .id = "", .bundle = "", .input = options};
  return TRY(RunChecked(settings, call, kInfo, kInfoTime)).out;
}

}  // namespace gantry::containerd
