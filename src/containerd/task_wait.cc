// SPDX-License-Identifier: Apache-2.0
#include "base/mutex.h"
#include "containerd/runtime/sandbox/v1/sandbox.pb.h"
#include "containerd/task_calls.h"

namespace gantry::containerd {
namespace {

namespace sandbox_shim_api = ::containerd::runtime::sandbox::v1;

class WaitReactor : public grpc::ServerUnaryReactor {
 public:
  // Outlives the reactor in the shim's list of calls; `reactor` is null once it is finished.
  struct Link {
    Mutex mutex;
    WaitReactor* reactor GUARDED_BY(mutex) = nullptr;
    std::function<void(const TaskEnd&)> fill GUARDED_BY(mutex);

    void Finish(const TaskEnd& end) {
      MutexLock lock(mutex);
      if (reactor == nullptr) return;
      fill(end);
      std::exchange(reactor, nullptr)->Finish(grpc::Status::OK);
    }
    void Fail(const grpc::Status& status) {
      MutexLock lock(mutex);
      if (reactor == nullptr) return;
      std::exchange(reactor, nullptr)->Finish(status);
    }
  };

  explicit WaitReactor(std::function<void(const TaskEnd&)> fill) : link_(std::make_shared<Link>()) {
    MutexLock lock(link_->mutex);
    link_->reactor = this;
    link_->fill = std::move(fill);
  }
  const std::shared_ptr<Link>& link() const { return link_; }

  void OnCancel() override {
    link_->Fail(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
  }
  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<Link> link_;
};

template <typename Response>
grpc::ServerUnaryReactor* WaitFor(const std::shared_ptr<Shim>& shim, std::string_view method,
                                  const google::protobuf::Message& request,
                                  std::function<void(const TaskEnd&)> fill) {
  auto* reactor = new WaitReactor(std::move(fill));
  auto link = reactor->link();
  CallShim<Response>(
      shim, method, request, std::chrono::nanoseconds(0), [link, shim](Result<Response> answer) {
        if (answer.ok()) {
          return link->Finish({0, answer->exit_status(), FromProto(answer->exited_at())});
        }
        if (answer.error().kind() != ErrorKind::kUnavailable) {
          return link->Fail(ToStatus(answer.error()));
        }
        // The shim died: its task ends when that was cleaned up.
        shim->WhenBuried([link](const TaskEnd& end) { link->Finish(end); });
      });
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* WaitForExit(const std::shared_ptr<Shim>& shim, const std::string& exec_id,
                                      std::function<void(const TaskEnd&)> fill) {
  shim_api::WaitRequest request;
  request.set_id(shim->id());
  request.set_exec_id(exec_id);
  return WaitFor<shim_api::WaitResponse>(shim, "Wait", request, std::move(fill));
}

grpc::ServerUnaryReactor* WaitForSandbox(const std::shared_ptr<Shim>& shim,
                                         std::function<void(const TaskEnd&)> fill) {
  sandbox_shim_api::WaitSandboxRequest request;
  request.set_sandbox_id(shim->id());
  return WaitFor<sandbox_shim_api::WaitSandboxResponse>(shim, "WaitSandbox", request,
                                                        std::move(fill));
}

}  // namespace gantry::containerd
