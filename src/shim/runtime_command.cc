// SPDX-License-Identifier: Apache-2.0
#include "shim/runtime_command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/io.h"
#include "base/start_trace.h"
#include "formats/json.h"
#include "kernel/memory_file.h"
#include "kernel/protected_program.h"
#include "kernel/spawn.h"

extern char** environ;

namespace gantry::shim {
namespace {

using formats::Json;

// A runtime's words beyond this are cut.
constexpr size_t kMaxErrorText = 4096;

std::vector<std::string> RuntimeEnvironment() {
  std::vector<std::string> out;
  for (char** at = environ; *at != nullptr; ++at) {
    std::string_view variable(*at);
    // A runtime would wait on our caller's notify socket.
    if (!variable.starts_with("NOTIFY_SOCKET=")) out.emplace_back(variable);
  }
  return out;
}

// `exec` joins a namespace where others could write to the runtime's file through /proc. It would
// see to that by itself (src/runtime/own_binary.h), by a second execve, which costs 0.5 ms.
Result<UniqueFd> ProtectedRuntime(const std::string& path) {
  UniqueFd file = TRY(OpenFile(path, O_RDONLY));
  return kernel::ProtectProgram(file);
}

size_t FileSize(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
}

}  // namespace

Result<> RuntimeSettings::Save(const std::string& bundle) const {
  Json json = Json::MakeObject(
      {{"binary", binary}, {"root", root}, {"systemdCgroup", systemd_cgroup}, {"own", own}});
  return CreateFile(bundle + "/options.json", json.Dump(), 0600);
}

Result<RuntimeSettings> RuntimeSettings::Load(const std::string& bundle) {
  std::string text = TRY(ReadFile(bundle + "/options.json"));
  Json json = TRY_WITH(Json::Parse(text), "file '{}/options.json'", bundle);
  formats::JsonReader reader(json, "options");
  RuntimeSettings settings;
  reader.Field("binary", &settings.binary);
  reader.Field("root", &settings.root);
  reader.Field("systemdCgroup", &settings.systemd_cgroup);
  reader.Field("own", &settings.own);
  TRY(reader.Finish());
  return settings;
}

Result<std::string> FindRuntime(const std::string& name) {
  if (name.empty()) {
    std::string self(4096, '\0');
    ssize_t length = ::readlink("/proc/self/exe", self.data(), self.size());
    if (length < 0) return ErrnoError("finding our own program");
    self.resize(static_cast<size_t>(length));
    std::string path = self.substr(0, self.rfind('/') + 1) + "gantry-runtime";
    if (::access(path.c_str(), X_OK) == 0) return path;
    // A shim that was copied somewhere else.
    return TRY_WITH(kernel::FindInPath("gantry-runtime"), "finding the runtime");
  }
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), X_OK) < 0) return ErrnoError("finding runtime '{}'", name);
    return name;
  }
  return TRY_WITH(kernel::FindInPath(name), "finding runtime '{}'", name);
}

struct RuntimeCommand::Running {
  std::string verb;
  size_t log_start = 0;
  UniqueFd output;  // what the runtime says on stderr, when that is not the container's
  kernel::SpawnedProcess process;
  StartTrace trace{"shim"};
};

Result<std::shared_ptr<RuntimeCommand::Running>> RuntimeCommand::Start(const RuntimeCall& call) {
  auto running = std::make_shared<Running>();
  running->verb = call.args.empty() ? "" : call.args.front();
  std::string log = bundle_ + "/log.json";
  running->log_start = FileSize(log);
  kernel::SpawnOptions options;
  options.program = settings_.binary;
  options.args = {settings_.binary, "--root", settings_.root, "--log", log, "--log-format", "json"};
  if (settings_.systemd_cgroup) options.args.emplace_back("--systemd-cgroup");
  options.args.insert(options.args.end(), call.args.begin(), call.args.end());
  options.env = RuntimeEnvironment();
  UniqueFd protected_file;
  if (settings_.own && running->verb == "exec") {
    protected_file = TRY(ProtectedRuntime(settings_.binary));
    options.program_file = protected_file;
  }
  options.cwd = bundle_;
  options.parent_death_signal = SIGKILL;
  options.fds = call.fds;
  UniqueFd input;
  if (!call.input.empty()) {
    input = TRY(kernel::MemoryFile("runtime-input", call.input));
    options.fds.push_back({input.get(), 0});
  }
  bool has_stderr = false;
  for (const kernel::FdMapping& mapping : call.fds) has_stderr = has_stderr || mapping.child == 2;
  if (!has_stderr) {
    running->output = TRY(kernel::MemoryFile("runtime-stderr", ""));
    options.fds.push_back({running->output.get(), 2});
  }
  running->process =
      TRY_WITH(kernel::Spawn(options), "running '{} {}'", settings_.binary, running->verb);
  return running;
}

// The message of the last error record that this call has written.
std::string RuntimeCommand::LastLoggedError(size_t from) const {
  Result<std::string> log = ReadFile(bundle_ + "/log.json");
  if (!log.ok() || log->size() <= from) return "";
  std::string message;
  std::string_view rest = std::string_view(*log).substr(from);
  while (!rest.empty()) {
    size_t newline = rest.find('\n');
    Result<Json> record = Json::Parse(rest.substr(0, newline));
    if (record.ok() && (*record)["level"].AsString() == "error") {
      message = (*record)["msg"].AsString();
    }
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
  }
  return message;
}

Result<> RuntimeCommand::Finish(Running& running, const kernel::ExitStatus& status) {
  if (status.code == 0 && status.signal == 0) return {};
  std::string words = LastLoggedError(running.log_start);
  if (words.empty() && running.output.valid()) {
    ::lseek(running.output.get(), 0, SEEK_SET);
    words = ReadToEnd(running.output, size_t{1} << 20).value_or("");
    while (!words.empty() && words.back() == '\n') words.pop_back();
  }
  if (words.empty()) words = fmt::format("exit status {}", status.ShellCode());
  if (words.size() > kMaxErrorText) words.resize(kMaxErrorText);
  // Daemons look for "OCI runtime … failed" and what follows, so the words are kept as they are.
  return Error(ErrorKind::kUnknown, fmt::format("OCI runtime {} failed: {}", running.verb, words));
}

void RuntimeCommand::Run(RuntimeCall call, Callback done) {
  Result<std::shared_ptr<Running>> running = Start(call);
  if (!running.ok()) return done(std::move(running).error());
  pid_t pid = (*running)->process.pid;
  reaper_->OnExit(pid, [this, running = *running, done = std::move(done)](const ProcessExit& exit) {
    if (running->verb == "create" || running->verb == "start") {
      running->trace.Lap("runtime " + running->verb);
      // A trace that can't be written is no reason to fail a start.
      (void)running->trace.AppendTo(bundle_);
    }
    done(Finish(*running, exit.status));
  });
}

Result<> RuntimeCommand::RunBlocking(RuntimeCall call) {
  std::shared_ptr<Running> running = TRY(Start(call));
  kernel::ExitStatus status = TRY(kernel::WaitExit(running->process.pidfd));
  return Finish(*running, status);
}

}  // namespace gantry::shim
