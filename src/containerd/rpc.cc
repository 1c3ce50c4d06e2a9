// SPDX-License-Identifier: Apache-2.0
#include "containerd/rpc.h"

#include "containerd/names.h"

namespace gantry::containerd {

namespace {

// Of a header that comes twice the first value counts: a client's context that is made from another
// one sends both, its own before the other's.
std::string FirstHeader(const Context& context, grpc::string_ref key) {
  auto found = context.client_metadata().lower_bound(key);
  if (found == context.client_metadata().end() || found->first != key) return "";
  return std::string(found->second.data(), found->second.size());
}

}  // namespace

Result<Caller> CallerOf(const Context& context) {
  Caller caller{.ns = FirstHeader(context, "containerd-namespace"),
                .lease = FirstHeader(context, "containerd-lease")};
  if (caller.ns.empty()) return FailedPrecondition("namespace is required");
  TRY_WITH(CheckIdentifier(caller.ns), "namespace");
  return caller;
}

grpc::Status ToStatus(const Error& error) {
  return grpc::Status(static_cast<grpc::StatusCode>(error.kind()), error.message());
}

grpc::Status ToStatus(const Result<>& result) {
  return result.ok() ? grpc::Status::OK : ToStatus(result.error());
}

Result<> ToResult(const grpc::Status& status) {
  if (status.ok()) return {};
  return MakeError(static_cast<ErrorKind>(status.error_code()), "{}", status.error_message());
}

google::protobuf::Timestamp ToProto(WallTime time) {
  google::protobuf::Timestamp proto;
  int64_t nanos = UnixNanos(time);
  int64_t seconds = nanos / 1'000'000'000;
  int64_t rest = nanos % 1'000'000'000;
  if (rest < 0) {
    --seconds;
    rest += 1'000'000'000;
  }
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>(rest));
  return proto;
}

WallTime FromProto(const google::protobuf::Timestamp& time) {
  return FromUnixNanos(time.seconds() * 1'000'000'000 + time.nanos());
}

WallTime Now() { return WallClock::now(); }

}  // namespace gantry::containerd
