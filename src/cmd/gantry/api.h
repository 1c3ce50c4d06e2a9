// SPDX-License-Identifier: Apache-2.0
//
// The Engine API from the client's side: requests as method, path, query and JSON; answers as JSON,
// as streams, or as the raw socket under an upgrade. A request goes out at once under our own API
// version; only a server that refuses that version costs a second try. One connection is kept for
// the plain calls, each stream has its own. One thread.
//
// A status of 400 or more is an Error "Error response from daemon: MESSAGE" of a fitting kind.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cmd/gantry/endpoint.h"
#include "cmd/gantry/flags.h"
#include "formats/json.h"
#include "wire/http_client.h"
#include "wire/url.h"

namespace gantry::cli {

using formats::Json;

struct ApiRequest {
  std::string method = "GET";
  std::string path;  // "/containers/json", encoded
  wire::Query query;
  std::optional<Json> body;
  std::vector<wire::HttpHeaders::Field> headers;
  bool upgrade = false;               // asks for the raw connection
  std::string_view protocol = "tcp";  // that is spoken on it
  // Asked for in this version instead of kOurVersion, for what came after it; "" for most.
  std::string_view version;
};

struct ApiAnswer {
  int status = 200;
  wire::HttpHeaders headers;
  std::string body;
};

// An answer whose body is still to come.
struct ApiStream {
  wire::HttpConnection connection;
  wire::HttpResponse head;
};

class Api {
 public:
  // `fixed_version`: never negotiate.
  Api(DaemonEndpoint endpoint, std::string fixed_version,
      std::vector<wire::HttpHeaders::Field> headers);

  Result<ApiAnswer> Call(const ApiRequest& request);
  // As Call for each, up to `at_once` of them under way at the same time; what came of them is told
  // in their order.
  void CallEach(const std::vector<ApiRequest>& requests, size_t at_once,
                const std::function<void(size_t index, Result<ApiAnswer>)>& tell);
  // Call, then the body as JSON; null for an empty one.
  Result<Json> CallForJson(const ApiRequest& request);
  Result<Json> Get(std::string path, wire::Query query = {});
  Result<Json> Post(std::string path, wire::Query query = {}, std::optional<Json> body = {});

  // A request whose answer is read later by Receive, so that several can be under way.
  Result<wire::HttpConnection> Start(const ApiRequest& request);
  Result<ApiStream> Receive(wire::HttpConnection connection, const ApiRequest& request);
  // Both; negotiates.
  Result<ApiStream> Open(const ApiRequest& request);
  // `source` to its end is the request's body.
  Result<ApiStream> Upload(const ApiRequest& request, BorrowedFd source, std::string_view type);

  // Speaks at least this version from now on, for an option that older ones don't have; an engine
  // that can't is an error in docker's words.
  Result<> Require(std::string_view version, std::string_view option);
  // An engine without experimental features is an error that names `what`.
  Result<> RequireExperimental(std::string_view what);

  // The version that is spoken: ours until a server has refused it.
  const std::string& version() const { return version_; }
  const std::string& url() const { return endpoint_.url; }
  // The socket's path on this machine, or "".
  std::string socket_path() const;
  // Nobody has answered at the endpoint so far.
  bool unreachable() const { return unreachable_; }
  static constexpr std::string_view kOurVersion = "1.43";

 private:
  Result<wire::HttpConnection> Connection();
  Result<ApiAnswer> ReadAnswer(ApiStream stream);
  wire::HttpRequest Head(const ApiRequest& request) const;
  bool Renegotiate(const wire::HttpResponse& head, std::string_view body, bool silent);
  Error Failure(const wire::HttpResponse& head, std::string_view body,
                const ApiRequest& request) const;

  DaemonEndpoint endpoint_;
  std::string version_;
  bool version_settled_;
  std::vector<wire::HttpHeaders::Field> headers_;
  std::optional<wire::HttpConnection> kept_;
  bool unreachable_ = false;
};

// --filter, -f: each value must read "name=value".
void BindFilters(Flags* flags, std::vector<std::string>* filters, std::string_view help);
// {"label": {"a": true, "b": true}} from "label=a", "label=b": the value of the `filters`
// parameter.
std::string FormatFilters(const std::vector<std::string>& filters);

}  // namespace gantry::cli
