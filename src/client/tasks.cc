// SPDX-License-Identifier: Apache-2.0
//
// The Tasks and Events services.
#include <utility>

#include "client/containerd.h"
#include "client/stubs.h"
#include "containerd/events/task.pb.h"

namespace gantry::client {

namespace events = containerd::events;
namespace tasks = containerd::services::tasks::v1;

namespace {

constexpr char kProcessType[] = "types.containerd.io/opencontainers/runtime-spec/1/Process";
constexpr char kResourcesType[] =
    "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

TaskState FromProto(const containerd::v1::types::Process& process) {
  TaskState out;
  out.container_id = process.container_id().empty() ? process.id() : process.container_id();
  if (process.id() != out.container_id) out.exec_id = process.id();
  out.pid = process.pid();
  out.status = static_cast<TaskStatus>(process.status());
  out.exit_status = process.exit_status();
  out.exited_at = client::FromProto(process.exited_at());
  return out;
}

Exit FromProto(const tasks::DeleteResponse& response) {
  return Exit{response.pid(), response.exit_status(), client::FromProto(response.exited_at())};
}

// A request that names a process and nothing else.
template <typename Request>
Request ProcessRequest(const std::string& id, const std::string& exec_id) {
  Request request;
  request.set_container_id(id);
  request.set_exec_id(exec_id);
  return request;
}

template <typename Request>
Request TaskRequest(const std::string& id) {
  Request request;
  request.set_container_id(id);
  return request;
}

}  // namespace

Result<uint32_t> Containerd::Create(const CreateTask& create) {
  auto request = TaskRequest<tasks::CreateTaskRequest>(create.container_id);
  for (const Mount& mount : create.rootfs) {
    auto* target = request.add_rootfs();
    target->set_type(mount.type);
    target->set_source(mount.source);
    target->set_target(mount.target);
    for (const std::string& option : mount.options) target->add_options(option);
  }
  request.set_stdin(create.stdin_path);
  request.set_stdout(create.stdout_uri);
  request.set_stderr(create.stderr_uri);
  request.set_terminal(create.terminal);
  tasks::CreateTaskResponse response;
  TRY(Call(*stubs_, kSlow, stubs_->tasks.get(), &tasks::Tasks::Stub::Create, request, &response));
  return response.pid();
}

Result<uint32_t> Containerd::Start(const std::string& id, const std::string& exec_id) {
  tasks::StartResponse response;
  TRY(Call(*stubs_, kSlow, stubs_->tasks.get(), &tasks::Tasks::Stub::Start,
           ProcessRequest<tasks::StartRequest>(id, exec_id), &response));
  return response.pid();
}

Result<> Containerd::Kill(const std::string& id, const std::string& exec_id, uint32_t signal,
                          bool all) {
  auto request = ProcessRequest<tasks::KillRequest>(id, exec_id);
  request.set_signal(signal);
  request.set_all(all);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::Kill, request, &response);
}

Result<Exit> Containerd::Delete(const std::string& id) {
  tasks::DeleteResponse response;
  TRY(Call(*stubs_, kSlow, stubs_->tasks.get(), &tasks::Tasks::Stub::Delete,
           TaskRequest<tasks::DeleteTaskRequest>(id), &response));
  return FromProto(response);
}

Result<Exit> Containerd::DeleteExec(const std::string& id, const std::string& exec_id) {
  tasks::DeleteResponse response;
  TRY(Call(*stubs_, kSlow, stubs_->tasks.get(), &tasks::Tasks::Stub::DeleteProcess,
           ProcessRequest<tasks::DeleteProcessRequest>(id, exec_id), &response));
  return FromProto(response);
}

Result<> Containerd::Exec(const ExecTask& exec) {
  auto request = ProcessRequest<tasks::ExecProcessRequest>(exec.container_id, exec.exec_id);
  request.set_stdin(exec.stdin_path);
  request.set_stdout(exec.stdout_uri);
  request.set_stderr(exec.stderr_uri);
  request.set_terminal(exec.terminal);
  request.mutable_spec()->set_type_url(kProcessType);
  request.mutable_spec()->set_value(exec.process);
  google::protobuf::Empty response;
  return Call(*stubs_, kSlow, stubs_->tasks.get(), &tasks::Tasks::Stub::Exec, request, &response);
}

Result<> Containerd::Resize(const std::string& id, const std::string& exec_id, uint32_t width,
                            uint32_t height) {
  auto request = ProcessRequest<tasks::ResizePtyRequest>(id, exec_id);
  request.set_width(width);
  request.set_height(height);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::ResizePty, request,
              &response);
}

Result<> Containerd::CloseStdin(const std::string& id, const std::string& exec_id) {
  auto request = ProcessRequest<tasks::CloseIORequest>(id, exec_id);
  request.set_stdin(true);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::CloseIO, request,
              &response);
}

Result<> Containerd::Pause(const std::string& id) {
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::Pause,
              TaskRequest<tasks::PauseTaskRequest>(id), &response);
}

Result<> Containerd::Resume(const std::string& id) {
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::Resume,
              TaskRequest<tasks::ResumeTaskRequest>(id), &response);
}

Result<> Containerd::Update(const std::string& id, const std::string& resources) {
  auto request = TaskRequest<tasks::UpdateTaskRequest>(id);
  request.mutable_resources()->set_type_url(kResourcesType);
  request.mutable_resources()->set_value(resources);
  google::protobuf::Empty response;
  return Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::Update, request,
              &response);
}

Result<std::vector<uint32_t>> Containerd::Pids(const std::string& id) {
  tasks::ListPidsResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::ListPids,
           TaskRequest<tasks::ListPidsRequest>(id), &response));
  std::vector<uint32_t> out;
  for (const auto& process : response.processes()) out.push_back(process.pid());
  return out;
}

Result<Metrics> Containerd::GetMetrics(const std::string& id) {
  tasks::MetricsRequest request;
  request.add_filters("id==" + id);
  tasks::MetricsResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::Metrics, request, &response));
  if (response.metrics().empty()) return NotFound("no metrics of container '{}'", id);
  const auto& metric = response.metrics(0);
  const std::string& url = metric.data().type_url();
  return Metrics{url.substr(url.rfind('/') + 1), metric.data().value(),
                 FromProto(metric.timestamp())};
}

Result<TaskState> Containerd::GetTask(const std::string& id, const std::string& exec_id) {
  tasks::GetResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::Get,
           ProcessRequest<tasks::GetRequest>(id, exec_id), &response));
  TaskState state = FromProto(response.process());
  state.container_id = id;
  state.exec_id = exec_id;
  return state;
}

Result<std::vector<TaskState>> Containerd::ListTasks() {
  tasks::ListTasksResponse response;
  TRY(Call(*stubs_, kQuick, stubs_->tasks.get(), &tasks::Tasks::Stub::List,
           tasks::ListTasksRequest(), &response));
  std::vector<TaskState> out;
  for (const auto& task : response.tasks()) out.push_back(FromProto(task));
  return out;
}

void Containerd::WaitAsync(const std::string& id, const std::string& exec_id,
                           std::function<void(Result<Exit>)> done) {
  struct Pending {
    grpc::ClientContext context;
    tasks::WaitRequest request;
    tasks::WaitResponse response;
    std::function<void(Result<Exit>)> done;
  };
  auto pending = std::make_shared<Pending>();
  stubs_->Prepare(&pending->context, std::chrono::milliseconds(0));
  pending->request = ProcessRequest<tasks::WaitRequest>(id, exec_id);
  pending->done = std::move(done);
  stubs_->tasks->async()->Wait(
      &pending->context, &pending->request, &pending->response, [pending](grpc::Status status) {
        Result<> answered = ToResult(status);
        if (!answered.ok()) {
          pending->done(std::move(answered).error());
        } else {
          pending->done(Exit{0, pending->response.exit_status(),
                             client::FromProto(pending->response.exited_at())});
        }
      });
}

namespace {

using Envelope = containerd::types::Envelope;

constexpr char kExitTopic[] = "/tasks/exit";
constexpr char kOomTopic[] = "/tasks/oom";

// False for anything that was not subscribed to.
bool ReadEvent(const Envelope& envelope, TaskEvent* out) {
  const std::string& bytes = envelope.event().value();
  out->time = client::FromProto(envelope.timestamp());
  if (envelope.topic() == kOomTopic) {
    events::TaskOOM oom;
    if (!oom.ParseFromString(bytes)) return false;
    out->kind = TaskEvent::Kind::kOom;
    out->container_id = oom.container_id();
    return true;
  }
  events::TaskExit exit;
  if (envelope.topic() != kExitTopic || !exit.ParseFromString(bytes)) return false;
  out->kind = TaskEvent::Kind::kExit;
  out->container_id = exit.container_id();
  // An exit of the init process carries the container's id here.
  if (exit.id() != exit.container_id()) out->exec_id = exit.id();
  out->pid = exit.pid();
  out->exit_status = exit.exit_status();
  out->exited_at = client::FromProto(exit.exited_at());
  return true;
}

// Reads envelopes one after the other on gRPC's threads. Shared with the stream's last callback,
// so that it outlives the Subscription's destructor by just that.
class EventReader : public grpc::ClientReadReactor<Envelope> {
 public:
  EventReader(std::function<void(const TaskEvent&)> event, std::function<void(Error)> ended)
      : event_(std::move(event)), ended_(std::move(ended)) {}

  void OnReadInitialMetadataDone(bool) override {
    MutexLock lock(mutex_);
    subscribed_ = true;
    changed_.NotifyAll();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    TaskEvent event;
    if (ReadEvent(envelope_, &event)) event_(event);
    StartRead(&envelope_);
  }

  void OnDone(const grpc::Status& status) override {
    bool wanted = false;
    {
      MutexLock lock(mutex_);
      wanted = !cancelled_;
    }
    if (wanted) {
      ended_(status.ok() ? Unavailable("the event stream ended")
                         : std::move(ToResult(status)).error());
    }
    MutexLock lock(mutex_);
    done_ = true;
    changed_.NotifyAll();
  }

  void Begin(Containerd::Stubs* stubs) {
    stubs->Prepare(&context_, std::chrono::milliseconds(0));
    for (const char* topic : {kExitTopic, kOomTopic}) {
      request_.add_filters(fmt::format("namespace=={},topic==\"{}\"", stubs->name_space, topic));
    }
    stubs->events->async()->Subscribe(&context_, &request_, this);
    StartRead(&envelope_);
    StartCall();
  }

  void WaitUntilSubscribed(std::chrono::milliseconds bound) {
    auto deadline = SteadyClock::now() + bound;
    MutexLock lock(mutex_);
    while (!subscribed_ && !done_ && SteadyClock::now() < deadline) {
      changed_.WaitFor(mutex_, deadline - SteadyClock::now());
    }
  }

  void CancelAndWait() {
    {
      MutexLock lock(mutex_);
      cancelled_ = true;
    }
    context_.TryCancel();
    MutexLock lock(mutex_);
    while (!done_) changed_.Wait(mutex_);
  }

 private:
  std::function<void(const TaskEvent&)> event_;
  std::function<void(Error)> ended_;
  grpc::ClientContext context_;
  containerd::services::events::v1::SubscribeRequest request_;
  Envelope envelope_;
  Mutex mutex_;
  CondVar changed_;
  bool subscribed_ GUARDED_BY(mutex_) = false;
  bool cancelled_ GUARDED_BY(mutex_) = false;
  bool done_ GUARDED_BY(mutex_) = false;
};

// Our daemon sends its headers once the subscription holds; a foreign one with the first event
// only.
constexpr std::chrono::milliseconds kHeadersBound(200);

class TaskSubscription : public Subscription {
 public:
  TaskSubscription(Containerd::Stubs* stubs, std::function<void(const TaskEvent&)> event,
                   std::function<void(Error)> ended)
      : reader_(std::move(event), std::move(ended)) {
    reader_.Begin(stubs);
    reader_.WaitUntilSubscribed(kHeadersBound);
  }
  ~TaskSubscription() override { reader_.CancelAndWait(); }

 private:
  EventReader reader_;
};

}  // namespace

std::unique_ptr<Subscription> Containerd::SubscribeTasks(
    std::function<void(const TaskEvent&)> event, std::function<void(Error)> ended) {
  return std::make_unique<TaskSubscription>(stubs_.get(), std::move(event), std::move(ended));
}

}  // namespace gantry::client
