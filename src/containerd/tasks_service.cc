// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "base/start_trace.h"
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/runc/v1/options.pb.h"
#include "containerd/services/tasks/v1/tasks.grpc.pb.h"
#include "containerd/shim_directory.h"
#include "containerd/task_calls.h"

namespace gantry::containerd {
namespace {

namespace tasks_api = ::containerd::services::tasks::v1;
using google::protobuf::Empty;

// A shim that does not tell its state in this time is left out of lists.
constexpr auto kStateTime = std::chrono::seconds(5);

void FillProcess(const shim_api::StateResponse& state, const Shim& shim,
                 ::containerd::v1::types::Process* process) {
  process->set_container_id(shim.id());
  process->set_id(state.exec_id().empty() ? shim.id() : state.exec_id());
  process->set_pid(state.pid());
  process->set_status(state.status());
  process->set_stdin(state.stdin());
  process->set_stdout(state.stdout());
  process->set_stderr(state.stderr());
  process->set_terminal(state.terminal());
  process->set_exit_status(state.exit_status());
  *process->mutable_exited_at() = state.exited_at();
}

template <typename Request>
Request ForProcess(const std::string& id, const std::string& exec_id) {
  Request request;
  request.set_id(id);
  request.set_exec_id(exec_id);
  return request;
}

class TasksService : public tasks_api::Tasks::CallbackService {
 public:
  explicit TasksService(Parts* parts) : parts_(parts) {}

 private:
  Result<std::shared_ptr<Shim>> Find(const Context& context, const std::string& id) {
    Caller caller = TRY(CallerOf(context));
    return parts_->shims->Find(caller.ns, id);
  }

  // The shim is started by a worker, everything after that waits for answers without a thread.
  grpc::ServerUnaryReactor* Create(Context* context, const tasks_api::CreateTaskRequest* request,
                                   tasks_api::CreateTaskResponse* response) override {
    auto* reactor = context->DefaultReactor();
    auto caller = CallerOf(*context);
    if (!caller.ok()) {
      reactor->Finish(ToStatus(caller.error()));
      return reactor;
    }
    parts_->workers->Run([this, reactor, request, response, ns = caller->ns] {
      auto trace = std::make_shared<StartTrace>("containerd");
      auto begun = BeginCreate(ns, *request, *trace);
      if (!begun.ok()) return reactor->Finish(ToStatus(begun.error()));
      auto& [shim, create] = *begun;
      CallShim<shim_api::CreateTaskResponse>(
          shim, "Create", create, std::chrono::nanoseconds(0),
          [this, reactor, response, trace,
           shim = shim](Result<shim_api::CreateTaskResponse> answer) {
            trace->Lap("shim's Create");
            NoteTrace(*trace, shim->bundle().path());
            if (!answer.ok()) {
              GiveUp(shim);
              return reactor->Finish(
                  ToStatus(std::move(answer).error().AddContext("failed to create shim task")));
            }
            response->set_container_id(shim->id());
            response->set_pid(answer->pid());
            reactor->Finish(grpc::Status::OK);
          });
    });
    return reactor;
  }

  // The shim of the sandbox that a container names. As in containerd, one that is in no store is
  // from a time before sandboxes, and its tasks have shims of their own.
  Result<std::shared_ptr<Shim>> SandboxOf(const std::string& ns,
                                          const containers_api::Container& container) {
    if (container.sandbox().empty()) return std::shared_ptr<Shim>();
    {
      auto tx = TRY(parts_->database->Read());
      auto stored = GetSandbox(tx, ns, container.sandbox());
      if (!stored.ok() && stored.error().kind() == ErrorKind::kNotFound) {
        log::Warning("task {}: sandbox {} is in no store", container.id(), container.sandbox());
        return std::shared_ptr<Shim>();
      }
      TRY(std::move(stored));
    }
    return TRY_WITH(parts_->sandboxes->Find(ns, container.sandbox()),
                    "can't find shim for sandbox {}", container.sandbox());
  }

  // A trace that can't be written is no reason to fail a start.
  static void NoteTrace(StartTrace& trace, const std::string& bundle) {
    Result<> noted = trace.CreateIn(bundle);
    if (!noted.ok()) log::Warning("noting the trace of a start: {}", noted.error().message());
  }

  using Begun = std::pair<std::shared_ptr<Shim>, shim_api::CreateTaskRequest>;
  Result<Begun> BeginCreate(const std::string& ns, const tasks_api::CreateTaskRequest& request,
                            StartTrace& trace) {
    if (request.has_checkpoint()) {
      return Unimplemented("creating task {} from a checkpoint: that needs criu, which isn't used",
                           request.container_id());
    }
    containers_api::Container container;
    {
      auto tx = TRY(parts_->database->Read());
      container = TRY(GetContainer(tx, ns, request.container_id()));
    }
    // A task's own options replace those of its container, for the shim's start too.
    google::protobuf::Any options;
    if (request.has_options() && !request.options().value().empty()) {
      options = request.options();
    } else if (container.runtime().has_options()) {
      options = container.runtime().options();
    }
    const std::string& runtime =
        request.runtime_path().empty() ? container.runtime().name() : request.runtime_path();
    auto sandbox = SandboxOf(ns, container);
    if (!sandbox.ok()) return std::move(sandbox).error().AddContext("failed to start shim");
    auto started = parts_->shims->Start({.ns = ns,
                                         .id = request.container_id(),
                                         .runtime = runtime,
                                         .spec = container.spec().value(),
                                         .options = options.SerializeAsString(),
                                         .sandbox = *sandbox});
    if (!started.ok() && started.error().kind() != ErrorKind::kAlreadyExists) {
      return std::move(started).error().AddContext("failed to start shim");
    }
    auto shim = TRY(std::move(started));
    trace.Lap("start the shim");
    NoteTrace(trace, shim->bundle().path());
    shim_api::CreateTaskRequest create;
    create.set_id(shim->id());
    create.set_bundle(shim->bundle().path());
    *create.mutable_rootfs() = request.rootfs();
    create.set_terminal(request.terminal());
    create.set_stdin(request.stdin());
    create.set_stdout(request.stdout());
    create.set_stderr(request.stderr());
    if (!options.type_url().empty()) *create.mutable_options() = std::move(options);
    return Begun(std::move(shim), std::move(create));
  }

  // A task that could not be made: whatever there is of it is deleted.
  void GiveUp(const std::shared_ptr<Shim>& shim) {
    shim_api::DeleteRequest request;
    request.set_id(shim->id());
    CallShim<shim_api::DeleteResponse>(shim, "Delete", request, kStateTime,
                                       [this, shim](auto) { parts_->shims->Retire(shim); });
  }

  grpc::ServerUnaryReactor* Start(Context* context, const tasks_api::StartRequest* request,
                                  tasks_api::StartResponse* response) override {
    return PassOn<shim_api::StartResponse>(
        context, Find(*context, request->container_id()), "Start",
        ForProcess<shim_api::StartRequest>(request->container_id(), request->exec_id()),
        [response](const shim_api::StartResponse& answer) { response->set_pid(answer.pid()); });
  }

  grpc::ServerUnaryReactor* Delete(Context* context, const tasks_api::DeleteTaskRequest* request,
                                   tasks_api::DeleteResponse* response) override {
    auto* reactor = context->DefaultReactor();
    auto found = Find(*context, request->container_id());
    if (!found.ok()) {
      reactor->Finish(ToStatus(found.error()));
      return reactor;
    }
    auto finish = [reactor, response](const TaskEnd& end) {
      response->set_pid(end.pid);
      response->set_exit_status(end.status);
      *response->mutable_exited_at() = ToProto(end.at);
      reactor->Finish(grpc::Status::OK);
    };
    shim_api::DeleteRequest message;
    message.set_id(request->container_id());
    CallShim<shim_api::DeleteResponse>(
        *found, "Delete", message, std::chrono::nanoseconds(0),
        [this, reactor, finish, shim = *found](Result<shim_api::DeleteResponse> answer) {
          if (answer.ok()) {
            parts_->shims->Retire(shim);
            return finish({answer->pid(), answer->exit_status(), FromProto(answer->exited_at())});
          }
          ErrorKind kind = answer.error().kind();
          // The shim died, and what is left of the task is being deleted already.
          if (kind == ErrorKind::kUnavailable) return shim->WhenBuried(finish);
          if (kind == ErrorKind::kNotFound) parts_->shims->Retire(shim);
          reactor->Finish(ToStatus(answer.error()));
        });
    return reactor;
  }

  grpc::ServerUnaryReactor* DeleteProcess(Context* context,
                                          const tasks_api::DeleteProcessRequest* request,
                                          tasks_api::DeleteResponse* response) override {
    if (request->exec_id().empty()) {
      return Answer(context,
                    []() -> Result<> { return InvalidArgument("exec id must not be empty"); });
    }
    return PassOn<shim_api::DeleteResponse>(
        context, Find(*context, request->container_id()), "Delete",
        ForProcess<shim_api::DeleteRequest>(request->container_id(), request->exec_id()),
        [request, response](const shim_api::DeleteResponse& answer) {
          response->set_id(request->exec_id());
          response->set_pid(answer.pid());
          response->set_exit_status(answer.exit_status());
          *response->mutable_exited_at() = answer.exited_at();
        });
  }

  grpc::ServerUnaryReactor* Get(Context* context, const tasks_api::GetRequest* request,
                                tasks_api::GetResponse* response) override {
    auto shim = Find(*context, request->container_id());
    auto fill = [response,
                 shim = shim.ok() ? *shim : nullptr](const shim_api::StateResponse& state) {
      FillProcess(state, *shim, response->mutable_process());
    };
    return PassOn<shim_api::StateResponse>(
        context, std::move(shim), "State",
        ForProcess<shim_api::StateRequest>(request->container_id(), request->exec_id()), fill);
  }

  grpc::ServerUnaryReactor* List(Context* context, const tasks_api::ListTasksRequest*,
                                 tasks_api::ListTasksResponse* response) override {
    auto* reactor = context->DefaultReactor();
    auto caller = CallerOf(*context);
    if (!caller.ok()) {
      reactor->Finish(ToStatus(caller.error()));
      return reactor;
    }
    CallEach<shim_api::StateResponse>(
        parts_->shims->List(caller->ns), "State",
        [](const Shim& shim) {
          return ForProcess<shim_api::StateRequest>(shim.id(), "").SerializeAsString();
        },
        kStateTime,
        [reactor, response](auto answers) {
          for (const auto& [shim, state] : answers) {
            FillProcess(state, *shim, response->add_tasks());
          }
          reactor->Finish(grpc::Status::OK);
        });
    return reactor;
  }

  grpc::ServerUnaryReactor* Kill(Context* context, const tasks_api::KillRequest* request,
                                 Empty*) override {
    auto kill = ForProcess<shim_api::KillRequest>(request->container_id(), request->exec_id());
    kill.set_signal(request->signal());
    kill.set_all(request->all());
    return PassOn<Empty>(context, Find(*context, request->container_id()), "Kill", kill,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* Exec(Context* context, const tasks_api::ExecProcessRequest* request,
                                 Empty*) override {
    auto valid = CheckIdentifier(request->exec_id());
    if (!valid.ok()) {
      return Answer(context, [&]() -> Result<> {
        return std::move(valid).error().AddContext(
            fmt::format("invalid exec id {}", request->exec_id()));
      });
    }
    auto exec =
        ForProcess<shim_api::ExecProcessRequest>(request->container_id(), request->exec_id());
    exec.set_terminal(request->terminal());
    exec.set_stdin(request->stdin());
    exec.set_stdout(request->stdout());
    exec.set_stderr(request->stderr());
    *exec.mutable_spec() = request->spec();
    return PassOn<Empty>(context, Find(*context, request->container_id()), "Exec", exec,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* ResizePty(Context* context, const tasks_api::ResizePtyRequest* request,
                                      Empty*) override {
    auto resize =
        ForProcess<shim_api::ResizePtyRequest>(request->container_id(), request->exec_id());
    resize.set_width(request->width());
    resize.set_height(request->height());
    return PassOn<Empty>(context, Find(*context, request->container_id()), "ResizePty", resize,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* CloseIO(Context* context, const tasks_api::CloseIORequest* request,
                                    Empty*) override {
    auto close = ForProcess<shim_api::CloseIORequest>(request->container_id(), request->exec_id());
    close.set_stdin(request->stdin());
    return PassOn<Empty>(context, Find(*context, request->container_id()), "CloseIO", close,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* Pause(Context* context, const tasks_api::PauseTaskRequest* request,
                                  Empty*) override {
    shim_api::PauseRequest pause;
    pause.set_id(request->container_id());
    return PassOn<Empty>(context, Find(*context, request->container_id()), "Pause", pause,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* Resume(Context* context, const tasks_api::ResumeTaskRequest* request,
                                   Empty*) override {
    shim_api::ResumeRequest resume;
    resume.set_id(request->container_id());
    return PassOn<Empty>(context, Find(*context, request->container_id()), "Resume", resume,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* ListPids(Context* context, const tasks_api::ListPidsRequest* request,
                                     tasks_api::ListPidsResponse* response) override {
    shim_api::PidsRequest pids;
    pids.set_id(request->container_id());
    return PassOn<shim_api::PidsResponse>(context, Find(*context, request->container_id()), "Pids",
                                          pids, [response](const shim_api::PidsResponse& answer) {
                                            *response->mutable_processes() = answer.processes();
                                          });
  }

  // Into a directory. containerd can also put the result into its content store.
  grpc::ServerUnaryReactor* Checkpoint(Context* context,
                                       const tasks_api::CheckpointTaskRequest* request,
                                       tasks_api::CheckpointTaskResponse*) override {
    auto checkpoint = [&]() -> Result<shim_api::CheckpointTaskRequest> {
      TRY(Find(*context, request->container_id()));
      ::containerd::runc::v1::CheckpointOptions options;
      if (!options.ParseFromString(request->options().value())) {
        return InvalidArgument("reading the checkpoint's options: not CheckpointOptions");
      }
      if (options.image_path().empty()) {
        return Unimplemented(
            "checkpoint of task {} into the content store: that needs criu, which isn't used; with "
            "an image path the runtime is asked",
            request->container_id());
      }
      shim_api::CheckpointTaskRequest message;
      message.set_id(request->container_id());
      message.set_path(options.image_path());
      *message.mutable_options() = request->options();
      return message;
    }();
    if (!checkpoint.ok()) {
      return Answer(context, [&]() -> Result<> { return std::move(checkpoint).error(); });
    }
    return PassOn<Empty>(context, Find(*context, request->container_id()), "Checkpoint",
                         *checkpoint, [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* Update(Context* context, const tasks_api::UpdateTaskRequest* request,
                                   Empty*) override {
    shim_api::UpdateTaskRequest update;
    update.set_id(request->container_id());
    *update.mutable_resources() = request->resources();
    *update.mutable_annotations() = request->annotations();
    return PassOn<Empty>(context, Find(*context, request->container_id()), "Update", update,
                         [](const Empty&) {});
  }

  grpc::ServerUnaryReactor* Metrics(Context* context, const tasks_api::MetricsRequest* request,
                                    tasks_api::MetricsResponse* response) override {
    auto* reactor = context->DefaultReactor();
    auto shims = [&]() -> Result<std::vector<std::shared_ptr<Shim>>> {
      Caller caller = TRY(CallerOf(*context));
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      auto all = parts_->shims->List(caller.ns);
      std::erase_if(all, [&](const auto& shim) {
        return !filters.Matches([&](const FieldPath& path) -> std::optional<std::string> {
          if (path[0] == "id") return shim->id();
          if (path[0] == "namespace") return shim->ns();
          return std::nullopt;
        });
      });
      return all;
    }();
    if (!shims.ok()) {
      reactor->Finish(ToStatus(shims.error()));
      return reactor;
    }
    CallEach<shim_api::StatsResponse>(
        *shims, "Stats",
        [](const Shim& shim) {
          shim_api::StatsRequest stats;
          stats.set_id(shim.id());
          return stats.SerializeAsString();
        },
        kStateTime,
        [reactor, response](auto answers) {
          for (auto& [shim, stats] : answers) {
            auto* metric = response->add_metrics();
            *metric->mutable_timestamp() = ToProto(Now());
            metric->set_id(shim->id());
            *metric->mutable_data() = std::move(*stats.mutable_stats());
          }
          reactor->Finish(grpc::Status::OK);
        });
    return reactor;
  }

  grpc::ServerUnaryReactor* Wait(Context* context, const tasks_api::WaitRequest* request,
                                 tasks_api::WaitResponse* response) override {
    auto shim = Find(*context, request->container_id());
    if (!shim.ok()) return Answer(context, [&]() -> Result<> { return shim.error(); });
    return WaitForExit(*shim, request->exec_id(), [response](const TaskEnd& end) {
      response->set_exit_status(end.status);
      *response->mutable_exited_at() = ToProto(end.at);
    });
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTasksService(Parts* parts) {
  return std::make_unique<TasksService>(parts);
}

}  // namespace gantry::containerd
