// SPDX-License-Identifier: Apache-2.0
#include "containerd/event_listener.h"

#include <unistd.h>

#include <future>

#include "base/log.h"
#include "containerd/event_exchange.h"
#include "containerd/services/events/ttrpc/v1/events.pb.h"
#include "wire/listener.h"
#include "wire/ttrpc.h"

namespace gantry::containerd {
namespace {

namespace ttrpc_events_api = ::containerd::services::events::ttrpc::v1;

Result<std::string> Handle(EventExchange* events, const wire::TtrpcCall& call) {
  if (call.service() != "containerd.services.events.ttrpc.v1.Events" ||
      call.method() != "Forward") {
    return Unimplemented("unknown method '{}/{}'", call.service(), call.method());
  }
  ttrpc_events_api::ForwardRequest request;
  if (!request.ParseFromString(call.payload())) {
    return InvalidArgument("reading a forwarded event: not a ForwardRequest");
  }
  TRY(events->ForwardOnce(std::move(*request.mutable_envelope())));
  return std::string();
}

}  // namespace

struct EventListener::State {
  std::unique_ptr<wire::TtrpcServer> server;
};

EventListener::EventListener(EventLoop* loop, std::shared_ptr<State> state, std::string path)
    : loop_(loop), state_(std::move(state)), path_(std::move(path)) {}

Result<std::unique_ptr<EventListener>> EventListener::Start(const std::string& path,
                                                            EventLoop* loop,
                                                            EventExchange* events) {
  UniqueFd listener = TRY(wire::OpenListener("unix://" + path, ""));
  auto state = std::make_shared<State>();
  std::promise<Result<>> started;
  auto future = started.get_future();
  loop->Post([&] {
    auto server = wire::TtrpcServer::Create(
        loop, std::move(listener),
        [events](const wire::TtrpcCall& call) { call.Reply(Handle(events, call)); });
    if (server.ok()) state->server = *std::move(server);
    started.set_value(server.ok() ? Result<>() : Result<>(server.error()));
  });
  TRY(future.get());
  return std::unique_ptr<EventListener>(new EventListener(loop, std::move(state), path));
}

EventListener::~EventListener() {
  std::promise<void> stopped;
  loop_->Post([&] {
    state_->server.reset();
    stopped.set_value();
  });
  stopped.get_future().get();
  ::unlink(path_.c_str());
}

}  // namespace gantry::containerd
