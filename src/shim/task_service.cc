// SPDX-License-Identifier: Apache-2.0
#include "shim/task_service.h"

#include <unistd.h>

#include "base/log.h"

namespace gantry::shim {
namespace {

// Decodes the call, checks the id, runs handle(request, done) and answers with what done gets.
template <typename Request, typename Response, typename F>
void Dispatch(const wire::TtrpcCall& call, F&& handle) {
  Result<Request> request = Request::Decode(call.payload());
  if (!request.ok()) return call.Reply(std::move(request).error());
  handle(*request, [call](Result<Response> response) {
    if (!response.ok()) return call.Reply(std::move(response).error());
    call.Reply(formats::ProtoEncode(*response));
  });
}

// The same for what answers at once.
template <typename Request, typename F>
void Answer(const wire::TtrpcCall& call, F&& handle) {
  Result<Request> request = Request::Decode(call.payload());
  if (!request.ok()) return call.Reply(std::move(request).error());
  auto response = handle(*request);
  if (!response.ok()) return call.Reply(std::move(response).error());
  if constexpr (std::is_same_v<decltype(response), Result<>>) {
    call.Reply(std::string());
  } else {
    call.Reply(formats::ProtoEncode(*response));
  }
}

bool KnownService(const std::string& service) {
  return service == "containerd.task.v2.Task" || service == "containerd.task.v3.Task";
}

}  // namespace

TaskService::TaskService(std::unique_ptr<Container> container, Hooks hooks)
    : container_(std::move(container)), hooks_(std::move(hooks)) {}

Container* TaskService::Find(const std::string& id) const {
  if (container_->CheckId(id).ok()) return container_.get();
  for (const auto& other : others_) {
    if (other->CheckId(id).ok()) return other.get();
  }
  return nullptr;
}

Container& TaskService::Free(const std::string& id) {
  if (id == container_->id()) return *container_;
  for (const auto& other : others_) {
    if (other->idle()) {
      other->Rename(id);
      return *other;
    }
  }
  return *others_.emplace_back(hooks_.make(id));
}

std::vector<Container*> TaskService::Present() const {
  std::vector<Container*> found;
  if (!container_->idle()) found.push_back(container_.get());
  for (const auto& other : others_) {
    if (!other->idle()) found.push_back(other.get());
  }
  return found;
}

bool TaskService::Idle() const { return Present().empty() && !hooks_.in_use(); }

void TaskService::EndIfUnused() {
  if (Idle()) hooks_.on_shutdown([] {});
}

void TaskService::Handle(wire::TtrpcCall call) {
  const std::string& method = call.method();
  log::Debug("{}", method);
  if (!KnownService(call.service())) {
    return call.Reply(Unimplemented("service '{}'", call.service()));
  }
  // Every message but Create's and these two is about a container that there is; its id is field 1.
  if (method == "Create") return Create(call);
  if (method == "Connect") return Connect(call);
  if (method == "Shutdown") return Shutdown(call);
  Result<task::ConnectRequest> id = task::ConnectRequest::Decode(call.payload());
  if (!id.ok()) return call.Reply(std::move(id).error());
  Container* container = Find(id->id);
  if (container == nullptr) return call.Reply(NotFound("container '{}' not found", id->id));
  // A daemon whose predecessor was killed in the middle of Create learns how that ended.
  if (container->creating()) return container->AfterCreate([this, call] { Handle(call); });
  Change(call, *container);
}

void TaskService::Create(const wire::TtrpcCall& call) {
  Dispatch<task::CreateTaskRequest, task::CreateTaskResponse>(
      call, [&](const auto& request, auto done) {
        hooks_.on_known(request.id);
        if (Find(request.id) != nullptr) return done(AlreadyExists("container '{}'", request.id));
        Free(request.id).Create(request, std::move(done));
      });
}

void TaskService::Change(const wire::TtrpcCall& call, Container& container) {
  const std::string& method = call.method();
  using formats::ProtoEmpty;
  if (method == "Start") {
    return Dispatch<task::StartRequest, task::StartResponse>(
        call, [&](const auto& request, auto done) { container.Start(request, std::move(done)); });
  }
  if (method == "Delete") return Delete(call, container);
  if (method == "Wait") {
    return Dispatch<task::WaitRequest, task::WaitResponse>(
        call, [&](const auto& request, auto done) { container.Wait(request, std::move(done)); });
  }
  if (method == "Kill") {
    return Dispatch<task::KillRequest, ProtoEmpty>(
        call, [&](const auto& request, auto done) { container.Kill(request, std::move(done)); });
  }
  if (method == "Pause") {
    return Dispatch<task::PauseRequest, ProtoEmpty>(
        call, [&](const auto&, auto done) { container.Pause(std::move(done)); });
  }
  if (method == "Resume") {
    return Dispatch<task::ResumeRequest, ProtoEmpty>(
        call, [&](const auto&, auto done) { container.Resume(std::move(done)); });
  }
  if (method == "Update") {
    return Dispatch<task::UpdateTaskRequest, ProtoEmpty>(
        call, [&](const auto& request, auto done) { container.Update(request, std::move(done)); });
  }
  if (method == "Checkpoint") {
    return Dispatch<task::CheckpointTaskRequest, ProtoEmpty>(
        call,
        [&](const auto& request, auto done) { container.Checkpoint(request, std::move(done)); });
  }
  Ask(call, container);
}

void TaskService::Delete(const wire::TtrpcCall& call, Container& container) {
  Dispatch<task::DeleteRequest, task::DeleteResponse>(call, [&](const auto& request, auto done) {
    container.Delete(request, [this, done](Result<task::DeleteResponse> response) {
      done(std::move(response));
      hooks_.on_deleted();
    });
  });
}

void TaskService::Ask(const wire::TtrpcCall& call, Container& container) {
  const std::string& method = call.method();
  if (method == "State") {
    return Answer<task::StateRequest>(call, [&](const auto& r) { return container.State(r); });
  }
  if (method == "Exec") {
    return Answer<task::ExecProcessRequest>(call, [&](const auto& r) { return container.Exec(r); });
  }
  if (method == "ResizePty") {
    return Answer<task::ResizePtyRequest>(call,
                                          [&](const auto& r) { return container.ResizePty(r); });
  }
  if (method == "CloseIO") {
    return Answer<task::CloseIORequest>(call, [&](const auto& r) { return container.CloseIO(r); });
  }
  if (method == "Pids") {
    return Answer<task::PidsRequest>(call, [&](const auto&) { return container.Pids(); });
  }
  if (method == "Stats") {
    return Answer<task::StatsRequest>(call, [&](const auto&) { return container.Stats(); });
  }
  call.Reply(Unimplemented("method '{}' of '{}'", method, call.service()));
}

void TaskService::Connect(const wire::TtrpcCall& call) {
  Answer<task::ConnectRequest>(call, [&](const auto& request) -> Result<task::ConnectResponse> {
    task::ConnectResponse response;
    response.shim_pid = static_cast<uint32_t>(::getpid());
    Container* container = Find(request.id);
    response.task_pid = static_cast<uint32_t>(container == nullptr ? 0 : container->init_pid());
    return response;
  });
}

void TaskService::Shutdown(const wire::TtrpcCall& call) {
  Result<task::ShutdownRequest> request = task::ShutdownRequest::Decode(call.payload());
  if (!request.ok()) return call.Reply(std::move(request).error());
  hooks_.on_known(request->id);
  // A container that is still there, or that the daemon is about to create, keeps the shim.
  if (!Idle() && !request->now) return call.Reply(std::string());
  hooks_.on_shutdown([call] { call.Reply(std::string()); });
}

}  // namespace gantry::shim
