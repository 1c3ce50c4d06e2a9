// SPDX-License-Identifier: Apache-2.0
#include "engine/api/build_handlers.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/stop_token.h"
#include "build/cache_space.h"
#include "engine/api/build_request.h"
#include "engine/api/filters.h"
#include "engine/api/progress_stream.h"
#include "engine/images.h"
#include "formats/base64.h"
#include "formats/human_units.h"
#include "formats/reference.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Stops a build whose client has hung up.
class ClientWatch {
 public:
  static Result<std::unique_ptr<ClientWatch>> Start(Call& call, StopSource& build) {
    StopSource end = TRY(StopSource::Create());
    return std::unique_ptr<ClientWatch>(new ClientWatch(call, build, std::move(end)));
  }
  ~ClientWatch() {
    end_.RequestStop();
    watching_.get();
  }

 private:
  ClientWatch(Call& call, StopSource& build, StopSource end)
      : socket_(call.exchange.socket()), build_(build), end_(std::move(end)) {
    watching_ = call.parts.workers.Async([this] { Watch(); });
  }

  void Watch() {
    StopToken ended = end_.token();
    wire::WorkerPool::Blocked blocked;
    pollfd fds[] = {{socket_.get(), POLLRDHUP, 0}, {ended.fd().get(), POLLIN, 0}};
    while (::poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    if (fds[0].revents != 0) build_.RequestStop();
  }

  BorrowedFd socket_;
  StopSource& build_;
  StopSource end_;
  std::future<void> watching_;
};

Json ImageLine(const std::string& id) {
  return Json::MakeObject({{"aux", Json::MakeObject({{"ID", id}})}});
}
Json StreamLine(std::string_view text) { return Json::MakeObject({{"stream", text}}); }

// Progress is BuildKit's own messages, each in a line of the stream.
Result<> BuildByBuildKit(Call& call) {
  constexpr std::string_view kUpload = "upload-request:";
  std::string ref(call.query().Get("buildid"));
  if (ref.starts_with(kUpload)) {
    TRY(call.parts.buildkit.Upload(ref.substr(kUpload.size()), call.exchange.body()));
    return RespondEmpty(call, 200);
  }
  buildkit::HttpBuild wanted = TRY(ReadHttpBuild(call));
  ProgressStream stream(call, ProgressStream::Detail::kNone);
  StopSource stop = TRY(StopSource::Create());
  auto watch = TRY(ClientWatch::Start(call, stop));
  auto tell = [&](const std::string& update) {
    Result<> sent = stream.Send(
        Json::MakeObject({{"id", "moby.buildkit.trace"}, {"aux", formats::EncodeBase64(update)}}));
    // A client that is gone ends the build by its watch.
    if (!sent.ok()) log::Debug("telling progress: {}", sent.error().message());
  };
  Result<std::string> id = call.parts.buildkit.Build(std::move(wanted), tell, stop.token());
  if (!id.ok()) return stream.Fail(std::move(id).error());
  if (!id->empty()) {
    if (call.query().GetBool("q")) TRY(stream.Send(StreamLine(*id + "\n")));
    TRY(stream.Send(
        Json::MakeObject({{"id", "moby.image.id"}, {"aux", Json::MakeObject({{"ID", *id}})}})));
  }
  return stream.Finish();
}

}  // namespace

Result<> BuildImage(Call& call) {
  if (IsBuildKit(call)) return BuildByBuildKit(call);
  build::BuildRequest request = TRY(ReadBuildRequest(call));
  bool quiet = call.query().GetBool("q");
  ProgressStream stream(call,
                        quiet ? ProgressStream::Detail::kNone : ProgressStream::Detail::kBars);
  StopSource stop = TRY(StopSource::Create());
  auto watch = TRY(ClientWatch::Start(call, stop));
  // Of a quiet build, told when it fails.
  std::string untold;
  build::BuildOutput output;
  output.text = [&](std::string_view text) -> Result<> {
    if (!quiet) return stream.Send(StreamLine(text));
    untold += text;
    return {};
  };
  if (!quiet) output.stage = [&](const std::string& id) { return stream.Send(ImageLine(id)); };
  // Standard error in red, as docker has it.
  output.command = [&](size_t, bool to_stderr, std::string_view text) {
    return output.text(to_stderr ? fmt::format("\x1b[91m{}\x1b[0m", text) : std::string(text));
  };
  output.pull = [&](size_t, const std::string& name) {
    Result<formats::Reference> reference = formats::ParseReference(name);
    if (!quiet && reference.ok()) {
      std::string tag = formats::WithDefaultTag(*reference).tag;
      Result<> sent = stream.Send(
          Json::MakeObject({{"status", "Pulling from " + reference->path}, {"id", tag}}));
      if (!sent.ok()) log::Debug("telling progress: {}", sent.error().message());
    }
    return stream.callback();
  };
  std::vector<std::string> names = request.names;
  Result<build::BuildEnd> built =
      call.parts.builds.Run(std::string(call.query().Get("buildid")), std::move(request),
                            call.exchange.body(), output, stop);
  bool failed = !built.ok() || !built->failure.empty();
  if (failed && !untold.empty()) TRY(stream.Send(StreamLine(untold)));
  if (!built.ok()) return stream.Fail(std::move(built).error());
  if (failed) return stream.Fail(FailedPrecondition("{}", built->failure), built->exit_code);
  const std::string& id = built->image_id;
  if (quiet) {
    TRY(stream.Send(StreamLine(id + "\n")));
    return stream.Finish();
  }
  TRY(stream.Send(ImageLine(id)));
  std::string digits = id.substr(id.find(':') + 1, 12);
  TRY(stream.Send(StreamLine(fmt::format("Successfully built {}\n", digits))));
  for (const std::string& name : names) {
    TRY(stream.Send(StreamLine(fmt::format("Successfully tagged {}\n", FamiliarName(name)))));
  }
  return stream.Finish();
}

namespace {

constexpr int kSpaceMinor = 48;  // since when a prune may name more than what it keeps

Result<build::SpaceLimits> ReadSpaceLimits(const Call& call) {
  build::SpaceLimits limits;
  limits.reserved = TRY(IntParameter(call, "keep-storage", 0));
  if (call.minor < kSpaceMinor) return limits;
  int64_t reserved = TRY(IntParameter(call, "reserved-space", 0));
  if (reserved != 0) limits.reserved = reserved;
  limits.most = TRY(IntParameter(call, "max-used-space", 0));
  limits.free_disk = TRY(IntParameter(call, "min-free-space", 0));
  return limits;
}

}  // namespace

Result<> PruneBuildCache(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  // Others are passed over, as by docker: `system prune` hands on what it has for other things.
  std::optional<WallTime> before;
  for (const char* key : {"until", "unused-for"}) {
    for (const std::string& text : filters.Values(key)) {
      before = WallClock::now() - TRY_WITH(formats::ParseGoDuration(text), "filter '{}'", key);
    }
  }
  auto kept = TRY(build::KeysToKeep(call.parts.builds.cache().List(), TRY(ReadSpaceLimits(call)),
                                    call.parts.data_root));
  auto wanted = [&](const build::CachedStep& step) {
    return (!before || step.used_at < *before) && !kept.contains(step.key) &&
           filters.MatchPrefix("id", step.key) && filters.MatchExact("parent", step.parent) &&
           filters.MatchExact("type", step.type()) &&
           filters.MatchExact("description", step.description);
  };
  build::Cache::Pruned pruned = TRY(call.parts.builds.cache().Prune(wanted));
  return RespondJson(
      call, 200,
      Json::MakeObject({{"CachesDeleted", pruned.keys.empty() ? Json() : Json(pruned.keys)},
                        {"SpaceReclaimed", pruned.bytes}}));
}

Result<> CancelBuild(Call& call) {
  std::string id(call.query().Get("id"));
  if (id.empty()) return InvalidArgument("build ID not provided");
  call.parts.builds.Cancel(id);
  return RespondEmpty(call, 200);
}

namespace {

// The connection speaks HTTP/2 from here on, without TLS of its own.
Result<UniqueFd> TakeHttp2(Call& call) {
  if (call.exchange.request().headers.Get("Upgrade").empty()) {
    return InvalidArgument("no upgrade proto in request");
  }
  if (!call.exchange.request().WantsUpgrade("h2c")) {
    return InvalidArgument("protocol {} not supported",
                           call.exchange.request().headers.Get("Upgrade"));
  }
  wire::HttpHeaders& headers = call.exchange.headers();
  headers.Set("Connection", "Upgrade");
  headers.Set("Upgrade", "h2c");
  wire::Exchange::Raw raw = TRY(call.exchange.Hijack(101));
  if (!raw.received.empty()) return InvalidArgument("bytes before the answer to the upgrade");
  return std::move(raw.socket);
}

}  // namespace

Result<> ServeBuildKit(Call& call) { return call.parts.buildkit.Serve(TRY(TakeHttp2(call))); }

Result<> ServeBuildSession(Call& call) {
  const wire::HttpHeaders& headers = call.exchange.request().headers;
  buildkit::SessionHead head;
  head.id = headers.Get("X-Docker-Expose-Session-Uuid");
  head.shared_key = headers.Get("X-Docker-Expose-Session-Sharedkey");
  // An error can only be told as long as the connection is HTTP/1.
  if (head.id.empty() && call.exchange.request().WantsUpgrade("h2c")) {
    return InvalidArgument("a session needs an id");
  }
  for (const wire::HttpHeaders::Field& field : headers.fields()) {
    bool is_method = wire::EqualsIgnoreCase(field.name, "X-Docker-Expose-Session-Grpc-Method");
    if (is_method) head.methods.insert(field.value);
  }
  return call.parts.buildkit.AddSession(std::move(head), TRY(TakeHttp2(call)));
}

}  // namespace gantry::engine::api
