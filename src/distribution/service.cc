// SPDX-License-Identifier: Apache-2.0
#include "distribution/service.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.h"
#include "base/number.h"
#include "base/text.h"
#include "formats/json.h"
#include "formats/reference.h"

namespace gantry::distribution {
namespace {

using formats::Json;

constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxPage = 10'000;

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// One component: alphanum { ( "." | "_" | "__" | "-"+ ) alphanum }.
bool IsComponent(std::string_view text) {
  if (text.empty() || !IsLowerOrDigit(text.front()) || !IsLowerOrDigit(text.back())) return false;
  for (size_t at = 0; at < text.size();) {
    if (IsLowerOrDigit(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (!IsLowerOrDigit(text[end])) ++end;  // the last one is
    std::string_view between = text.substr(at, end - at);
    bool dashes = between.find_first_not_of('-') == between.npos;
    if (between != "." && between != "_" && between != "__" && !dashes) return false;
    at = end;
  }
  return true;
}

bool IsRepositoryName(std::string_view name) {
  std::vector<std::string> parts = Split(name, '/');
  return name.size() <= kMaxNameBytes && std::all_of(parts.begin(), parts.end(), IsComponent);
}

std::string Unknown(std::string_view noun) { return std::string(noun) + "_UNKNOWN"; }
std::string Invalid(std::string_view noun) { return std::string(noun) + "_INVALID"; }

// Status and code of an error, for the noun of its resource (spec, "Error Codes").
std::pair<int, std::string> StatusOf(ErrorKind kind, std::string_view noun) {
  switch (kind) {
    case ErrorKind::kNotFound:
      return {404, Unknown(noun)};
    case ErrorKind::kInvalidArgument:
      return {400, noun == "BLOB" ? "DIGEST_INVALID" : Invalid(noun)};
    case ErrorKind::kFailedPrecondition:
      return noun == "MANIFEST" ? std::pair{404, std::string("MANIFEST_BLOB_UNKNOWN")}
                                : std::pair{400, std::string("DIGEST_INVALID")};
    case ErrorKind::kOutOfRange:
      return {416, Invalid(noun)};
    case ErrorKind::kResourceExhausted:
      return {413, "SIZE_INVALID"};
    case ErrorKind::kPermissionDenied:
      return {403, "DENIED"};
    case ErrorKind::kUnimplemented:
      return {405, "UNSUPPORTED"};
    case ErrorKind::kUnavailable:
      return {409, Invalid(noun)};
    default:
      return {500, "UNKNOWN"};
  }
}

// `n` and `last` of a list (spec, "Listing Tags").
Result<size_t> PageSize(const wire::Query& query) {
  std::string_view text = query.Get("n");
  if (text.empty()) return kMaxPage;
  auto number = ParseNumber<size_t>(text);
  if (!number) return InvalidArgument("'{}' is no number of entries", text);
  return std::min(*number, kMaxPage);
}

// Whether there are more is known by one entry more than asked for.
void CutToPage(wire::Exchange& exchange, size_t size, std::vector<std::string>* names) {
  if (names->size() <= size) return;
  names->resize(size);
  if (size == 0) return;
  wire::Query next;
  next.Add("n", std::to_string(size)).Add("last", names->back());
  exchange.headers().Set(
      "Link", fmt::format("<{}?{}>; rel=\"next\"", wire::PercentEncodePath(exchange.path()),
                          next.Format()));
}

Result<> RespondJson(wire::Exchange& exchange, const Json& json) {
  exchange.headers().Set("Content-Type", "application/json");
  return exchange.Respond(200, json.Dump());
}

bool OnlyReads(const std::string& method) { return method == "GET" || method == "HEAD"; }

}  // namespace

Result<> RespondError(wire::Exchange& exchange, int status, std::string_view code,
                      std::string_view message) {
  Json error = Json::MakeObject({{"code", std::string(code)}, {"message", std::string(message)}});
  Json errors = Json::MakeArray();
  errors.Append(std::move(error));
  exchange.headers().Set("Content-Type", "application/json");
  return exchange.Respond(status, Json::MakeObject({{"errors", std::move(errors)}}).Dump());
}

std::optional<Service::Route> Service::Parse(std::string_view path) {
  if (path == "/v2" || path == "/v2/") return Route{Resource::kBase, "", ""};
  if (!path.starts_with("/v2/")) return std::nullopt;
  path.remove_prefix(4);
  if (path == "_catalog") return Route{Resource::kCatalog, "", ""};
  // From the end, since a repository may be called as the words behind it.
  size_t last = path.rfind('/');
  if (last == path.npos || last == 0) return std::nullopt;
  std::string reference(path.substr(last + 1));
  std::string_view front = path.substr(0, last);
  auto ends = [&](std::string_view words) {
    return front.size() > words.size() && front.ends_with(words);
  };
  auto route = [&](Resource resource, std::string_view words) {
    return Route{resource, std::string(front.substr(0, front.size() - words.size())), reference};
  };
  if (ends("/blobs/uploads")) {
    return route(reference.empty() ? Resource::kUploads : Resource::kUpload, "/blobs/uploads");
  }
  if (ends("/blobs")) {
    return route(reference == "uploads" ? Resource::kUploads : Resource::kBlob, "/blobs");
  }
  if (ends("/manifests")) return route(Resource::kManifest, "/manifests");
  if (ends("/referrers")) return route(Resource::kReferrers, "/referrers");
  if (ends("/tags") && reference == "list") return route(Resource::kTags, "/tags");
  return std::nullopt;
}

bool Service::Admits(wire::Exchange& exchange) {
  bool reads = OnlyReads(exchange.request().method);
  bool asked = options_.passwords != nullptr && !(reads && options_.anonymous_pull);
  if (asked && !options_.passwords->Allows(exchange.request().headers.Get("Authorization"))) {
    exchange.headers().Set("WWW-Authenticate", "Basic realm=\"gantry registry\"");
    (void)RespondError(exchange, 401, "UNAUTHORIZED", "authentication required");
    return false;
  }
  if (options_.read_only && !reads) {
    (void)RespondError(exchange, 405, "UNSUPPORTED", "this registry is read-only");
    return false;
  }
  return true;
}

void Service::Handle(wire::Exchange& exchange) {
  exchange.headers().Set("Docker-Distribution-Api-Version", "registry/2.0");
  if (!Admits(exchange)) return;
  std::optional<Route> route = Parse(exchange.path());
  if (!route) {
    (void)RespondError(exchange, 404, "UNSUPPORTED", "no such endpoint");
    return;
  }
  if (!route->repository.empty() && !IsRepositoryName(route->repository)) {
    (void)RespondError(exchange, 400, "NAME_INVALID", "invalid repository name");
    return;
  }
  if (const std::string* source = exchange.query().Find("ns"); source && options_.sources) {
    route->repository = *source + "/" + route->repository;
    exchange.headers().Set("OCI-Namespace", *source);
  }
  Result<> done = Dispatch(exchange, *route);
  if (done.ok()) return;
  static constexpr std::array kNouns = {"UNKNOWN", "NAME",        "NAME",        "MANIFEST",
                                        "BLOB",    "BLOB_UPLOAD", "BLOB_UPLOAD", "DIGEST"};
  const char* noun = kNouns[static_cast<size_t>(route->resource)];
  // Exchange::ReadBody says so of a body that is too long.
  bool too_long = done.error().error_number() == EMSGSIZE;
  auto [status, code] =
      StatusOf(too_long ? ErrorKind::kResourceExhausted : done.error().kind(), noun);
  if (status == 500) {
    log::Failure("{} {}: {}", exchange.request().method, exchange.path(), done.error().message());
  }
  if (!exchange.begun()) (void)RespondError(exchange, status, code, done.error().message());
}

Result<> Service::Dispatch(wire::Exchange& exchange, const Route& route) {
  using Handler = Result<> (Service::*)(wire::Exchange&, const Route&);
  struct Entry {
    Resource resource;
    std::string_view method;
    Handler handler;
  };
  static constexpr std::array kHandlers = {
      Entry{Resource::kTags, "GET", &Service::ListTags},
      Entry{Resource::kManifest, "GET", &Service::GetManifest},
      Entry{Resource::kManifest, "HEAD", &Service::GetManifest},
      Entry{Resource::kManifest, "PUT", &Service::PutManifest},
      Entry{Resource::kManifest, "DELETE", &Service::DeleteManifest},
      Entry{Resource::kBlob, "GET", &Service::GetBlob},
      Entry{Resource::kBlob, "HEAD", &Service::GetBlob},
      Entry{Resource::kBlob, "DELETE", &Service::DeleteBlob},
      Entry{Resource::kUploads, "POST", &Service::BeginUpload},
      Entry{Resource::kUpload, "GET", &Service::UploadStatus},
      Entry{Resource::kUpload, "PATCH", &Service::AppendUpload},
      Entry{Resource::kUpload, "PUT", &Service::FinishUpload},
      Entry{Resource::kUpload, "DELETE", &Service::CancelUpload},
      Entry{Resource::kReferrers, "GET", &Service::ListReferrers},
  };
  const std::string& method = exchange.request().method;
  if (route.resource == Resource::kBase && OnlyReads(method)) {
    return RespondJson(exchange, Json::MakeObject({}));
  }
  if (route.resource == Resource::kCatalog && method == "GET") return ListRepositories(exchange);
  for (const Entry& entry : kHandlers) {
    if (entry.resource != route.resource || entry.method != method) continue;
    return (this->*entry.handler)(exchange, route);
  }
  return Unimplemented("{} is not for this endpoint", method);
}

Result<> Service::ListRepositories(wire::Exchange& exchange) {
  size_t size = TRY(PageSize(exchange.query()));
  auto names = TRY(store_->Repositories(std::string(exchange.query().Get("last")), size + 1));
  CutToPage(exchange, size, &names);
  Json list = Json::MakeArray();
  for (std::string& name : names) list.Append(std::move(name));
  return RespondJson(exchange, Json::MakeObject({{"repositories", std::move(list)}}));
}

Result<> Service::ListTags(wire::Exchange& exchange, const Route& route) {
  size_t size = TRY(PageSize(exchange.query()));
  auto tags =
      TRY(store_->Tags(route.repository, std::string(exchange.query().Get("last")), size + 1));
  CutToPage(exchange, size, &tags);
  Json list = Json::MakeArray();
  for (std::string& tag : tags) list.Append(std::move(tag));
  return RespondJson(exchange,
                     Json::MakeObject({{"name", route.repository}, {"tags", std::move(list)}}));
}

}  // namespace gantry::distribution
