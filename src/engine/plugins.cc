// SPDX-License-Identifier: Apache-2.0
#include "engine/plugins.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/text.h"
#include "wire/http_client.h"

namespace gantry::engine {
namespace {

using formats::Json;

constexpr const char* kSockets = "/run/docker/plugins";
constexpr const char* kSpecs[] = {"/etc/docker/plugins", "/usr/lib/docker/plugins"};
// What docker's own client says that it takes.
constexpr const char* kMediaType = "application/vnd.docker.plugins.v1.2+json";
constexpr auto kAnswerBound = std::chrono::seconds(20);
// Who did not answer fails at once meanwhile: many endpoints don't wait one after the other.
constexpr auto kSilence = std::chrono::seconds(10);
constexpr size_t kMaxAnswer = size_t{1} << 20;

bool IsSocket(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

// Of NAME.json.
Result<PluginPlace> PlaceIn(const std::string& text) {
  Json json = TRY(Json::Parse(text));
  PluginPlace place;
  place.url = json["Addr"].AsString();
  const Json& tls = json["TLSConfig"];
  if (!tls.is_object()) return place;
  place.authority = tls["CAFile"].AsString();
  // docker's way: without an authority nothing is verified.
  place.verify = !place.authority.empty() && !tls["InsecureSkipVerify"].AsBool();
  place.certificate = tls["CertFile"].AsString();
  place.key = tls["KeyFile"].AsString();
  if (place.certificate.empty() != place.key.empty()) {
    return InvalidArgument("TLSConfig: CertFile and KeyFile need each other");
  }
  return place;
}

bool IsTls(const PluginPlace& place) { return place.url.starts_with("https://"); }

Result<PluginPlace> ReadPlace(const std::string& file, const std::string& text) {
  PluginPlace place;
  place.url = text;
  if (file.ends_with(".json")) place = TRY(PlaceIn(text));
  if (!IsTls(place)) TRY(wire::Endpoint::Parse(place.url));
  return place;
}

Result<PluginPlace> Find(const std::string& name) {
  Error missing = NotFound("plugin \"{}\" not found", name);
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos) return missing;
  for (const std::string& path : {fmt::format("{}/{}.sock", kSockets, name),
                                  fmt::format("{}/{}/{}.sock", kSockets, name, name)}) {
    if (!IsSocket(path)) continue;
    PluginPlace place;
    place.url = "unix://" + path;
    return place;
  }
  for (const char* folder : kSpecs) {
    for (const char* kind : {"spec", "json"}) {
      std::string file = fmt::format("{}/{}.{}", folder, name, kind);
      auto text = ReadFile(file);
      if (!text.ok() && text.error().error_number() == ENOENT) continue;
      std::string content(Trim(TRY(std::move(text))));
      return TRY_WITH(ReadPlace(file, content), "plugin specification '{}'", file);
    }
  }
  return missing;
}

Error Away(const std::string& plugin, const std::string& method, std::string_view why) {
  return Unavailable("plugin {}: {}: {}", plugin, method, why);
}

bool IsTimeout(const Error& error) { return error.error_number() == EAGAIN; }

struct Answer {
  int status = 0;
  std::string body;
};
Result<> Append(std::string_view piece, std::string* body) {
  if (body->size() + piece.size() > kMaxAnswer) {
    return Internal("its answer is longer than 1 MiB");
  }
  *body += piece;
  return {};
}

Result<Answer> ExchangePlainly(const PluginPlace& plugin, const std::string& method,
                               const std::string& body) {
  wire::Endpoint place = TRY(wire::Endpoint::Parse(plugin.url));
  auto connection = TRY(wire::HttpConnection::Connect(place));
  timeval bound{std::chrono::seconds(kAnswerBound).count(), 0};
  (void)::setsockopt(connection.fd().get(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
  (void)::setsockopt(connection.fd().get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
  wire::HttpRequest request;
  request.method = "POST";
  request.target = place.base_path + "/" + method;
  request.headers.Add("Host", "plugin");
  request.headers.Add("Accept", kMediaType);
  request.headers.Add("Content-Type", "application/json");
  TRY(connection.Send(std::move(request), body));
  auto until = SteadyClock::now() + kAnswerBound;
  Answer answer;
  answer.status = TRY(connection.ReceiveHead("POST")).status;
  for (;;) {
    std::string_view piece = TRY(connection.ReadBody());
    if (piece.empty()) return answer;
    TRY(Append(piece, &answer.body));
    if (SteadyClock::now() > until) return ErrnoErrorOf(EAGAIN, "reading its answer");
  }
}

Result<Answer> ExchangeOverTls(registry::HttpTransfer* transfer, const PluginPlace& plugin,
                               const std::string& method, const std::string& body) {
  registry::HttpRequest request;
  request.method = "POST";
  request.url =
      fmt::format("{}/{}", plugin.url.substr(0, plugin.url.find_last_not_of('/') + 1), method);
  request.headers = {fmt::format("Accept: {}", kMediaType), "Content-Type: application/json"};
  request.body = body;
  request.verify_tls = plugin.verify;
  if (!plugin.authority.empty()) request.ca_files = {plugin.authority};
  request.client_certificate = plugin.certificate;
  request.client_key = plugin.key;
  request.whole_timeout = kAnswerBound;
  Answer answer;
  request.write = [&answer](int, std::string_view piece) { return Append(piece, &answer.body); };
  auto until = SteadyClock::now() + kAnswerBound;
  auto got = transfer->Run(request, StopToken());
  if (!got.ok() && SteadyClock::now() >= until) {
    return ErrnoErrorOf(EAGAIN, "reading its answer");
  }
  answer.status = TRY(got).status;
  answer.body += got->body;
  return answer;
}

}  // namespace

Result<Json> HttpPlugins::Call(const std::string& plugin, std::string_view kind,
                               std::string_view method, const Json& request) {
  PluginPlace place = TRY(Find(plugin));
  TRY(CheckKind(plugin, place, kind));
  return Ask(plugin, place, fmt::format("{}.{}", kind, method), request);
}

Result<> HttpPlugins::CheckKind(const std::string& plugin, const PluginPlace& place,
                                std::string_view kind) {
  std::vector<std::string> kinds;
  {
    MutexLock lock(mutex_);
    auto known = kinds_.find(plugin);
    if (known != kinds_.end()) kinds = known->second;
  }
  auto is_among = [&] { return std::find(kinds.begin(), kinds.end(), kind) != kinds.end(); };
  if (is_among()) return {};
  // Another one may have come under its name.
  Json told = TRY(Ask(plugin, place, "Plugin.Activate", Json::MakeObject()));
  kinds.clear();
  for (const Json& item : told["Implements"].items()) kinds.push_back(item.AsString());
  {
    MutexLock lock(mutex_);
    kinds_[plugin] = kinds;
  }
  if (!is_among()) return NotFound("plugin \"{}\" does not implement {}", plugin, kind);
  return {};
}

Result<Json> HttpPlugins::Ask(const std::string& plugin, const PluginPlace& place,
                              const std::string& method, const Json& request) {
  {
    MutexLock lock(mutex_);
    auto silent = silent_until_.find(plugin);
    if (silent != silent_until_.end() && SteadyClock::now() < silent->second) {
      return Away(plugin, method, "it did not answer a moment ago");
    }
  }
  std::string body = request.Dump();
  auto answer = IsTls(place) ? ExchangeOverTls(&tls_, place, method, body)
                             : ExchangePlainly(place, method, body);
  if (!answer.ok() && IsTimeout(answer.error())) {
    MutexLock lock(mutex_);
    silent_until_[plugin] = SteadyClock::now() + kSilence;
    return Away(plugin, method, fmt::format("no answer within {} s", kAnswerBound.count()));
  }
  if (!answer.ok()) {
    // It is not there, or died; what is no HTTP is its own fault, and no answer either.
    return Away(plugin, method, answer.error().message());
  }
  auto json = Json::Parse(answer->body);
  std::string why;
  if (json.ok()) why = (*json)["Err"].AsString();
  if (answer->status == 404) {
    return Unimplemented("plugin {}: {}: it knows no such method", plugin, method);
  }
  if (answer->status != 200 && why.empty()) {
    why = fmt::format("status {}: {}", answer->status, Trim(answer->body));
  }
  if (!why.empty()) return Internal("plugin {}: {}: {}", plugin, method, why);
  // Go's plugins have nothing to say in more than one way.
  if (json.ok() && json->is_null()) return Json::MakeObject();
  if (!json.ok() || !json->is_object()) {
    return Internal("plugin {}: {}: its answer is no JSON object", plugin, method);
  }
  return json;
}

}  // namespace gantry::engine
