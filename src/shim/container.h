// SPDX-License-Identifier: Apache-2.0
//
// The container that this shim serves: what each call of the task service does to it. The order of
// events is create, start, exit, delete, and for an exec exec-added, exec-started, exit; the init's
// exit is told after those of the execs. The loop's thread; every `done` runs once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "containerd/runc/v1/options.plain.h"
#include "containerd/task/v3/shim.plain.h"
#include "kernel/cgroups.h"
#include "shim/arguments.h"
#include "shim/console_socket.h"
#include "shim/container_root.h"
#include "shim/oom_watch.h"
#include "shim/process.h"
#include "shim/publisher.h"
#include "shim/reaper.h"
#include "shim/runtime_command.h"

namespace gantry::shim {

namespace task = plain::containerd::task::v3;

class Container {
 public:
  template <typename T>
  using Done = std::function<void(Result<T>)>;

  Container(EventLoop* loop, Reaper* reaper, Publisher* publisher, Arguments arguments);

  void Create(const task::CreateTaskRequest& request, Done<task::CreateTaskResponse> done);
  void Start(const task::StartRequest& request, Done<task::StartResponse> done);
  void Delete(const task::DeleteRequest& request, Done<task::DeleteResponse> done);
  Result<> Exec(const task::ExecProcessRequest& request);
  Result<task::StateResponse> State(const task::StateRequest& request);
  Result<task::PidsResponse> Pids();
  void Pause(Done<formats::ProtoEmpty> done);
  void Resume(Done<formats::ProtoEmpty> done);
  void Kill(const task::KillRequest& request, Done<formats::ProtoEmpty> done);
  Result<> ResizePty(const task::ResizePtyRequest& request);
  Result<> CloseIO(const task::CloseIORequest& request);
  void Update(const task::UpdateTaskRequest& request, Done<formats::ProtoEmpty> done);
  void Checkpoint(const task::CheckpointTaskRequest& request, Done<formats::ProtoEmpty> done);
  void Wait(const task::WaitRequest& request, Done<task::WaitResponse> done);
  Result<task::StatsResponse> Stats();

  const std::string& id() const { return arguments_.id; }
  // Only while idle.
  void Rename(const std::string& id) { arguments_.id = id; }
  // 0 before Create.
  pid_t init_pid() const { return init_ ? init_->pid : 0; }
  // Create has begun and has not answered. What runs after it runs in the loop, also when it
  // failed.
  bool creating() const { return init_ != nullptr && init_->state == ProcessState::kAdded; }
  void AfterCreate(std::function<void()> call) { after_create_.push_back(std::move(call)); }
  // There is nothing that a shutdown would lose.
  bool idle() const { return init_ == nullptr; }
  Result<> CheckId(const std::string& id) const;

 private:
  using ProcessPtr = std::shared_ptr<Process>;

  Result<ProcessPtr> Find(const std::string& exec_id) const;
  // `refusal` has a place for the word of another state.
  Result<ProcessPtr> RunningInit(std::string_view refusal) const;
  Error WrongState(std::string_view format) const;
  std::string PidFile(const Process& process) const;
  Result<> ReadSettings(const formats::ProtoAny& options);
  Result<> ReadConfig();
  Result<RuntimeCall> PrepareCreate(const task::CreateTaskRequest& request, const ProcessPtr& init,
                                    std::optional<ConsoleSocket>* console);
  Result<RuntimeCall> PrepareExec(const ProcessPtr& process, std::optional<ConsoleSocket>* console);
  Result<> AddStdio(const ProcessPtr& process, std::optional<ConsoleSocket>* console,
                    RuntimeCall* call);
  Result<> TakeStarted(const ProcessPtr& process, std::optional<ConsoleSocket>& console);
  void OnCreated(const task::CreateTaskRequest& request, const ProcessPtr& init,
                 std::optional<ConsoleSocket>& console, Result<> result,
                 const Done<task::CreateTaskResponse>& done);
  void StartInit(const ProcessPtr& init, Done<task::StartResponse> done);
  void OnStarted(const ProcessPtr& init, Result<> result, const Done<task::StartResponse>& done);
  void StartExec(const ProcessPtr& process, Done<task::StartResponse> done);
  void WatchOom();
  void OnExit(const ProcessPtr& process, const ProcessExit& exit);
  void TellExit(const ProcessPtr& process);
  void EndIo(Process& process, std::function<void()> done);
  void KillOthers();
  bool ExecsRun() const;
  void DeleteInit(const ProcessPtr& init, Done<task::DeleteResponse> done);
  void FinishDelete(const ProcessPtr& init, const Done<task::DeleteResponse>& done);
  void DeleteExec(const ProcessPtr& process, const Done<task::DeleteResponse>& done);
  static task::DeleteResponse Deleted(const Process& process);
  void RunSimple(std::vector<std::string> args, std::string input,
                 std::function<void(Result<>)> done);

  EventLoop* loop_;
  Reaper* reaper_;
  Publisher* publisher_;
  Arguments arguments_;
  std::string bundle_;
  std::unique_ptr<RuntimeCommand> runtime_;
  plain::containerd::runc::v1::Options options_;
  ContainerRoot root_;
  bool shares_pid_namespace_ = false;
  bool has_poststart_hooks_ = false;
  std::optional<kernel::CgroupPaths> cgroup_;
  std::unique_ptr<OomWatch> oom_;
  ProcessPtr init_;
  std::vector<std::function<void()>> after_create_;
  std::map<std::string, ProcessPtr> execs_;
};

}  // namespace gantry::shim
