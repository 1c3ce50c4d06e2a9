// SPDX-License-Identifier: Apache-2.0
#include "engine/execs.h"

#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "engine/event.h"
#include "engine/oci_spec.h"
#include "engine/stdio_uri.h"
#include "engine/store.h"
#include "wire/socket_io.h"

namespace gantry::engine {
namespace {

// How long a client's connection is held after its stream has ended, so that it finds the exit code
// when it asks: the exit is published a moment after the output's end. A process that closes its
// output and lives on lets its client go after this time.
constexpr std::chrono::seconds kLingerBound{2};
constexpr size_t kKeptExecs = 256;  // ended ones of one container

Error Conflict(std::string message) { return Error(ErrorKind::kAborted, std::move(message)); }

bool IsMissingProgram(const Error& error) {
  const std::string& text = error.message();
  return text.find("executable file not found") != std::string::npos ||
         text.find("no such file or directory") != std::string::npos;
}

// As `docker exec` and shells count.
int64_t ExitCodeOfFailure(const Error& error) { return IsMissingProgram(error) ? 127 : 126; }

// `name` is what the client calls it.
Result<> CheckRunning(const ContainerRecord& record, std::string_view name) {
  if (record.state.phase == Phase::kPaused) {
    return Conflict(fmt::format("Container {} is paused, unpause the container before exec", name));
  }
  if (record.state.phase == Phase::kRestarting) {
    return Conflict(
        fmt::format("Container {} is restarting, wait until the container is running", record.id));
  }
  if (record.state.phase != Phase::kRunning) {
    return Conflict(fmt::format("Container {} is not running", record.id));
  }
  return {};
}

// docker joins the program and its arguments by a space, also when there are none.
std::string Command(const std::vector<std::string>& words) {
  std::string out = words.front() + " ";
  for (size_t i = 1; i < words.size(); ++i) out += (i == 1 ? "" : " ") + words[i];
  return out;
}

// As UntoldEvents has it until it comes true.
Event DieEvent(const std::string& container, const std::string& id) {
  return {"container", "exec_die", container, {{"execID", id}}, WallClock::now()};
}

std::string ErrorFrame(const std::string& text, bool raw) {
  std::string line = text + "\r\n";
  if (raw) return line;
  std::string frame = {1, 0, 0, 0, 0, 0, 0, 0};
  for (int i = 0; i < 4; ++i) frame[4 + i] = static_cast<char>(line.size() >> (24 - 8 * i));
  return frame + line;
}

}  // namespace

Result<std::string> Execs::Create(std::string_view container, ExecOptions options) {
  auto found = TRY(engine_.Find(container));
  Container::RecordPointer record = TRY(found->RecordAfterStart());
  TRY(CheckRunning(*record, container));
  if (options.config.cmd.empty()) return InvalidArgument("No exec command specified");
  if (!ParseDetachKeys(options.detach_keys).ok()) {
    return InvalidArgument("Invalid escape keys ({}) provided", options.detach_keys);
  }
  // An unknown user is said at once; the start looks again.
  if (!options.config.user.empty()) {
    TRY(ResolveUser(options.config.user, {}, TRY(engine_.AccountsOfRunning(*record))));
  }
  std::string command = Command(options.config.cmd);
  Exec exec;
  exec.id = RandomHex(32);
  exec.container_id = record->id;
  exec.run_started_at = record->state.started_at;
  exec.options = std::move(options);
  std::string id = exec.id;
  {
    MutexLock lock(mutex_);
    // Ended ones are forgotten when there are too many; nobody asks for them so late.
    std::vector<std::string> ended;
    for (const auto& [other, entry] : execs_) {
      if (entry.exec.container_id == record->id && entry.exec.exit_code) ended.push_back(other);
    }
    for (size_t i = 0; ended.size() - i > kKeptExecs; ++i) execs_.erase(ended[i]);
    execs_.emplace(id, Entry{std::move(exec), {}});
  }
  engine_.Publish("exec_create: " + command, *record, {{"execID", id}});
  return id;
}

Result<Exec> Execs::Find(std::string_view id) const {
  MutexLock lock(mutex_);
  auto found = execs_.find(id);
  if (found == execs_.end()) return NotFound("No such exec instance: {}", id);
  return found->second.exec;
}

std::vector<std::string> Execs::IdsOf(std::string_view container_id) const {
  MutexLock lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [id, entry] : execs_) {
    if (entry.exec.container_id == container_id && entry.exec.running) out.push_back(id);
  }
  return out;
}

Result<Execs::Started> Execs::Start(std::string_view id, const TakeClient& take, uint32_t width,
                                    uint32_t height) {
  Exec exec = TRY(Find(id));
  if (width > 0 && height > 0) {
    exec.options.width = width;
    exec.options.height = height;
  }
  auto container = TRY(engine_.Find(exec.container_id));
  Container::RecordPointer record = container->record();
  {
    MutexLock lock(mutex_);
    auto found = execs_.find(id);
    if (found == execs_.end()) return NotFound("No such exec instance: {}", id);
    if (found->second.exec.exit_code) {
      return Conflict(fmt::format("exec command {} has already run", id));
    }
    if (found->second.exec.started) {
      return Conflict(fmt::format("exec command {} is already running", id));
    }
    // It was made for a run that is over.
    const ContainerState& state = record->state;
    if (!state.IsAlive() || state.started_at != found->second.exec.run_started_at) {
      execs_.erase(found);
      return NotFound("No such exec instance: {}", id);
    }
    TRY(CheckRunning(*record, record->id));
    found->second.exec.started = true;
    // Its exit may be seen before its start has returned.
    found->second.exec.running = true;
  }
  const ExecConfig& config = exec.options.config;
  // Its end may come while no gantryd runs.
  Result<> noted = engine_.store().untold().Put(DieEvent(record->id, exec.id), exec.id);
  if (!noted.ok()) {
    Fail(exec.id, noted.error());
    return std::move(noted).error();
  }
  engine_.Publish("exec_start: " + Command(config.cmd), *record, {{"execID", exec.id}});
  UniqueFd process;
  Result<> ran = Run(exec, *record, take ? &process : nullptr);
  if (!ran.ok()) {
    engine_.store().untold().Done(DieEvent(record->id, exec.id), exec.id);
    Fail(exec.id, ran.error());
  }
  if (!take) {
    if (!ran.ok()) return std::move(ran).error();
    return Started{};
  }
  AttachRequest client = TRY(take());
  if (!ran.ok()) {
    bool raw = client.form == wire::RelayForm::kRaw;
    (void)wire::SendAll(client.client, ErrorFrame(ran.error().message(), raw));
    return Started{std::move(ran).error()};
  }
  Relay(exec.id, std::move(client), std::move(process), config.tty);
  return Started{};
}

Result<> Execs::Run(const Exec& exec, const ContainerRecord& record, UniqueFd* process) {
  const ExecOptions& options = exec.options;
  Engine::ExecBasis basis = TRY(engine_.BasisForExec(record));
  oci::Process wanted = TRY(
      MakeExecProcess(options.config, record.config, record.host, basis.process, basis.accounts));
  if (options.config.tty && options.width > 0 && options.height > 0) {
    wanted.console_size = oci::ConsoleSize{options.height, options.width};
  }
  std::string socket = engine_.AttachSocket(record.id, exec.id);
  StdioUri uri;
  uri.socket = socket;
  uri.stdin_mode = options.attach_stdin ? "once" : "none";
  client::ExecTask task;
  task.container_id = record.id;
  task.exec_id = exec.id;
  task.process = ToJson(wanted).Dump();
  task.stdout_uri = uri.Format();
  task.terminal = options.config.tty;
  client::Containerd& daemon = engine_.containerd();
  TRY(daemon.Exec(task));
  Undo undo;
  undo.Push([&] {
    Result<client::Exit> deleted = daemon.DeleteExec(record.id, exec.id);
    if (!deleted.ok()) log::Debug("deleting a failed exec: {}", deleted.error().message());
  });
  if (process != nullptr) {
    uint8_t streams = (options.attach_stdin ? kAttachStdin : 0) |
                      (options.attach_stdout ? kAttachStdout : 0) |
                      (options.attach_stderr ? kAttachStderr : 0);
    *process = TRY(ConnectAttachSocket(socket, streams, 0));
  }
  Result<uint32_t> started = daemon.Start(record.id, exec.id);
  if (!started.ok()) {
    // A program that is not there is the request's fault, as with docker.
    Error error = std::move(started).error();
    if (IsMissingProgram(error)) error.SetKind(ErrorKind::kInvalidArgument);
    return error;
  }
  uint32_t pid = *started;
  undo.Commit();
  MutexLock lock(mutex_);
  auto found = execs_.find(exec.id);
  if (found != execs_.end()) found->second.exec.pid = pid;
  return {};
}

void Execs::Fail(const std::string& id, const Error& error) {
  MutexLock lock(mutex_);
  auto found = execs_.find(id);
  if (found == execs_.end()) return;
  found->second.exec.running = false;
  found->second.exec.exit_code = ExitCodeOfFailure(error);
}

void Execs::Relay(const std::string& id, AttachRequest client, UniqueFd process, bool tty) {
  wire::RelayOptions options;
  options.client = std::move(client.client);
  options.received = std::move(client.received);
  options.form = client.form.value_or(tty ? wire::RelayForm::kRaw : wire::RelayForm::kFrames);
  options.wants_stdin = (client.streams & kAttachStdin) != 0;
  options.detach_keys = tty ? client.detach_keys : std::string();
  options.ended = [this, id](wire::RelayEnd how, UniqueFd socket) {
    if (how == wire::RelayEnd::kDetached) {
      // Who sees the end of the stream finds the event.
      auto held = std::make_shared<UniqueFd>(std::move(socket));
      return engine_.workers().Run([this, id, held] {
        PublishDetach(id);
        held->Reset();
      });
    }
    if (how != wire::RelayEnd::kProcess) return;
    MutexLock lock(mutex_);
    auto found = execs_.find(id);
    if (found == execs_.end() || found->second.exec.exit_code) return;
    found->second.lingering_client = std::move(socket);
    loop_.After(kLingerBound, [this, id] {
      MutexLock timer_lock(mutex_);
      auto late = execs_.find(id);
      if (late != execs_.end()) late->second.lingering_client.Reset();
    });
  };
  wire::Relay::Start(loop_, std::move(options))->Connect(std::move(process));
}

void Execs::PublishDetach(const std::string& id) {
  Result<Exec> exec = Find(id);
  if (!exec.ok()) return;
  auto container = engine_.Find(exec->container_id);
  if (container.ok()) engine_.Publish("exec_detach", *(*container)->record(), {{"execID", id}});
}

void Execs::Forget(std::string_view id) {
  MutexLock lock(mutex_);
  auto found = execs_.find(id);
  if (found != execs_.end()) execs_.erase(found);
}

void Execs::ForgetAllOf(std::string_view container_id) {
  MutexLock lock(mutex_);
  std::erase_if(execs_,
                [&](const auto& entry) { return entry.second.exec.container_id == container_id; });
}

Result<> Execs::Resize(std::string_view id, uint32_t width, uint32_t height) {
  Exec exec = TRY(Find(id));
  if (!exec.running) return Conflict(fmt::format("exec process {} is not running", id));
  return engine_.containerd().Resize(exec.container_id, exec.id, width, height);
}

void Execs::OnTaskEvent(const client::TaskEvent& event) {
  if (event.kind != client::TaskEvent::Kind::kExit) return;
  {
    MutexLock lock(mutex_);
    auto found = execs_.find(event.exec_id);
    bool known = found != execs_.end();
    if (known && found->second.exec.exit_code) return;
    if (known) {
      found->second.exec.running = false;
      found->second.exec.exit_code = event.exit_status;
      found->second.lingering_client.Reset();
      if (found->second.exec.options.ended) found->second.exec.options.ended(event.exit_status);
    }
  }
  engine_.workers().Run([this, event] { Finish(event); });
}

// Also of one that an earlier gantryd has started, or that nobody wants to know of any more.
void Execs::Finish(const client::TaskEvent& event) {
  Event die = DieEvent(event.container_id, event.exec_id);
  UntoldEvents& untold = engine_.store().untold();
  {
    // Its event and a comparison may find the same end.
    MutexLock lock(mutex_);
    if (!untold.IsOpen(die, event.exec_id)) return;
    if (!finishing_.insert(event.exec_id).second) return;
  }
  Result<client::Exit> deleted = engine_.containerd().DeleteExec(event.container_id, event.exec_id);
  if (!deleted.ok()) log::Debug("deleting an exec: {}", deleted.error().message());
  auto container = engine_.Find(event.container_id);
  if (container.ok()) {
    engine_.Publish("exec_die", *(*container)->record(),
                    {{"execID", event.exec_id}, {"exitCode", std::to_string(event.exit_status)}});
  }
  MutexLock lock(mutex_);
  untold.Done(die, event.exec_id);
  finishing_.erase(event.exec_id);
}

}  // namespace gantry::engine
