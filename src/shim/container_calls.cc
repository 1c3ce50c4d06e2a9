// SPDX-License-Identifier: Apache-2.0
//
// The calls that ask about the container or change it while it runs.
#include <signal.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "containerd/events/task.plain.h"
#include "shim/container.h"
#include "shim/metrics.h"

namespace gantry::shim {
namespace {

namespace events = plain::containerd::events;
using plain::containerd::runc::v1::CheckpointOptions;
using plain::containerd::v1::types::Status;

Status StatusOf(const Process& process) {
  switch (process.state) {
    case ProcessState::kAdded:
    case ProcessState::kCreated:
    case ProcessState::kStarting:
      return Status::kCreated;
    case ProcessState::kRunning:
      return Status::kRunning;
    case ProcessState::kPaused:
      return Status::kPaused;
    case ProcessState::kStopped:
    case ProcessState::kDeleting:
      return Status::kStopped;
  }
  return Status::kUnknown;
}

// Daemons look for these words, and for those of WrongState.
Error AlreadyFinished() { return NotFound("process already finished"); }

}  // namespace

std::string_view StateWord(ProcessState state) {
  switch (state) {
    case ProcessState::kAdded:
    case ProcessState::kCreated:
      return "created";
    case ProcessState::kStarting:
      return "starting";
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kPaused:
      return "paused";
    case ProcessState::kStopped:
      return "stopped";
    case ProcessState::kDeleting:
      return "deleted";
  }
  return "unknown";
}

// containerd's shim names the state and gives no kind.
Error Container::WrongState(std::string_view format) const {
  bool ended = init_->exit.has_value() && !init_->stopped();
  return Error(ErrorKind::kUnknown,
               fmt::format(fmt::runtime(format), ended ? "stopped" : StateWord(init_->state)));
}

void Container::RunSimple(std::vector<std::string> args, std::string input,
                          std::function<void(Result<>)> done) {
  RuntimeCall call;
  call.args = std::move(args);
  call.input = std::move(input);
  runtime_->Run(std::move(call), std::move(done));
}

Result<Container::ProcessPtr> Container::RunningInit(std::string_view refusal) const {
  ProcessPtr init = TRY(Find(""));
  if (init->exit.has_value() || init->stopped()) return WrongState(refusal);
  return init;
}

Result<task::StateResponse> Container::State(const task::StateRequest& request) {
  ProcessPtr process = TRY(Find(request.exec_id));
  task::StateResponse response;
  response.id = process->is_init() ? arguments_.id : process->exec_id;
  response.bundle = bundle_;
  response.pid = static_cast<uint32_t>(process->pid);
  response.status = StatusOf(*process);
  response.stdin = process->io_request.stdin_uri;
  response.stdout = process->io_request.stdout_uri;
  response.stderr = process->io_request.stderr_uri;
  response.terminal = process->io_request.terminal;
  response.exit_status = process->exit_code;
  if (process->stopped()) {
    response.exited_at = formats::ProtoTimestamp::From(process->exited_at);
  }
  response.exec_id = request.exec_id;
  return response;
}

Result<task::PidsResponse> Container::Pids() {
  ProcessPtr init = TRY(Find(""));
  task::PidsResponse response;
  if (!cgroup_.has_value()) return FailedPrecondition("listing processes: no cgroup is known");
  std::vector<pid_t> pids = TRY(kernel::CgroupProcesses(*cgroup_));
  // containerd from 1.7 on removes at its start each task that names no process, taking it for one
  // that was never created, and its exit status would be lost.
  if (pids.empty() && init->stopped()) pids.push_back(init->pid);
  for (pid_t pid : pids) {
    auto& info = response.processes.emplace_back();
    info.pid = static_cast<uint32_t>(pid);
    for (const auto& [id, process] : execs_) {
      if (process->pid != pid || process->stopped()) continue;
      plain::containerd::runc::v1::ProcessDetails details;
      details.exec_id = id;
      info.info = formats::ProtoAny{"containerd.runc.v1.ProcessDetails", details.Encode()};
    }
  }
  return response;
}

void Container::Pause(Done<formats::ProtoEmpty> done) {
  constexpr std::string_view kRefusal = "cannot pause a {} container";
  Result<ProcessPtr> init = RunningInit(kRefusal);
  if (!init.ok()) return done(std::move(init).error());
  if ((*init)->state != ProcessState::kRunning) return done(WrongState(kRefusal));
  RunSimple({"pause", arguments_.id}, "", [this, init = *init, done](Result<> result) {
    if (!result.ok()) return done(std::move(result).error());
    if (init->state == ProcessState::kRunning) init->state = ProcessState::kPaused;
    events::TaskPaused event;
    event.container_id = arguments_.id;
    publisher_->Publish("/tasks/paused", "containerd.events.TaskPaused", event.Encode());
    done(formats::ProtoEmpty{});
  });
}

void Container::Resume(Done<formats::ProtoEmpty> done) {
  constexpr std::string_view kRefusal = "cannot resume a {} process";
  Result<ProcessPtr> init = RunningInit(kRefusal);
  if (!init.ok()) return done(std::move(init).error());
  if ((*init)->state != ProcessState::kPaused) return done(WrongState(kRefusal));
  RunSimple({"resume", arguments_.id}, "", [this, init = *init, done](Result<> result) {
    if (!result.ok()) return done(std::move(result).error());
    if (init->state == ProcessState::kPaused) init->state = ProcessState::kRunning;
    events::TaskResumed event;
    event.container_id = arguments_.id;
    publisher_->Publish("/tasks/resumed", "containerd.events.TaskResumed", event.Encode());
    done(formats::ProtoEmpty{});
  });
}

void Container::Kill(const task::KillRequest& request, Done<formats::ProtoEmpty> done) {
  Result<ProcessPtr> found = Find(request.exec_id);
  if (!found.ok()) return done(std::move(found).error());
  const Process& process = **found;
  if (process.exit.has_value() || process.stopped()) return done(AlreadyFinished());
  if (process.pid == 0) return done(FailedPrecondition("process is not created"));
  bool all = process.is_init() && request.all;
  // A frozen v1 cgroup must be thawed for a signal to work: the runtime's business.
  if (all || (process.is_init() && process.state == ProcessState::kPaused)) {
    std::vector<std::string> args = {"kill"};
    if (all) args.emplace_back("--all");
    args.push_back(arguments_.id);
    args.push_back(std::to_string(request.signal));
    return RunSimple(std::move(args), "", [done](Result<> result) {
      if (result.ok()) return done(formats::ProtoEmpty{});
      const std::string& words = result.error().message();
      bool finished = words.find("not running") != std::string::npos ||
                      words.find("already finished") != std::string::npos ||
                      words.find("no such process") != std::string::npos;
      done(finished ? AlreadyFinished() : std::move(result).error());
    });
  }
  // It is our child and not reaped, so the number is still its own.
  if (::kill(process.pid, static_cast<int>(request.signal)) < 0) {
    return done(errno == ESRCH ? AlreadyFinished()
                               : ErrnoError("sending signal {}", request.signal));
  }
  done(formats::ProtoEmpty{});
}

Result<> Container::ResizePty(const task::ResizePtyRequest& request) {
  ProcessPtr process = TRY(Find(request.exec_id));
  process->rows = static_cast<uint16_t>(request.height);
  process->columns = static_cast<uint16_t>(request.width);
  if (!process->terminal.valid()) return {};
  winsize size{process->rows, process->columns, 0, 0};
  if (::ioctl(process->terminal.get(), TIOCSWINSZ, &size) < 0) {
    return ErrnoError("resizing the terminal");
  }
  return {};
}

Result<> Container::CloseIO(const task::CloseIORequest& request) {
  ProcessPtr process = TRY(Find(request.exec_id));
  if (request.stdin) process->io->CloseStdin();
  return {};
}

void Container::Update(const task::UpdateTaskRequest& request, Done<formats::ProtoEmpty> done) {
  Result<ProcessPtr> init = RunningInit("cannot update a {} container");
  if (!init.ok()) return done(std::move(init).error());
  if (!request.resources.has_value() || request.resources->value.empty()) {
    return done(InvalidArgument("updating without resources"));
  }
  RunSimple({"update", "--resources=-", arguments_.id}, request.resources->value,
            [done](Result<> result) {
              if (!result.ok()) return done(std::move(result).error());
              done(formats::ProtoEmpty{});
            });
}

// The runtime's and criu's business; the flags are runc's, which crun and ours know.
void Container::Checkpoint(const task::CheckpointTaskRequest& request,
                           Done<formats::ProtoEmpty> done) {
  Result<ProcessPtr> init = RunningInit("cannot checkpoint a {} container");
  if (!init.ok()) return done(std::move(init).error());
  CheckpointOptions options;
  if (request.options.has_value() && !request.options->type_url.empty()) {
    if (request.options->TypeName() != "containerd.runc.v1.CheckpointOptions") {
      return done(InvalidArgument("checkpoint options of type '{}'", request.options->type_url));
    }
    Result<CheckpointOptions> decoded = CheckpointOptions::Decode(request.options->value);
    if (!decoded.ok()) return done(std::move(decoded).error());
    options = std::move(*decoded);
  }
  const std::string& path = request.path.empty() ? options.image_path : request.path;
  if (path.empty()) return done(InvalidArgument("checkpointing without a path"));
  std::vector<std::string> args = {"checkpoint", "--image-path", path};
  auto add = [&](bool wanted, std::initializer_list<std::string> words) {
    if (wanted) args.insert(args.end(), words);
  };
  add(!options.work_path.empty(), {"--work-path", options.work_path});
  add(!options.parent_path.empty(), {"--parent-path", options.parent_path});
  add(!options.exit, {"--leave-running"});
  add(options.open_tcp, {"--tcp-established"});
  add(options.external_unix_sockets, {"--ext-unix-sk"});
  add(options.terminal, {"--shell-job"});
  add(options.file_locks, {"--file-locks"});
  add(!options.cgroups_mode.empty(), {"--manage-cgroups-mode", options.cgroups_mode});
  for (const std::string& name : options.empty_namespaces) add(true, {"--empty-ns", name});
  args.push_back(arguments_.id);
  RunSimple(std::move(args), "", [this, path, done](Result<> result) {
    if (!result.ok()) return done(std::move(result).error());
    events::TaskCheckpointed event;
    event.container_id = arguments_.id;
    event.checkpoint = path;
    publisher_->Publish("/tasks/checkpointed", "containerd.events.TaskCheckpointed",
                        event.Encode());
    done(formats::ProtoEmpty{});
  });
}

void Container::Wait(const task::WaitRequest& request, Done<task::WaitResponse> done) {
  Result<ProcessPtr> found = Find(request.exec_id);
  if (!found.ok()) return done(std::move(found).error());
  ProcessPtr process = *found;
  auto answer = [process, done] {
    task::WaitResponse response;
    response.exit_status = process->exit_code;
    response.exited_at = formats::ProtoTimestamp::From(process->exited_at);
    done(std::move(response));
  };
  if (process->stopped()) return answer();
  process->waiters.push_back(std::move(answer));
}

Result<task::StatsResponse> Container::Stats() {
  TRY(Find(""));
  if (!cgroup_.has_value()) return FailedPrecondition("reading statistics: no cgroup is known");
  task::StatsResponse response;
  response.stats = TRY(ReadMetrics(*cgroup_));
  return response;
}

}  // namespace gantry::shim
