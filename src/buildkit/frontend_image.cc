// SPDX-License-Identifier: Apache-2.0
#include "buildkit/frontend_image.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/text.h"
#include "build/attach_frames.h"
#include "build/stage_state.h"
#include "build/step_container.h"
#include "buildkit/bridge_service.h"
#include "buildkit/control_service.h"
#include "buildkit/image_lookup.h"
#include "buildkit/message_guard.h"
#include "buildkit/rpc.h"
#include "buildkit/stdio_relay.h"
#include "engine/attach.h"
#include "engine/image_index.h"
#include "engine/step_inputs.h"
#include "formats/json.h"
#include "formats/reference.h"

namespace gantry::buildkit {
namespace {

using build::StepContainer;
using formats::Json;

// Of front ends that run each other: each of them is a container.
constexpr int kDeepestFrontend = 8;
// Calls of one front end at a time.
constexpr int kMostCalls = 100;
constexpr int kMostMessageBytes = 16 << 20;
// Of messages that it has begun to send.
constexpr uint64_t kMostUnfinishedBytes = uint64_t{64} << 20;
// How long it may run on when it has returned its result.
constexpr std::chrono::seconds kReturnedBound{30};
// Of its variables, as the kernel has it for one (MAX_ARG_STRLEN of execve(2)).
constexpr size_t kMostVariableBytes = size_t{128} << 10;

constexpr const char* kCapsLabel = "moby.buildkit.frontend.caps";
constexpr const char* kNoNetworkLabel = "moby.buildkit.frontend.network.none";
constexpr const char* kInputsCap = "moby.buildkit.frontend.inputs";

// "a+b,c" of a label or of "frontend.caps": a, c.
std::set<std::string> ReadCaps(const std::string& text) {
  std::set<std::string> out;
  for (const std::string& word : SplitWords(text, ",")) out.insert(word.substr(0, word.find('+')));
  out.erase("");
  return out;
}

// What the client needs of the front end is in its image's label.
Result<> CheckCaps(const FrontendImage& frontend, const std::string& name, const Json& labels) {
  std::set<std::string> has = ReadCaps(labels[kCapsLabel].AsString());
  auto asked = frontend.options.find("frontend.caps");
  std::set<std::string> needs =
      asked == frontend.options.end() ? std::set<std::string>() : ReadCaps(asked->second);
  if (!frontend.inputs.empty()) needs.insert(kInputsCap);
  for (const std::string& one : needs) {
    if (!has.contains(one)) {
      return Unimplemented("the front end {} does not have the capability {}", name, one);
    }
  }
  return {};
}

// This builder as the front end's library reads it from its environment.
std::string WorkersText() {
  moby::buildkit::v1::types::WorkerRecord record;
  Describe(&record);
  Json labels = Json::MakeObject();
  for (const auto& [key, value] : record.labels()) labels.Set(key, value);
  Json platforms = Json::MakeArray();
  for (const pb::Platform& platform : record.platforms()) {
    Json one = Json::MakeObject({{"architecture", platform.architecture()}, {"os", platform.os()}});
    if (!platform.variant().empty()) one.Set("variant", platform.variant());
    platforms.Append(std::move(one));
  }
  const auto& version = record.buildkitversion();
  Json worker = Json::MakeObject(
      {{"id", record.id()}, {"labels", std::move(labels)}, {"platforms", std::move(platforms)}});
  worker.Set("buildkitVersion", Json::MakeObject({{"package", version.package()},
                                                  {"version", version.version()},
                                                  {"revision", version.revision()}}));
  return Json::MakeArray({std::move(worker)}).Dump();
}

Result<std::vector<std::string>> VariablesFor(const FrontendImage& frontend,
                                              const std::string& session) {
  std::vector<std::string> out;
  for (const auto& [key, value] : frontend.options) {
    out.push_back(fmt::format("BUILDKIT_FRONTEND_OPT_{}={}={}", out.size(), key, value));
    if (out.back().find('\0') != std::string::npos) {
      return InvalidArgument("the front end's option '{}' has a zero byte", key.c_str());
    }
    if (out.back().size() >= kMostVariableBytes) {
      return InvalidArgument("the front end's option '{}' is too large", key.c_str());
    }
  }
  out.push_back("BUILDKIT_SESSION_ID=" + session);
  out.push_back("BUILDKIT_WORKERS=" + WorkersText());
  out.push_back("BUILDKIT_EXPORTEDPRODUCT=gantry");
  return out;
}

// LLBBridge for one front end. Its calls have ended when the object is gone.
class FrontendServer {
 public:
  FrontendServer(Shared& shared, std::shared_ptr<FrontendRun> run)
      : service_(shared, std::move(run)) {}
  ~FrontendServer() {
    if (!server_) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }
  FrontendServer(const FrontendServer&) = delete;
  FrontendServer& operator=(const FrontendServer&) = delete;

  // The other end of its connection.
  Result<UniqueFd> Start() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(kMostMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostCalls);
    server_ = builder.BuildAndStart();
    if (!server_) return Internal("the gRPC server of a front end does not start");
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
      return ErrnoError("making a front end's connection");
    }
    grpc::AddInsecureChannelFromFd(server_.get(), ends[0]);
    return UniqueFd(ends[1]);
  }

 private:
  BridgeService service_;
  std::unique_ptr<grpc::Server> server_;
};

// The image as it is found; nobody removes it meanwhile.
struct Found {
  std::string name;  // in full
  engine::NamedImage image;
  std::optional<engine::ImageHolds::Hold> hold;
};

Result<Found> FindFrontend(Shared& shared, Job& job, const FrontendImage& frontend,
                           const StopToken& stop) {
  std::string name = frontend.options.at("source");
  constexpr std::string_view kScheme = "docker-image://";
  auto other = frontend.options.find("context:" + name);
  if (other != frontend.options.end() && other->second.starts_with(kScheme)) name = other->second;
  if (name.starts_with(kScheme)) name.erase(0, kScheme.size());
  Found found;
  found.name = TRY_WITH(engine::StoreName(name), "reading the front end's name");
  JobImage wanted;
  wanted.name = found.name;
  wanted.hold = [&](const engine::NamedImage& image) -> Result<bool> {
    found.hold.reset();
    auto hold = shared.engine.image_holds().Take(image.documents->id);
    if (!hold || !shared.engine.images().Resolve(found.name).ok()) return false;
    found.hold.emplace(*std::move(hold));
    return true;
  };
  found.image = TRY(FindJobImage(shared, job, wanted, stop));
  TRY(CheckCaps(frontend, found.name, found.image.documents->container_config()["Labels"]));
  return found;
}

Result<StepContainer> MakeContainer(Shared& shared, const Found& found,
                                    const FrontendImage& frontend, const std::string& session) {
  const Json& image = found.image.documents->container_config();
  engine::ContainerConfig config = TRY_WITH(engine::ParseContainerConfig(image),
                                            "reading the image of the front end {}", found.name);
  // BuildKit runs the entry point alone, as root.
  if (config.entrypoint.words.empty()) config.entrypoint = {.set = true, .words = {"/run"}};
  config.cmd = {.set = true, .words = {}};
  config.user.clear();
  config.volumes = {};
  config.exposed_ports = {};
  config.healthcheck = engine::Healthcheck{.test = {"NONE"}};
  config.image = found.image.documents->id;
  config.tty = false;
  config.open_stdin = config.stdin_once = true;
  if (config.working_dir.empty()) config.working_dir = "/";
  engine::HostConfig host;
  host.log_config.type = "none";
  const std::string& none = image["Labels"][kNoNetworkLabel].AsString();
  if (none == "true" || none == "1" || none == "t" || none == "T") host.network_mode = "none";
  auto inputs = std::make_shared<engine::StepInputs>();
  inputs->env = TRY(VariablesFor(frontend, session));
  return StepContainer::Create(
      shared.engine, std::move(config), std::move(host),
      {found.image.documents->top_chain_id, found.image.documents->id, std::move(inputs)});
}

// To the container's end, which comes in any case. kCancelled after a stop.
Result<> RunContainer(Shared& shared, StepContainer& container,
                      const std::shared_ptr<FrontendRun>& run, build::OutputText& errors,
                      const StopToken& stop) {
  FrontendServer server(shared, run);
  UniqueFd peer = TRY(server.Start());
  auto running =
      TRY(container.Start(engine::kAttachStdin | engine::kAttachStdout | engine::kAttachStderr));
  if (!running.streams.valid()) {
    container.KillAndAwait(running);
    return Unavailable("its streams can't be reached");
  }
  MessageGuard guard({.message = kMostMessageBytes, .all = kMostUnfinishedBytes});
  StdioRelay relay(
      running.streams, peer, [&](auto bytes) { return errors.Take(/*to_stderr=*/true, bytes); },
      [&](auto bytes) { return guard.Take(bytes); });
  auto end = relay.Run({stop, run->has_returned(), kReturnedBound});
  if (!end.ok() || *end != StdioRelay::End::kOutput) {
    container.KillAndAwait(running);
    TRY(end);
    if (*end == StdioRelay::End::kLate) {
      return FailedPrecondition("it has returned its result and does not end");
    }
    return FailedPrecondition("its connection broke: what it writes is no gRPC");
  }
  Result<int> awaited = StepContainer::Await(running, stop);
  if (!awaited.ok()) container.KillAndAwait(running);
  int code = TRY(awaited);
  if (code != 0) return FailedPrecondition("it ended with code {}", code);
  return {};
}

}  // namespace

Result<Solved> RunFrontendImage(Shared& shared, const std::shared_ptr<Job>& job,
                                FrontendImage frontend, const StopToken& stop) {
  if (frontend.depth > kDeepestFrontend) {
    return MakeError(ErrorKind::kResourceExhausted, "front ends run each other more than {} deep",
                     kDeepestFrontend);
  }
  auto turn = TRY(job->TakeFrontend());
  Found found = TRY(FindFrontend(shared, *job, frontend, stop));
  auto run = TRY(FrontendRun::Create(job, std::move(frontend.inputs), frontend.depth));
  Result<> ran = InStep(
      job->progress(), "front end docker-image://" + found.name, [&](size_t step) -> Result<> {
        StepContainer container =
            TRY(MakeContainer(shared, found, frontend, job->wanted().session));
        build::OutputText errors([&](bool to_stderr, std::string_view text) -> Result<> {
          job->progress().Log(step, to_stderr, text);
          return {};
        });
        return RunContainer(shared, container, run, errors, stop);
      });
  run->containers().End();
  std::optional<Result<Solved>> result = run->result();
  // Its own error says more than its end.
  if (result && !result->ok()) return *std::move(result);
  TRY_WITH(ran, "front end {}", found.name);
  if (!result) return FailedPrecondition("front end {} ended without a result", found.name);
  return *std::move(result);
}

}  // namespace gantry::buildkit
