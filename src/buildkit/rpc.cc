// SPDX-License-Identifier: Apache-2.0
#include "buildkit/rpc.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "google/rpc/status.pb.h"

namespace gantry::buildkit {
namespace {

// In base64 it is below the 64 KiB that a header of HTTP/2 libraries may have.
constexpr size_t kMostDetailBytes = 44'000;

struct Pair {
  ErrorKind kind;
  grpc::StatusCode code;
};
// The first of a code is what it means coming back.
constexpr Pair kCodes[] = {
    {ErrorKind::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
    {ErrorKind::kNotFound, grpc::StatusCode::NOT_FOUND},
    {ErrorKind::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
    {ErrorKind::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
    {ErrorKind::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
    {ErrorKind::kUnavailable, grpc::StatusCode::UNAVAILABLE},
    {ErrorKind::kCancelled, grpc::StatusCode::CANCELLED},
    {ErrorKind::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
    {ErrorKind::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
    {ErrorKind::kInternal, grpc::StatusCode::INTERNAL},
};

}  // namespace

grpc::Status ToStatus(const Error& error, const ErrorDetails& details) {
  auto found = std::find_if(std::begin(kCodes), std::end(kCodes),
                            [&](const Pair& pair) { return pair.kind == error.kind(); });
  auto code = found == std::end(kCodes) ? grpc::StatusCode::UNKNOWN : found->code;
  if (details.empty()) return {code, error.message()};
  google::rpc::Status whole;
  whole.set_code(code);
  whole.set_message(error.message());
  *whole.mutable_details() = details;
  std::string text = whole.SerializeAsString();
  // It travels as one header: clients take none that is longer.
  if (text.size() > kMostDetailBytes) return {code, error.message()};
  return {code, error.message(), std::move(text)};
}

Result<> ToResult(const grpc::Status& status) {
  if (status.ok()) return {};
  auto found = std::find_if(std::begin(kCodes), std::end(kCodes),
                            [&](const Pair& pair) { return pair.code == status.error_code(); });
  ErrorKind kind = found == std::end(kCodes) ? ErrorKind::kUnknown : found->kind;
  return MakeError(kind, "{}", status.error_message());
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

CancelWith::CancelWith(grpc::ClientContext& context, const StopToken& stop)
    : end_(*StopSource::Create()) {
  watch_ = std::thread([&context, stop, end = end_.token()] {
    pollfd fds[] = {{stop.fd().get(), POLLIN, 0}, {end.fd().get(), POLLIN, 0}};
    while (::poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    if (fds[0].revents != 0) context.TryCancel();
  });
}

CancelWith::~CancelWith() {
  end_.RequestStop();
  watch_.join();
}

grpc::ServerUnaryReactor* WorkCall::Start(wire::WorkerPool& workers, Work work) {
  Result<StopSource> stop = StopSource::Create();
  if (!stop.ok()) {
    auto* failed = new WorkCall(*StopSource::Create());
    failed->Finish(ToStatus(stop.error()));
    return failed;
  }
  auto* call = new WorkCall(*std::move(stop));
  workers.Run([call, token = call->stop_.token(), work = std::move(work)] {
    ErrorDetails details;
    Result<> done = work(token, &details);
    call->Finish(done.ok() ? grpc::Status::OK : ToStatus(done.error(), details));
  });
  return call;
}

}  // namespace gantry::buildkit
