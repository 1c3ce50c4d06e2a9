// SPDX-License-Identifier: Apache-2.0
//
// One HTTP request with libcurl, for client.cc; the one wrapper of libcurl. Keeps handles, and so
// connections, for the next request. Any thread; a call blocks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"

namespace gantry::registry {

struct HttpRequest {
  std::string method = "GET";  // GET, HEAD or POST
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;                  // of POST
  bool verify_tls = true;
  std::string ca_file;
  std::string user_agent;
  // Receives the body of a 2xx answer; otherwise, and without it, the body is in HttpAnswer.
  std::function<Result<>(int status, std::string_view data)> write;
};

struct HttpAnswer {
  int status = 0;
  // Names in lower case; several of one name are kept apart.
  std::multimap<std::string, std::string> headers;
  std::string body;  // bounded

  std::string Header(const std::string& name) const;  // "" when missing
};

class HttpTransfer {
 public:
  HttpTransfer();
  ~HttpTransfer();
  // An answer of any status is no error. kUnavailable: no connection, or it broke; kCancelled.
  // A TLS handshake that failed is kFailedPrecondition.
  Result<HttpAnswer> Run(const HttpRequest& request, const StopToken& stop);

 private:
  struct Handle;
  std::unique_ptr<Handle> Take();
  void Give(std::unique_ptr<Handle> handle);

  Mutex mutex_;
  std::vector<std::unique_ptr<Handle>> idle_ GUARDED_BY(mutex_);
};

// A query's value with everything but unreserved characters as %XX (RFC 3986).
std::string UrlEncode(std::string_view text);

}  // namespace gantry::registry
