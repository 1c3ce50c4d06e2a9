// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/api.h"

#include <cerrno>
#include <deque>

#include "cmd/gantry/program.h"
#include "cmd/gantry/tls_tunnel.h"
#include "wire/http_status.h"

namespace gantry::cli {
namespace {

constexpr size_t kMaxAnswerBytes = size_t{256} << 20;

std::string_view TrimEnd(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  return text;
}

// "message" of a JSON body, else the body itself: attach answers in plain text.
std::string MessageOf(std::string_view body) {
  Result<Json> json = Json::Parse(body);
  if (json.ok() && json->is_object()) return (*json)["message"].AsString();
  return std::string(TrimEnd(body));
}

// A name that is empty, as of a script's variable that is not set, would make another request of
// the path: the list of all, say.
Result<> CheckNamed(std::string_view path) {
  for (std::string_view noun : {"container", "network", "volume", "image"}) {
    std::string all = fmt::format("/{}s/", noun);
    if (!path.starts_with(all)) continue;
    if (path.size() > all.size() && path[all.size()] != '/') return {};
    if (noun == "image") return NotFound("Error: No such image: ");
    return InvalidArgument("invalid {} name or ID: value is empty", noun);
  }
  return {};
}

}  // namespace

Api::Api(DaemonEndpoint endpoint, std::string fixed_version,
         std::vector<wire::HttpHeaders::Field> headers)
    : endpoint_(std::move(endpoint)),
      version_(fixed_version.empty() ? std::string(kOurVersion) : std::move(fixed_version)),
      version_settled_(version_ != kOurVersion),
      headers_(std::move(headers)) {}

std::string Api::socket_path() const {
  bool local = endpoint_.kind == DaemonEndpoint::Kind::kSocket &&
               endpoint_.endpoint.scheme == wire::Endpoint::Scheme::kUnix;
  return local ? endpoint_.endpoint.address : "";
}

Result<wire::HttpConnection> Api::Connection() {
  if (kept_ && kept_->Reusable()) {
    wire::HttpConnection connection = std::move(*kept_);
    kept_.reset();
    return connection;
  }
  kept_.reset();
  Result<wire::HttpConnection> connection = endpoint_.Connect();
  unreachable_ = !connection.ok();
  if (connection.ok()) return connection;
  const Error& error = connection.error();
  if (error.error_number() == EACCES) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "permission denied while trying to connect to the {} socket at {}",
                     DaemonName(), endpoint_.url);
  }
  // A certificate that does not fit, a library that is missing: trying again would not help.
  bool refused = error.kind() == ErrorKind::kUnavailable || error.error_number() != 0;
  if (endpoint_.kind == DaemonEndpoint::Kind::kTls &&
      (!refused || error.message().substr(0, 4) == "tls:")) {
    return std::move(connection).error().AddContext("error during connect");
  }
  if (!refused) return connection;
  return Unavailable("Cannot connect to the {} at {}. Is the {} running?", DaemonName(),
                     endpoint_.url, ProgramName() == "docker" ? "docker daemon" : "gantry daemon");
}

wire::HttpRequest Api::Head(const ApiRequest& request) const {
  wire::HttpRequest head;
  head.method = request.method;
  bool later = !request.version.empty() && version_ == kOurVersion;
  head.target = fmt::format("{}/v{}{}", endpoint_.endpoint.base_path,
                            later ? request.version : version_, request.path);
  std::string query = request.query.Format();
  if (!query.empty()) head.target.append("?").append(query);
  head.headers.Add("Host", endpoint_.endpoint.HostHeader());
  head.headers.Add("User-Agent", "gantry/" GANTRY_VERSION);
  for (const auto& field : headers_) head.headers.Set(field.name, field.value);
  for (const auto& field : request.headers) head.headers.Erase(field.name);
  for (const auto& field : request.headers) head.headers.Add(field.name, field.value);
  if (request.body) head.headers.Set("Content-Type", "application/json");
  if (request.upgrade) {
    head.headers.Set("Connection", "Upgrade");
    head.headers.Set("Upgrade", request.protocol);
  }
  return head;
}

Result<wire::HttpConnection> Api::Start(const ApiRequest& request) {
  TRY(CheckNamed(request.path));
  wire::HttpConnection connection = TRY(Connection());
  TRY(connection.Send(Head(request), request.body ? request.body->Dump() : std::string()));
  return connection;
}

// Whether the server refused our version and named one that it speaks. Of a HEAD it does not say
// why, so an older one of its own is enough.
bool Api::Renegotiate(const wire::HttpResponse& head, std::string_view body, bool silent) {
  if (version_settled_ || head.status != 400) return false;
  if (!silent && body.find("client version") == std::string_view::npos) return false;
  std::string_view theirs = head.headers.Get("Api-Version");
  if (theirs.empty() || theirs == version_) return false;
  version_ = theirs;
  version_settled_ = true;
  return true;
}

Error Api::Failure(const wire::HttpResponse& head, std::string_view body,
                   const ApiRequest& request) const {
  std::string message = MessageOf(body);
  if (message.empty()) {
    message = fmt::format("{} {} answered {} {} without a message", request.method, request.path,
                          head.status, head.reason);
  }
  return MakeError(wire::KindOfStatus(head.status, ErrorKind::kInternal),
                   "Error response from daemon: {}", message);
}

Result<ApiStream> Api::Receive(wire::HttpConnection connection, const ApiRequest& request) {
  Result<wire::HttpResponse> received = connection.ReceiveHead(request.method);
  if (!received.ok() && !TlsFailure().empty()) {
    return Unavailable("error during connect: {}", TlsFailure());
  }
  wire::HttpResponse head = TRY(std::move(received));
  if (head.status >= 400) {
    std::string body = TRY(connection.ReadWholeBody(kMaxAnswerBytes));
    bool again = Renegotiate(head, body, request.method == "HEAD");
    if (connection.Reusable()) kept_ = std::move(connection);
    if (again) return Open(request);
    return Failure(head, body, request);
  }
  version_settled_ = true;
  return ApiStream{std::move(connection), std::move(head)};
}

Result<ApiStream> Api::Open(const ApiRequest& request) {
  return Receive(TRY(Start(request)), request);
}

Result<ApiStream> Api::Upload(const ApiRequest& request, BorrowedFd source, std::string_view type) {
  TRY(CheckNamed(request.path));
  // A body from a stream can't be sent twice, so the version must be right the first time.
  if (!version_settled_) {
    ApiRequest version;
    version.path = "/version";
    TRY(Call(version));
  }
  wire::HttpConnection connection = TRY(Connection());
  wire::HttpRequest head = Head(request);
  head.headers.Set("Content-Type", type);
  TRY(connection.SendFrom(std::move(head), source));
  return Receive(std::move(connection), request);
}

Result<ApiAnswer> Api::ReadAnswer(ApiStream stream) {
  ApiAnswer answer;
  answer.body = TRY(stream.connection.ReadWholeBody(kMaxAnswerBytes));
  answer.status = stream.head.status;
  answer.headers = std::move(stream.head.headers);
  if (stream.connection.Reusable()) kept_ = std::move(stream.connection);
  return answer;
}

Result<ApiAnswer> Api::Call(const ApiRequest& request) { return ReadAnswer(TRY(Open(request))); }

void Api::CallEach(const std::vector<ApiRequest>& requests, size_t at_once,
                   const std::function<void(size_t index, Result<ApiAnswer>)>& tell) {
  auto finish = [&](Result<wire::HttpConnection> sent,
                    const ApiRequest& request) -> Result<ApiAnswer> {
    return ReadAnswer(TRY(Receive(TRY(std::move(sent)), request)));
  };
  std::deque<Result<wire::HttpConnection>> under_way;
  size_t next = 0;
  for (size_t index = 0; index < requests.size(); ++index) {
    // Until the first answer it is not sure that the server speaks our version.
    size_t ahead = index == 0 ? 1 : at_once;
    while (next < requests.size() && next < index + ahead) {
      under_way.push_back(Start(requests[next++]));
    }
    Result<wire::HttpConnection> sent = std::move(under_way.front());
    under_way.pop_front();
    tell(index, finish(std::move(sent), requests[index]));
  }
}

namespace {

// "1.9" < "1.10".
bool IsOlder(std::string_view a, std::string_view b) {
  auto number = [](std::string_view text) {
    size_t dot = text.find('.');
    Result<int64_t> major = ParseInteger(text.substr(0, dot));
    Result<int64_t> minor =
        ParseInteger(dot == std::string_view::npos ? "0" : text.substr(dot + 1));
    return std::pair(major.ok() ? *major : 0, minor.ok() ? *minor : 0);
  };
  return number(a) < number(b);
}

}  // namespace

Result<> Api::Require(std::string_view version, std::string_view option) {
  if (!IsOlder(version_, version)) return {};
  if (!version_settled_) {
    version_ = version;
    ApiRequest ask;
    ask.path = "/version";
    TRY(Call(ask));
    if (!IsOlder(version_, version)) return {};
  }
  return InvalidArgument(
      "\"--{}\" requires API version {}, but the Docker daemon API version is {}", option, version,
      version_);
}

Result<> Api::RequireExperimental(std::string_view what) {
  Json version = TRY(Get("/version"));
  if (version["Experimental"].AsBool()) return {};
  return Unimplemented("{} is only supported on a Docker daemon with experimental features enabled",
                       what);
}

Result<Json> Api::CallForJson(const ApiRequest& request) {
  ApiAnswer answer = TRY(Call(request));
  if (answer.body.empty()) return Json();
  return TRY_WITH(Json::Parse(answer.body), "reading the daemon's answer");
}

Result<Json> Api::Get(std::string path, wire::Query query) {
  ApiRequest request;
  request.path = std::move(path);
  request.query = std::move(query);
  return CallForJson(request);
}

Result<Json> Api::Post(std::string path, wire::Query query, std::optional<Json> body) {
  ApiRequest request;
  request.method = "POST";
  request.path = std::move(path);
  request.query = std::move(query);
  request.body = std::move(body);
  return CallForJson(request);
}

void BindFilters(Flags* flags, std::vector<std::string>* filters, std::string_view help) {
  flags->Custom(
      "filter", 'f', "filter",
      [filters](const std::string& text) -> Result<> {
        if (text.find('=') == std::string::npos) {
          return InvalidArgument("bad format of filter (expected name=value)");
        }
        filters->push_back(text);
        return {};
      },
      help);
}

std::string FormatFilters(const std::vector<std::string>& filters) {
  Json out = Json::MakeObject();
  for (const std::string& filter : filters) {
    size_t equals = filter.find('=');
    std::string key = filter.substr(0, equals);
    while (!key.empty() && key.back() == ' ') key.pop_back();
    std::string value = filter.substr(equals + 1);
    while (!value.empty() && value.front() == ' ') value.erase(0, 1);
    out.MutableMember(key).Set(value, true);
  }
  return out.Dump();
}

}  // namespace gantry::cli
