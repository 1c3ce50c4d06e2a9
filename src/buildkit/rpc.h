// SPDX-License-Identifier: Apache-2.0
//
// What the services of this folder share about gRPC. Pulls its headers in.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/stop_token.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {

grpc::Status ToStatus(const Error& error);
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
  using Work = std::function<Result<>(const StopToken& stop)>;
  static grpc::ServerUnaryReactor* Start(wire::WorkerPool& workers, Work work);
  void OnCancel() override { stop_.RequestStop(); }
  void OnDone() override { delete this; }

 private:
  explicit WorkCall(StopSource stop) : stop_(std::move(stop)) {}
  StopSource stop_;
};

}  // namespace gantry::buildkit
