// SPDX-License-Identifier: Apache-2.0
//
// What the files of this folder share: the gRPC stubs and the form of a call. Not for others; it
// pulls gRPC's headers in.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "containerd/services/content/v1/content.grpc.pb.h"
#include "containerd/services/events/v1/events.grpc.pb.h"
#include "containerd/services/images/v1/images.grpc.pb.h"
#include "containerd/services/introspection/v1/introspection.grpc.pb.h"
#include "containerd/services/namespaces/v1/namespace.grpc.pb.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "containerd/services/streaming/v1/streaming.grpc.pb.h"
#include "containerd/services/tasks/v1/tasks.grpc.pb.h"
#include "containerd/services/transfer/v1/transfer.grpc.pb.h"
#include "containerd/services/version/v1/version.grpc.pb.h"

namespace gantry::client {

struct Containerd::Stubs {
  Stubs(std::shared_ptr<grpc::Channel> on, std::string name_space_name);

  std::string name_space;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<containerd::services::containers::v1::Containers::Stub> containers;
  std::unique_ptr<containerd::services::content::v1::Content::Stub> content;
  std::unique_ptr<containerd::services::events::v1::Events::Stub> events;
  std::unique_ptr<containerd::services::images::v1::Images::Stub> images;
  std::unique_ptr<containerd::services::introspection::v1::Introspection::Stub> introspection;
  std::unique_ptr<containerd::services::namespaces::v1::Namespaces::Stub> namespaces;
  std::unique_ptr<containerd::services::snapshots::v1::Snapshots::Stub> snapshots;
  std::unique_ptr<containerd::services::streaming::v1::Streaming::Stub> streaming;
  std::unique_ptr<containerd::services::tasks::v1::Tasks::Stub> tasks;
  std::unique_ptr<containerd::services::transfer::v1::Transfer::Stub> transfer;
  std::unique_ptr<containerd::services::version::v1::Version::Stub> version;

  // Sets the namespace header, and a deadline when `timeout` is positive. A call that finds the
  // daemon away waits for it: whoever restarts it is quick. One that was under way fails.
  void Prepare(grpc::ClientContext* context, std::chrono::milliseconds timeout) const;
};

// Bounds of unary calls: what only reads or writes records, and what starts or stops processes.
inline constexpr std::chrono::milliseconds kQuick = std::chrono::seconds(30);
inline constexpr std::chrono::milliseconds kSlow = std::chrono::seconds(120);

Result<> ToResult(const grpc::Status& status);
// What a list is filtered by that shall have this label with this value (blobs.cc).
std::string LabelFilter(std::string_view label, std::string_view value);
WallTime FromProto(const google::protobuf::Timestamp& time);

// One unary call: Call(*stubs_, kQuick, stubs_->tasks.get(), &Stub::Kill, request, &response).
template <typename Stub, typename Method, typename Request, typename Response>
Result<> Call(const Containerd::Stubs& stubs, std::chrono::milliseconds timeout, Stub* stub,
              Method method, const Request& request, Response* response) {
  grpc::ClientContext context;
  stubs.Prepare(&context, timeout);
  return ToResult((stub->*method)(&context, request, response));
}

}  // namespace gantry::client
