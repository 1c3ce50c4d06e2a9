// SPDX-License-Identifier: Apache-2.0
//
// Exits and Delete.
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "containerd/events/task.plain.h"
#include "shim/container.h"
#include "shim/exit_record.h"

namespace gantry::shim {
namespace {

using namespace std::chrono_literals;
namespace events = plain::containerd::events;

// A grandchild may keep the output open so long after the process's end, and a fifo's reader may
// take so long for the rest.
constexpr auto kOutputGrace = 10s;
// Execs are killed with their container; so long at most its exit waits for theirs.
constexpr auto kExecGrace = 10s;

}  // namespace

bool Container::ExecsRun() const {
  for (const auto& [id, process] : execs_) {
    if (!process->stopped() && process->state != ProcessState::kAdded) return true;
  }
  return false;
}

void Container::OnExit(const ProcessPtr& process, const ProcessExit& exit) {
  process->exit = exit;
  if (process->is_init()) {
    if (shares_pid_namespace_) KillOthers();
    if (ExecsRun()) {
      loop_->After(kExecGrace, [this, process] {
        if (process == init_ && !process->stopped()) TellExit(process);
      });
      return;
    }
  }
  // The start is told first.
  if (process->state == ProcessState::kStarting) return;
  TellExit(process);
  if (process->is_init() || init_ == nullptr) return;
  bool init_waits = init_->exit.has_value() && !init_->stopped() && !ExecsRun();
  if (init_waits && init_->state != ProcessState::kStarting) TellExit(init_);
}

void Container::KillOthers() {
  RunSimple({"kill", "--all", arguments_.id, "9"}, "", [](Result<> result) {
    if (!result.ok()) log::Debug("killing what is left: {}", result.error().message());
  });
}

// Order: the log is complete, the record is written, then others are told.
void Container::TellExit(const ProcessPtr& process) {
  process->io->Drain();
  process->exit_code = static_cast<uint32_t>(process->exit->status.ShellCode());
  process->exited_at = process->exit->time;
  process->state = ProcessState::kStopped;
  Result<> written = WriteExitRecord(bundle_, process->exec_id,
                                     ExitRecord{process->exit_code, process->exited_at});
  if (!written.ok()) log::Failure("{}", written.error().message());
  events::TaskExit event;
  event.container_id = arguments_.id;
  event.id = process->is_init() ? arguments_.id : process->exec_id;
  event.pid = static_cast<uint32_t>(process->pid);
  event.exit_status = process->exit_code;
  event.exited_at = formats::ProtoTimestamp::From(process->exited_at);
  publisher_->Publish("/tasks/exit", "containerd.events.TaskExit", event.Encode());
  if (process->is_init()) oom_.reset();
  for (auto& waiter : std::exchange(process->waiters, {})) waiter();
  process->output_timer = loop_->After(kOutputGrace, [weak = std::weak_ptr<Process>(process)] {
    if (auto process = weak.lock()) process->io->Close();
  });
}

void Container::EndIo(Process& process, std::function<void()> done) {
  if (process.output_timer.has_value()) loop_->CancelTimer(*process.output_timer);
  process.terminal.Reset();
  process.io->End(std::move(done));
}

task::DeleteResponse Container::Deleted(const Process& process) {
  task::DeleteResponse response;
  response.pid = static_cast<uint32_t>(process.pid);
  response.exit_status = process.exit_code;
  response.exited_at = formats::ProtoTimestamp::From(process.exited_at);
  return response;
}

void Container::Delete(const task::DeleteRequest& request, Done<task::DeleteResponse> done) {
  Result<ProcessPtr> found = Find(request.exec_id);
  if (!found.ok()) return done(std::move(found).error());
  ProcessPtr process = *found;
  bool never_ran =
      process->state == ProcessState::kCreated || process->state == ProcessState::kAdded;
  if (process->state == ProcessState::kDeleting) {
    return done(FailedPrecondition("process is being deleted already"));
  }
  if (!process->stopped() && !never_ran) {
    return done(FailedPrecondition("cannot delete a running process"));
  }
  // A fifo's reader gets the rest of the output, if it takes it in time.
  auto next = [this, process, done] {
    if (process->is_init()) return DeleteInit(process, done);
    DeleteExec(process, done);
  };
  process->io->Drain();
  if (never_ran || process->io->finished() || !process->io->waits_for_reader()) {
    if (!never_ran) process->state = ProcessState::kDeleting;
    return next();
  }
  process->state = ProcessState::kDeleting;
  auto timer = std::make_shared<EventLoop::TimerId>();
  *timer = loop_->After(kOutputGrace, [process, next] {
    process->io->OnFinished(nullptr);
    next();
  });
  process->io->OnFinished([this, timer, next] {
    loop_->CancelTimer(*timer);
    loop_->Post(next);
  });
}

void Container::DeleteExec(const ProcessPtr& process, const Done<task::DeleteResponse>& done) {
  process->state = ProcessState::kDeleting;
  ::unlink(PidFile(*process).c_str());
  ::unlink(ExitRecordPath(bundle_, process->exec_id).c_str());
  EndIo(*process, [this, process, done] {
    // The container may have been deleted meanwhile, and have an exec of this name again.
    auto found = execs_.find(process->exec_id);
    if (found != execs_.end() && found->second == process) execs_.erase(found);
    done(Deleted(*process));
  });
}

void Container::DeleteInit(const ProcessPtr& init, Done<task::DeleteResponse> done) {
  RuntimeCall call;
  call.args = {"delete", arguments_.id};
  bool never_started = init->state == ProcessState::kCreated;
  if (never_started) call.args.insert(call.args.begin() + 1, "--force");
  runtime_->Run(std::move(call), [this, init, never_started, done](Result<> result) {
    bool gone = result.ok() || result.error().message().find("does not exist") != std::string::npos;
    if (!gone) {
      if (!never_started) init->state = ProcessState::kStopped;
      return done(std::move(result).error());
    }
    // The killed init is reaped after the runtime that killed it.
    if (never_started && !init->stopped()) {
      init->waiters.push_back([this, init, done] { FinishDelete(init, done); });
      return;
    }
    FinishDelete(init, done);
  });
}

void Container::FinishDelete(const ProcessPtr& init, const Done<task::DeleteResponse>& done) {
  init->state = ProcessState::kDeleting;
  init->io->Drain();
  EndIo(*init, [this, init, done] {
    for (const auto& [id, process] : execs_) EndIo(*process, [] {});
    execs_.clear();
    events::TaskDelete event;
    event.container_id = arguments_.id;
    event.pid = static_cast<uint32_t>(init->pid);
    event.exit_status = init->exit_code;
    event.exited_at = formats::ProtoTimestamp::From(init->exited_at);
    publisher_->Publish("/tasks/delete", "containerd.events.TaskDelete", event.Encode());
    init_.reset();
    cgroup_.reset();
    done(Deleted(*init));
    root_.Release();
  });
}

}  // namespace gantry::shim
