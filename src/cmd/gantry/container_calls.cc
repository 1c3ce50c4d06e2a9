// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/container_calls.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/io.h"
#include "base/undo.h"
#include "cmd/gantry/api_socket.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "cmd/gantry/proxies.h"
#include "formats/reference.h"
#include "formats/resolv_conf.h"
#include "kernel/terminal.h"
#include "oci/platform.h"

namespace gantry::cli {

std::string ContainerPath(std::string_view name, std::string_view suffix) {
  return fmt::format("/containers/{}{}", wire::PercentEncode(name), suffix);
}

namespace {

// An empty tag pulls them all.
Result<> Pull(Cli& cli, const formats::Reference& reference, const std::string& tag,
              const std::string& platform, bool quiet, BorrowedFd out) {
  Api* api = TRY(cli.Connect());
  ApiRequest request;
  request.method = "POST";
  request.path = "/images/create";
  request.query.Add("fromImage", reference.FamiliarRepository());
  if (!tag.empty()) request.query.Add("tag", tag);
  std::string wanted = Cli::PlatformOr(platform);
  if (!wanted.empty()) request.query.Add("platform", wanted);
  request.headers.push_back({"X-Registry-Auth", TRY(cli.RegistryAuth(reference.domain))});
  ApiStream stream = TRY(api->Open(request));
  if (!quiet) return ShowProgress(&stream.connection, out);
  UniqueFd nowhere = TRY(OpenFile("/dev/null", O_WRONLY));
  return ShowProgress(&stream.connection, nowhere);
}

// What a body has that older versions of the API refuse or leave out; "" for nothing of the kind.
std::string_view CreateVersion(const Json& body) {
  constexpr std::string_view kVersion = "1.48";
  const Json& host = body["HostConfig"];
  for (const Json& mount : host["Mounts"].items()) {
    bool part = !mount["VolumeOptions"]["Subpath"].AsString().empty();
    bool forced = mount["BindOptions"]["ReadOnlyForceRecursive"].AsBool();
    if (part || forced || mount["Type"].AsString() == "image") return kVersion;
  }
  if (body["Healthcheck"]["StartInterval"].AsInt() != 0) return kVersion;
  for (const auto& [name, endpoint] : body["NetworkingConfig"]["EndpointsConfig"].members()) {
    bool own_address = endpoint["MacAddress"].is_string() && body["MacAddress"].is_null();
    if (own_address || endpoint["GwPriority"].AsInt() != 0) return kVersion;
  }
  return "";
}

}  // namespace

Result<formats::Reference> ParseImageName(const std::string& text) {
  Result<formats::Reference> parsed = formats::ParseReference(text);
  if (parsed.ok()) return parsed;
  if (parsed.error().message().find("must be lowercase") == std::string::npos) {
    return InvalidArgument("invalid reference format");
  }
  // docker speaks of what is behind the registry, which for one word is in "library".
  std::string first = text.substr(0, text.find('/'));
  bool registry = first.size() < text.size() &&
                  (first.find_first_of(".:") != std::string::npos || first == "localhost");
  std::string name = registry ? text.substr(first.size() + 1) : text;
  name.resize(std::min(name.size(), name.find(':')));
  bool one_word = !registry && name.find('/') == std::string::npos;
  return InvalidArgument("invalid reference format: repository name ({}{}) must be lowercase",
                         one_word ? "library/" : "", name);
}

Result<> PullImage(Cli& cli, const std::string& text, const std::string& platform, bool quiet,
                   BorrowedFd out) {
  formats::Reference reference = formats::WithDefaultTag(TRY(formats::ParseReference(text)));
  std::string tag = reference.digest.empty() ? reference.tag : reference.digest.text();
  return Pull(cli, reference, tag, platform, quiet, out);
}

Result<> AddPlatforms(Api* api, std::string_view version, const std::vector<std::string>& platforms,
                      std::string_view parameter, wire::Query* query) {
  for (const std::string& text : platforms) {
    Result<oci::Platform> platform = oci::ParsePlatform(text);
    if (!platform.ok()) {
      return InvalidArgument("invalid platform: {}", platform.error().message());
    }
    TRY(api->Require(version, "platform"));
    Json json = Json::MakeObject({{"architecture", platform->architecture}, {"os", platform->os}});
    if (!platform->variant.empty()) json.Set("variant", platform->variant);
    query->Add(parameter, json.Dump());
  }
  return {};
}

void BindContentTrust(Flags* flags) {
  static bool trust = true;
  flags->Bool("disable-content-trust", 0, &trust, "Look for no signatures (default true)");
}

Result<> PullAllTags(Cli& cli, const formats::Reference& reference, const std::string& platform,
                     bool quiet, BorrowedFd out) {
  return Pull(cli, reference, "", platform, quiet, out);
}

namespace {

// The file that gets the container's ID. It is made before the container, so that two runs can't
// share it, and goes away when no container came to be.
Result<UniqueFd> MakeCidFile(const std::string& path, Undo* undo) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST) {
    return AlreadyExists(
        "container ID file found, make sure the other container isn't running or "
        "delete {}",
        path);
  }
  if (fd < 0) return ErrnoError("failed to create the container ID file '{}'", path);
  undo->Push([path] { ::unlink(path.c_str()); });
  return UniqueFd(fd);
}

}  // namespace

Result<std::string> CreateContainer(Cli& cli, const Flags& flags, ContainerOptions& options,
                                    ContainerRequest request) {
  const std::string image = request.body["Image"].AsString();
  if (image.empty()) return InvalidArgument("invalid reference format");
  if (options.pull != "always" && options.pull != "missing" && options.pull != "never") {
    return InvalidArgument(
        "invalid pull option: '{}': must be one of \"always\", \"missing\" or "
        "\"never\"",
        options.pull);
  }
  Api* api = TRY(cli.Connect());
  Undo undo;
  UniqueFd cid_file;
  if (flags.Changed("cidfile")) cid_file = TRY(MakeCidFile(options.cidfile, &undo));
  BorrowedFd progress(STDERR_FILENO);
  if (options.pull == "always") {
    TRY(PullImage(cli, image, options.platform, options.quiet, progress));
  }
  wire::Query query;
  if (!options.name.empty()) query.Add("name", options.name);
  std::string platform = Cli::PlatformOr(options.platform);
  if (!platform.empty()) query.Add("platform", platform);
  AddProxies(*TRY(cli.Config()), api->url(), &request.body);
  for (const Json& server : request.body["HostConfig"]["Dns"].items()) {
    if (!formats::IsLoopbackServer(server.AsString())) continue;
    PrintError("WARNING: Localhost DNS ({}) may fail in containers.\n", server.AsString());
  }
  std::string credentials;
  if (options.use_api_socket) credentials = TRY(AddApiSocket(cli, &request.body));
  ApiRequest create;
  create.method = "POST";
  create.path = "/containers/create";
  create.query = query;
  create.body = request.body;
  create.version = CreateVersion(request.body);
  Result<Json> created = api->CallForJson(create);
  bool missing = !created.ok() && created.error().kind() == ErrorKind::kNotFound &&
                 created.error().message().find("No such image") != std::string::npos;
  if (missing && options.pull == "missing") {
    if (!options.quiet) {
      formats::Reference reference = formats::WithDefaultTag(TRY(formats::ParseReference(image)));
      PrintError("Unable to find image '{}' locally\n", reference.Familiar());
    }
    TRY(PullImage(cli, image, options.platform, options.quiet, progress));
    created = api->CallForJson(create);
  }
  Json answer = TRY(std::move(created));
  for (const Json& warning : answer["Warnings"].items()) {
    PrintError("WARNING: {}\n", warning.AsString());
  }
  std::string id = answer["Id"].AsString();
  for (const ExtraNetwork& network : request.extra_networks) {
    TRY(api->Post("/networks/" + wire::PercentEncode(network.name) + "/connect", {},
                  Json::MakeObject({{"Container", id}, {"EndpointConfig", network.endpoint}})));
  }
  if (!credentials.empty()) {
    TRY_WITH(PutCredentials(api, id, credentials),
             "injecting docker config.json into container failed");
  }
  if (cid_file.valid()) TRY_WITH(WriteAll(cid_file, id), "writing '{}'", options.cidfile);
  undo.Commit();
  return id;
}

ApiRequest AttachRequest(std::string_view id, const AttachStreams& streams) {
  ApiRequest request;
  request.method = "POST";
  request.path = ContainerPath(id, "/attach");
  request.upgrade = true;
  request.query.Add("stream", "1");
  if (streams.in) request.query.Add("stdin", "1");
  if (streams.out) request.query.Add("stdout", "1");
  if (streams.err) request.query.Add("stderr", "1");
  if (!streams.detach_keys.empty()) request.query.Add("detachKeys", streams.detach_keys);
  return request;
}

ApiRequest WaitRequest(std::string_view id, std::string_view condition) {
  ApiRequest request;
  request.method = "POST";
  request.path = ContainerPath(id, "/wait");
  if (!condition.empty()) request.query.Add("condition", condition);
  return request;
}

Result<int> ReadExitCode(ApiStream& wait) {
  std::string body = TRY(wait.connection.ReadWholeBody(1 << 20));
  Json answer = TRY_WITH(Json::Parse(body), "reading the daemon's answer");
  const std::string& message = answer["Error"]["Message"].AsString();
  if (!message.empty()) return Internal("error waiting for container: {}", message);
  return static_cast<int>(answer["StatusCode"].AsInt());
}

std::string_view SignalName(int signal) {
  // "HUP" for SIGHUP (glibc 2.32).
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? name : "";
}

void SendSignal(Api& api, std::string_view id, int signal) {
  wire::Query query;
  query.Add("signal", SignalName(signal));
  (void)api.Post(ContainerPath(id, "/kill"), query);
}

void ResizeTerminal(Api& api, const std::string& path, unsigned rows, unsigned columns) {
  wire::Query query;
  query.Add("h", fmt::format("{}", rows)).Add("w", fmt::format("{}", columns));
  (void)api.Post(path + "/resize", query);
}

void ResizeToOurs(Api& api, const std::string& path) {
  kernel::WindowSize size = kernel::TerminalSize(BorrowedFd(STDOUT_FILENO));
  if (size.rows != 0) ResizeTerminal(api, path, size.rows, size.columns);
}

Result<> CheckInputTerminal(bool input, bool terminal) {
  if (input && terminal && !kernel::IsTerminal(BorrowedFd(STDIN_FILENO))) {
    return FailedPrecondition("the input device is not a TTY");
  }
  return {};
}

Result<std::string> DetachKeysOf(Cli& cli, const std::string& flag) {
  if (!flag.empty()) return flag;
  return (*TRY(cli.Config()))["detachKeys"].AsString();
}

int StartFailureCode(std::string_view message) {
  auto has = [&](std::string_view text) { return message.find(text) != std::string_view::npos; };
  // A file missing on this side, of --env-file or the socket, is not the container's program.
  if (!has("Error response from daemon")) return 125;
  if (has("executable file not found") || has("no such file or directory")) return 127;
  if (has("permission denied") || has("is a directory")) return 126;
  return 125;
}

}  // namespace gantry::cli
