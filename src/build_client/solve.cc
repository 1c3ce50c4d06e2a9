// SPDX-License-Identifier: Apache-2.0
#include "build_client/solve.h"

#include <sys/signalfd.h>

#include <optional>
#include <utility>

#include "base/io.h"
#include "formats/protobuf_wire.h"
#include "wire/grpc_connection.h"

namespace gantry::build_client {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr const char* kSolve = "/moby.buildkit.v1.Control/Solve";
constexpr const char* kStatus = "/moby.buildkit.v1.Control/Status";

class Run {
 public:
  explicit Run(SolveCall& call) : call_(call) {}

  Result<SolveEnd> Go() {
    auto control = TRY(wire::GrpcConnection::Connect(call_.loop, std::move(call_.control.socket),
                                                     call_.control.received));
    BeginSolve(*control);
    BeginStatus(*control);
    if (call_.signals.valid()) {
      TRY(call_.loop.Watch(call_.signals, EPOLLIN, [this](uint32_t) { TakeSignal(); }));
    }
    Tick();
    while ((!solved_ || !told_) && !given_up_) {
      TRY(call_.loop.RunOnce(std::chrono::milliseconds(-1)));
    }
    call_.loop.CancelTimer(timer_);
    if (call_.signals.valid()) call_.loop.Unwatch(call_.signals);
    call_.display.End(call_.graph);
    if (given_up_) return MakeError(ErrorKind::kCancelled, "context canceled");
    if (!solved_->ok()) {
      TRY_WITH(call_.graph.TakePlaces(solve_->Value("grpc-status-details-bin")),
               "{}: reading where it comes from", solved_->error().message());
      return solved_->error();
    }
    auto response = TRY(formats::ProtoDecode<api::SolveResponse>(answer_));
    return SolveEnd{std::move(response.ExporterResponse), call_.session.bytes_sent()};
  }

 private:
  void BeginSolve(wire::GrpcConnection& control) {
    solve_ = control.Call(kSolve, {});
    solve_->on_message = [this](std::string_view message) { answer_ = message; };
    solve_->on_end = [this](const Result<>& status) { solved_ = status; };
    solve_->Send(formats::ProtoEncode(call_.request));
    solve_->EndSends();
  }

  void BeginStatus(wire::GrpcConnection& control) {
    api::StatusRequest request;
    request.Ref = call_.request.Ref;
    status_ = control.Call(kStatus, {});
    status_->on_message = [this](std::string_view message) {
      auto update = formats::ProtoDecode<api::StatusResponse>(message);
      if (!update.ok()) return;
      call_.graph.Take(*update);
      call_.display.Take(call_.graph, *update);
    };
    // What became of the build is Solve's to say.
    status_->on_end = [this](const Result<>&) { told_ = true; };
    status_->Send(formats::ProtoEncode(request));
    status_->EndSends();
  }

  void Tick() {
    call_.display.Tick(call_.graph);
    timer_ = call_.loop.After(kTick, [this] { Tick(); });
  }

  void TakeSignal() {
    signalfd_siginfo info{};
    if (!ReadExactly(call_.signals, &info, sizeof info).ok()) return;
    if (std::exchange(cancelled_, true)) {
      given_up_ = true;
      return;
    }
    solve_->Cancel();
  }

  SolveCall& call_;
  std::shared_ptr<wire::GrpcCall> solve_, status_;
  std::string answer_;
  std::optional<Result<>> solved_;
  bool told_ = false;
  bool cancelled_ = false;
  bool given_up_ = false;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace

Result<SolveEnd> Solve(SolveCall call) { return Run(call).Go(); }

Result<> CallForStream(Upgraded control, const std::string& method, const std::string& request,
                       const std::function<Result<>(std::string_view message)>& take) {
  auto loop = TRY(EventLoop::Create());
  auto connection =
      TRY(wire::GrpcConnection::Connect(*loop, std::move(control.socket), control.received));
  std::optional<Result<>> ended;
  Result<> taken;
  auto call = connection->Call(method, {});
  call->on_message = [&](std::string_view message) {
    if (taken.ok()) taken = take(message);
  };
  call->on_end = [&](const Result<>& status) { ended = status; };
  call->Send(request);
  call->EndSends();
  while (!ended && taken.ok()) TRY(loop->RunOnce(std::chrono::milliseconds(-1)));
  TRY(taken);
  return *ended;
}

Result<std::string> CallOnce(Upgraded control, const std::string& method,
                             const std::string& request) {
  std::string answer;
  TRY(CallForStream(std::move(control), method, request, [&](std::string_view message) -> Result<> {
    answer = message;
    return {};
  }));
  return answer;
}

}  // namespace gantry::build_client
