// SPDX-License-Identifier: Apache-2.0
//
// gantry build over BuildKit's API: the engine's front end builds, and asks back over a session of
// ours for the context, logins, secrets, agents, and places for results.
#include <fcntl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <optional>

#include "base/io.h"
#include "base/output_file.h"
#include "base/random.h"
#include "base/text.h"
#include "build_client/cache_directory.h"
#include "build_client/display.h"
#include "build_client/session.h"
#include "build_client/solve.h"
#include "cmd/gantry/build_connection.h"
#include "cmd/gantry/build_flags.h"
#include "cmd/gantry/build_outputs.h"
#include "cmd/gantry/credentials.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/sha256.h"
#include "cmd/gantry/value_spec.h"
#include "formats/base64.h"

namespace gantry::cli {
namespace {

namespace api = plain::moby::buildkit::v1;
using build_client::Offers;
using build_client::SharedDirectory;

// What the front end asks for by these names.
constexpr const char* kContext = "context";
constexpr const char* kDockerfile = "dockerfile";

Result<std::shared_ptr<SharedDirectory>> Share(BorrowedFd directory) {
  auto shared = std::make_shared<SharedDirectory>();
  shared->root = UniqueFd(::fcntl(directory.get(), F_DUPFD_CLOEXEC, 3));
  if (!shared->root.valid()) return ErrnoError("duplicating a directory's descriptor");
  return shared;
}

Result<> OfferContext(const BuildContext& context, api::SolveRequest* request, Offers* offers) {
  auto& attributes = request->FrontendAttrs;
  if (!context.dockerfile.empty()) attributes["filename"] = context.dockerfile;
  if (!context.remote.empty()) {
    attributes["context"] = context.remote;
    return {};
  }
  // What the engine's history calls the build.
  if (!context.path.empty()) attributes["vcs:localdir:context"] = context.path;
  auto files = context.directory.valid() ? TRY(Share(context.directory))
                                         : std::make_shared<SharedDirectory>();
  offers->directories[kContext] = files;
  offers->directories[kDockerfile] = files;
  if (!context.dockerfile_text) return {};
  auto texts = std::make_shared<SharedDirectory>();
  texts->texts["Dockerfile"] = *context.dockerfile_text;
  if (context.dockerfile_ignored) {
    texts->texts["Dockerfile.dockerignore"] = *context.dockerfile_ignored;
  }
  attributes["filename"] = "Dockerfile";
  offers->directories[kDockerfile] = std::move(texts);
  return {};
}

// "NAME=PATH", "NAME=docker-image://…", "NAME=https://…".
Result<> OfferNamedContext(const std::string& text, api::SolveRequest* request, Offers* offers) {
  size_t equals = text.find('=');
  std::string name = text.substr(0, equals);
  if (equals == std::string::npos || name.empty() || equals + 1 == text.size()) {
    return InvalidArgument("invalid build context: {}, expected \"NAME=PATH|IMAGE|URL\"", text);
  }
  std::string value = text.substr(equals + 1);
  if (value.find("://") != std::string::npos) {
    request->FrontendAttrs["context:" + name] = value;
    return {};
  }
  UniqueFd directory =
      TRY_WITH(OpenFile(value, O_RDONLY | O_DIRECTORY), "failed to find build context {}", value);
  offers->directories[name] = TRY(Share(directory));
  request->FrontendAttrs["context:" + name] = "local:" + name;
  return {};
}

std::string JoinedBy(const std::vector<std::string>& parts, char separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

Result<> SetArguments(const BuildFlags& flags, std::map<std::string, std::string>* attributes) {
  Json arguments = BuildArgumentsJson(flags.arguments);
  for (const auto& [name, value] : arguments.members()) {
    if (!value.is_null()) (*attributes)["build-arg:" + name] = value.AsString();
  }
  // https://reproducible-builds.org/specs/source-date-epoch/
  const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
  if (epoch != nullptr) attributes->try_emplace("build-arg:SOURCE_DATE_EPOCH", epoch);
  for (const std::string& label : flags.labels) {
    size_t equals = label.find('=');
    (*attributes)["label:" + label.substr(0, equals)] =
        equals == std::string::npos ? "" : label.substr(equals + 1);
  }
  return {};
}

Result<> SetAttributes(const BuildFlags& flags, api::SolveRequest* request) {
  auto& attributes = request->FrontendAttrs;
  TRY(SetArguments(flags, &attributes));
  auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) attributes[name] = value;
  };
  text("target", flags.target);
  text("platform", Cli::PlatformOr(flags.platform));
  text("cgroup-parent", flags.cgroup_parent);
  text("force-network-mode", flags.network == "default" ? "" : flags.network);
  if (flags.network == "host") request->Entitlements.emplace_back("network.host");
  if (flags.pull) attributes["image-resolve-mode"] = "pull";
  if (flags.no_cache) attributes["no-cache"] = "";
  if (flags.no_cache && !flags.no_cache_stages.empty()) {
    return InvalidArgument("cannot combine \"--no-cache\" and \"--no-cache-filter\"");
  }
  text("no-cache", JoinedBy(flags.no_cache_stages, ','));
  if (flags.shm_size != 0) attributes["shm-size"] = std::to_string(flags.shm_size);
  std::vector<std::string> hosts;
  for (const std::string& host : flags.add_hosts) {
    std::string& line = hosts.emplace_back(TRY(ParseExtraHost(host)));
    line[line.find(':')] = '=';
  }
  text("add-hosts", JoinedBy(hosts, ','));
  std::vector<std::string> limits;
  for (const std::string& limit : flags.ulimits) {
    Json json = TRY(ParseUlimit(limit));
    limits.push_back(fmt::format("{}={}:{}", json["Name"].AsString(), json["Soft"].AsInt(),
                                 json["Hard"].AsInt()));
  }
  text("ulimit", JoinedBy(limits, ','));
  for (const std::string& allowed : flags.allowed) request->Entitlements.push_back(allowed);
  return {};
}

// A cache that is written to a directory of ours, and gets its name in the end.
struct CacheToName {
  std::string directory, tag;
};

std::string TakeTag(api::CacheOptionsEntry* entry) {
  auto tag = entry->Attrs.extract("tag");
  return tag.empty() ? "latest" : tag.mapped();
}

// A directory of ours serves as a store of the session.
Result<std::string> OfferCacheDirectory(const api::CacheOptionsEntry& entry, const char* attribute,
                                        Offers* offers) {
  auto directory = entry.Attrs.find(attribute);
  if (directory == entry.Attrs.end() || directory->second.empty()) {
    return InvalidArgument("a cache of type local needs {}=…", attribute);
  }
  offers->caches["local:" + directory->second] = directory->second;
  return directory->second;
}

Result<std::optional<CacheToName>> OfferCaches(const BuildFlags& flags, api::SolveRequest* request,
                                               Offers* offers) {
  if (!flags.cache_from.empty() || !flags.cache_to.empty()) request->Cache.emplace();
  for (const std::string& from : flags.cache_from) {
    api::CacheOptionsEntry entry = TRY(ParseBuildCache(from));
    if (entry.Type == "local") {
      std::string directory = TRY(OfferCacheDirectory(entry, "src", offers));
      std::string tag = TakeTag(&entry);
      if (!entry.Attrs.contains("digest")) {
        auto digest = build_client::FindCacheManifest(directory, tag);
        // What the first build of all meets.
        if (!digest.ok()) {
          PrintError("WARNING: the cache in '{}' is left out: {}\n", directory,
                     digest.error().message());
          continue;
        }
        entry.Attrs["digest"] = *digest;
      }
    }
    request->Cache->Imports.push_back(std::move(entry));
  }
  std::optional<CacheToName> out;
  for (const std::string& to : flags.cache_to) {
    api::CacheOptionsEntry entry = TRY(ParseBuildCache(to));
    if (entry.Type == "local") {
      if (out) return InvalidArgument("a build has one cache of type local: {}", to);
      std::string directory = TRY(OfferCacheDirectory(entry, "dest", offers));
      TRY(build_client::PrepareCacheDirectory(directory));
      out = CacheToName{std::move(directory), TakeTag(&entry)};
    }
    request->Cache->Exports.push_back(std::move(entry));
  }
  return out;
}

Result<> NameCache(const CacheToName& cache, const build_client::SolveEnd& end) {
  auto manifest = end.response.find("cache.manifest");
  // A build without steps has none.
  if (manifest == end.response.end()) return {};
  Json descriptor = TRY_WITH(Json::Parse(manifest->second), "reading the cache's descriptor");
  return build_client::NameCacheManifest(cache.directory, cache.tag, std::move(descriptor));
}

Result<Offers> MakeOffers(Cli& cli, const BuildFlags& flags) {
  Offers offers;
  for (const std::string& text : flags.secrets) {
    offers.secrets.insert(TRY(ParseBuildSecret(text)));
  }
  for (const std::string& text : flags.agents) offers.agents.insert(TRY(ParseBuildAgent(text)));
  offers.find_login = [&cli](const std::string& registry) -> Result<build_client::Login> {
    // What BuildKit calls Docker Hub.
    bool hub = registry == "registry-1.docker.io" || registry == kHubKey;
    Credential found =
        TRY(Credentials(TRY(cli.OpenConfig())).Get(hub ? std::string(kHubKey) : registry));
    if (!found.identity_token.empty()) return build_client::Login{"", found.identity_token};
    return build_client::Login{found.user, found.password};
  };
  return offers;
}

// The engine keeps what it has of a directory under it, so that only changes are sent again.
std::string SharedKey(const BuildContext& context) {
  if (context.path.empty()) return "";
  char host[256] = "";
  (void)::gethostname(host, sizeof host - 1);
  return Sha256Hex(fmt::format("{}\n{}\n{}", host, ::getuid(), context.path));
}

Result<UniqueFd> CatchSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return ErrnoError("blocking signals");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd.valid()) return ErrnoError("making a signal descriptor");
  return fd;
}

std::string ProgressOf(const BuildFlags& flags) {
  if (flags.quiet) return "quiet";
  const char* variable = std::getenv("BUILDKIT_PROGRESS");
  return !flags.progress.empty() ? flags.progress : variable != nullptr ? variable : "auto";
}

// What the front end is asked for instead of a build.
struct BuildCall {
  std::string request;  // "" for a build
  bool json = false;
  bool ignores_status = false;
};

Result<BuildCall> ParseBuildCall(const BuildFlags& flags) {
  static constexpr std::pair<std::string_view, std::string_view> kKnown[] = {
      {"build", ""},
      {"check", "frontend.lint"},
      {"lint", "frontend.lint"},
      {"outline", "frontend.outline"},
      {"targets", "frontend.targets"}};
  std::vector<std::string> words = SplitWords(flags.call, ",");
  if (flags.check && !words.empty() && words[0] != "check") {
    return InvalidArgument("cannot combine \"--check\" and \"--call={}\"", flags.call);
  }
  std::string name = flags.check ? "check" : words.empty() ? "build" : words[0];
  auto known = std::find_if(std::begin(kKnown), std::end(kKnown),
                            [&](const auto& one) { return one.first == name; });
  if (known == std::end(kKnown)) {
    return InvalidArgument("invalid value \"{}\" for --call (build, check, outline, targets)",
                           name);
  }
  BuildCall call;
  call.request = known->second;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& option = words[i];
    if (option == "format=json" || option == "format=text") {
      call.json = option.ends_with("json");
    } else if (option == "ignorestatus=true" || option == "ignorestatus=false") {
      call.ignores_status = option.ends_with("true");
    } else {
      return InvalidArgument("invalid option \"{}\" of --call", option);
    }
  }
  return call;
}

// The exit code: 1 where something was found.
Result<int> PrintAnswer(const BuildCall& call, const build_client::SolveEnd& end) {
  auto get = [&](const char* key) {
    auto found = end.response.find(key);
    return found == end.response.end() ? std::string() : found->second;
  };
  std::string json = get("result.json");
  if (json.empty()) return Unimplemented("the engine's front end does not answer {}", call.request);
  int code = !call.ignores_status && get("result.statuscode") == "1" ? 1 : 0;
  if (call.json) {
    Print("{}\n", json);
    return code;
  }
  if (call.request != "frontend.lint") {
    Print("{}", get("result.txt"));
    return code;
  }
  Json result = TRY_WITH(Json::Parse(json), "reading the answer to {}", call.request);
  size_t count = result["warnings"].size();
  if (count > 0) {
    Print("Check complete, {} warning{} been found!\n{}", count, count == 1 ? " has" : "s have",
          get("result.txt"));
  }
  const std::string& error = result["buildError"]["message"].AsString();
  if (!error.empty()) return MakeError(ErrorKind::kInvalidArgument, "{}", error);
  if (count == 0) Print("Check complete, no warnings found.\n");
  return code;
}

std::string IdOf(const build_client::SolveEnd& end) {
  for (const char* key : {"containerimage.config.digest", "containerimage.digest"}) {
    auto found = end.response.find(key);
    if (found != end.response.end()) return found->second;
  }
  return "";
}

Result<> WriteMetadata(const std::string& path, const std::string& ref,
                       const build_client::SolveEnd& end) {
  Json json = Json::MakeObject();
  for (const auto& [key, value] : end.response) {
    // Descriptors come as base64 of JSON.
    auto decoded = key.ends_with(".descriptor") ? formats::DecodeBase64(value) : value;
    auto object = decoded.ok() && decoded->starts_with("{") ? Json::Parse(*decoded)
                                                            : Result<Json>(Json(value));
    json.Set(key, object.ok() ? *std::move(object) : Json(value));
  }
  json.Set("buildx.build.ref", ref);
  OutputFile file = TRY(OutputFile::Create(path, 0644));
  TRY_WITH(WriteAll(file.fd(), json.Dump(2)), "file '{}'", path);
  return file.Finish();
}

}  // namespace

Result<int> BuildByBuildKit(Cli& cli, const BuildFlags& flags, const BuildContext& context) {
  const char* no_color = std::getenv("NO_COLOR");
  build_client::DisplayOptions shown{ProgressOf(flags), BorrowedFd(STDERR_FILENO),
                                     no_color == nullptr || *no_color == '\0'};
  auto display = TRY(build_client::MakeDisplay(shown));
  Offers offers = TRY(MakeOffers(cli, flags));
  api::SolveRequest request;
  request.Ref = RandomHex(13);
  request.Session = RandomHex(13);
  request.Frontend = "dockerfile.v0";
  TRY(OfferContext(context, &request, &offers));
  for (const std::string& text : flags.contexts) TRY(OfferNamedContext(text, &request, &offers));
  TRY(SetAttributes(flags, &request));
  auto cache = TRY(OfferCaches(flags, &request, &offers));
  BuildCall call = TRY(ParseBuildCall(flags));
  BuildOutputs outputs;
  if (call.request.empty()) {
    outputs = TRY(ParseBuildOutputs(flags));
  } else {
    request.FrontendAttrs["requestid"] = call.request;
    request.Internal = true;
  }
  request.Exporters = outputs.exporters;
  // Engines before several exporters know the one.
  if (request.Exporters.size() == 1) {
    request.ExporterDeprecated = request.Exporters[0].Type;
    request.ExporterAttrsDeprecated = request.Exporters[0].Attrs;
  }
  offers.results = outputs.targets;

  Api* engine = TRY(cli.Connect());
  build_client::Upgraded control = TRY(ConnectBuildKit(engine));
  auto loop = TRY(EventLoop::Create());
  build_client::Session session(*loop, std::move(offers));
  build_client::Upgraded served = TRY(ConnectBuildSession(
      engine, {request.Session, context.path, SharedKey(context), session.Methods()}));
  TRY(session.Begin(std::move(served.socket), served.received));
  UniqueFd signals = TRY(CatchSignals());
  build_client::Graph graph;
  std::string ref = request.Ref;
  auto solved = build_client::Solve(
      {*loop, std::move(control), std::move(request), *display, graph, session, signals});
  if (!solved.ok()) {
    if (shown.how != "rawjson") PrintErrorText(graph.WarningText() + graph.FailureText());
    PrintError("ERROR: failed to build: failed to solve: {}\n", solved.error().message());
    return 1;
  }
  if (!call.request.empty()) return PrintAnswer(call, *solved);
  if (shown.how != "rawjson" && shown.how != "quiet") PrintErrorText(graph.WarningText());
  if (cache) TRY(NameCache(*cache, *solved));
  if (!flags.iid_file.empty()) TRY(CreateFile(flags.iid_file, IdOf(*solved), 0644));
  if (!flags.metadata_file.empty()) TRY(WriteMetadata(flags.metadata_file, ref, *solved));
  if (flags.quiet) Print("{}\n", IdOf(*solved));
  return 0;
}

}  // namespace gantry::cli
