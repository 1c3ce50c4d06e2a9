// SPDX-License-Identifier: Apache-2.0
//
// The forms in which task requests are passed on to shims without holding a thread: one call, one
// call for each of many shims, and a wait that its client may give up. Any thread.
#pragma once

#include <google/protobuf/empty.pb.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "containerd/rpc.h"
#include "containerd/shim.h"
#include "containerd/task/v3/shim.pb.h"

namespace gantry::containerd {

namespace shim_api = ::containerd::task::v3;

// Calls `method` and passes the decoded answer to `done`, in the loop's thread.
template <typename Answer, typename Done>
void CallShim(const std::shared_ptr<Shim>& shim, std::string_view method,
              const google::protobuf::Message& request, std::chrono::nanoseconds timeout,
              Done done) {
  shim->CallAsync(method, request.SerializeAsString(), timeout,
                  [shim, done = std::move(done)](Result<std::string> payload) {
                    if (!payload.ok()) return done(Result<Answer>(std::move(payload).error()));
                    Answer answer;
                    if (!answer.ParseFromString(*payload)) {
                      return done(Result<Answer>(
                          Internal("reading the answer of the shim of task {}", shim->id())));
                    }
                    done(Result<Answer>(std::move(answer)));
                  });
}

// One call that answers the client: `convert` is void(const Answer&).
template <typename Answer, typename Convert>
grpc::ServerUnaryReactor* PassOn(Context* context, Result<std::shared_ptr<Shim>> shim,
                                 std::string_view method, const google::protobuf::Message& request,
                                 Convert convert) {
  auto* reactor = context->DefaultReactor();
  if (!shim.ok()) {
    reactor->Finish(ToStatus(shim.error()));
    return reactor;
  }
  CallShim<Answer>(*shim, method, request, std::chrono::nanoseconds(0),
                   [reactor, convert = std::move(convert)](Result<Answer> answer) {
                     if (!answer.ok()) return reactor->Finish(ToStatus(answer.error()));
                     convert(*answer);
                     reactor->Finish(grpc::Status::OK);
                   });
  return reactor;
}

// One call for each shim; `done` runs once after the last answer, with those that were given.
template <typename Answer>
void CallEach(const std::vector<std::shared_ptr<Shim>>& shims, std::string_view method,
              const std::function<std::string(const Shim&)>& request,
              std::chrono::nanoseconds timeout,
              std::function<void(std::vector<std::pair<std::shared_ptr<Shim>, Answer>>)> done) {
  struct Gathered {
    Mutex mutex;
    size_t left = 0;
    std::vector<std::pair<std::shared_ptr<Shim>, Answer>> answers;
  };
  if (shims.empty()) return done({});
  auto gathered = std::make_shared<Gathered>();
  gathered->left = shims.size();
  for (const auto& shim : shims) {
    shim->CallAsync(method, request(*shim), timeout,
                    [gathered, shim, done](Result<std::string> payload) {
                      Answer answer;
                      bool usable = payload.ok() && answer.ParseFromString(*payload);
                      {
                        MutexLock lock(gathered->mutex);
                        if (usable) gathered->answers.emplace_back(shim, std::move(answer));
                        if (--gathered->left > 0) return;
                      }
                      done(std::move(gathered->answers));
                    });
  }
}

// Waits for the exit of a process. Costs no thread, and nothing any more once the client is gone.
grpc::ServerUnaryReactor* WaitForExit(const std::shared_ptr<Shim>& shim, const std::string& exec_id,
                                      std::function<void(const TaskEnd&)> fill);
// The same for the end of a sandbox.
grpc::ServerUnaryReactor* WaitForSandbox(const std::shared_ptr<Shim>& shim,
                                         std::function<void(const TaskEnd&)> fill);

}  // namespace gantry::containerd
