// SPDX-License-Identifier: Apache-2.0
//
// What the services of this folder share about gRPC. Pulls its headers in.
#pragma once

#include <google/protobuf/any.pb.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/stop_token.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {

// What a status has besides its message (source_places.h).
using ErrorDetails = google::protobuf::RepeatedPtrField<google::protobuf::Any>;

grpc::Status ToStatus(const Error& error, const ErrorDetails& details = {});
Result<> ToResult(const grpc::Status& status);

bool IsAscii(std::string_view text);

// While it lives, a stop cancels the call.
class CancelWith {
 public:
  CancelWith(grpc::ClientContext& context, const StopToken& stop);
  ~CancelWith();
  CancelWith(const CancelWith&) = delete;
  CancelWith& operator=(const CancelWith&) = delete;

 private:
  StopSource end_;
  std::thread watch_;
};

// A unary call whose work runs on a worker; a client that goes stops it. Deletes itself.
class WorkCall : public grpc::ServerUnaryReactor {
 public:
  using Work = std::function<Result<>(const StopToken& stop, ErrorDetails* details)>;
  static grpc::ServerUnaryReactor* Start(wire::WorkerPool& workers, Work work);
  void OnCancel() override { stop_.RequestStop(); }
  void OnDone() override { delete this; }

 private:
  explicit WorkCall(StopSource stop) : stop_(std::move(stop)) {}
  StopSource stop_;
};

}  // namespace gantry::buildkit
