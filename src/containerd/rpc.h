// SPDX-License-Identifier: Apache-2.0
//
// What every gRPC service here needs: who calls (namespace and lease, from the headers), errors as
// statuses, and the three forms of an answer: at once, on a worker, as a list of messages.
//
// gRPC has only a few threads for callbacks: what only reads or writes records is answered at once,
// what touches files or other processes is answered on a worker.
#pragma once

#include <google/protobuf/timestamp.pb.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "wire/worker_pool.h"

namespace gantry::containerd {

using Context = grpc::CallbackServerContext;
using Labels = std::map<std::string, std::string>;

struct Caller {
  std::string ns;     // header containerd-namespace
  std::string lease;  // header containerd-lease, or ""
};
// kFailedPrecondition without a namespace.
Result<Caller> CallerOf(const Context& context);

grpc::Status ToStatus(const Error& error);
grpc::Status ToStatus(const Result<>& result);
// What another side answered.
Result<> ToResult(const grpc::Status& status);

google::protobuf::Timestamp ToProto(WallTime time);
WallTime FromProto(const google::protobuf::Timestamp& time);
WallTime Now();
template <typename Map>
Labels ToLabels(const Map& map) {
  return Labels(map.begin(), map.end());
}
// In every store a label with an empty value is one that is taken away.
template <typename Map>
void DropEmptyLabels(Map* labels) {
  for (auto label = labels->begin(); label != labels->end();) {
    label = label->second.empty() ? labels->erase(label) : std::next(label);
  }
}
template <typename Map>
void SetLabels(const Labels& labels, Map* map) {
  map->clear();
  for (const auto& [key, value] : labels) (*map)[key] = value;
}

// `work` is Result<>() and runs now.
template <typename Work>
grpc::ServerUnaryReactor* Answer(Context* context, Work&& work) {
  auto* reactor = context->DefaultReactor();
  reactor->Finish(ToStatus(work()));
  return reactor;
}

// `work` is Result<>(const Caller&).
template <typename Work>
grpc::ServerUnaryReactor* AnswerCaller(Context* context, Work&& work) {
  return Answer(context, [&]() -> Result<> { return work(TRY(CallerOf(*context))); });
}

// `work` is Result<>() and runs on a worker; request and response live until the call is finished.
template <typename Work>
grpc::ServerUnaryReactor* AnswerOn(wire::WorkerPool& workers, Context* context, Work work) {
  auto* reactor = context->DefaultReactor();
  workers.Run([reactor, work = std::move(work)]() mutable { reactor->Finish(ToStatus(work())); });
  return reactor;
}

// `work` is Result<>(const Caller&) and runs on a worker.
template <typename Work>
grpc::ServerUnaryReactor* AnswerCallerOn(wire::WorkerPool& workers, Context* context, Work work) {
  auto caller = CallerOf(*context);
  if (!caller.ok()) return Answer(context, [&]() -> Result<> { return caller.error(); });
  return AnswerOn(workers, context,
                  [caller = *std::move(caller), work = std::move(work)]() mutable {
                    return work(std::as_const(caller));
                  });
}

// Writes messages that are all there already, then ends with `status`.
template <typename Message>
class ListReactor : public grpc::ServerWriteReactor<Message> {
 public:
  ListReactor(std::vector<Message> messages, grpc::Status status)
      : messages_(std::move(messages)), status_(std::move(status)) {
    Next();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "client is gone"));
    Next();
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (next_ == messages_.size()) return this->Finish(status_);
    this->StartWrite(&messages_[next_++]);
  }
  std::vector<Message> messages_;
  grpc::Status status_;
  size_t next_ = 0;
};

// `work` is Result<std::vector<Message>>(const Caller&).
template <typename Message, typename Work>
grpc::ServerWriteReactor<Message>* AnswerList(Context* context, Work&& work) {
  auto messages = [&]() -> Result<std::vector<Message>> { return work(TRY(CallerOf(*context))); }();
  if (!messages.ok()) return new ListReactor<Message>({}, ToStatus(messages.error()));
  return new ListReactor<Message>(*std::move(messages), grpc::Status::OK);
}

}  // namespace gantry::containerd
