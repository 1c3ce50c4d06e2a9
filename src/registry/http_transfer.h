// SPDX-License-Identifier: Apache-2.0
//
// One HTTP request with libcurl, for client.cc; with libcurl.h the one wrapper of libcurl. Keeps
// handles, and so connections, for the next request. Any thread; a call blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"

namespace gantry::registry {

// The body of a PUT or PATCH, read as often as it takes: a redirect sends it again.
struct HttpUpload {
  uint64_t size = 0;
  // Fills `buffer` from `offset` on; how much there was.
  std::function<Result<size_t>(uint64_t offset, char* buffer, size_t size)> read;
};

struct HttpRequest {
  std::string method = "GET";  // GET, HEAD, POST, PUT or PATCH
  std::string url;
  std::vector<std::string> headers;    // "Name: value"
  std::string body;                    // of POST
  const HttpUpload* upload = nullptr;  // of PUT and PATCH
  bool verify_tls = true;
  std::vector<std::string> ca_files;  // beside the system's
  std::string client_certificate;
  std::string client_key;
  std::string user_agent;
  std::chrono::milliseconds connect_timeout{30'000};
  // A transfer that brings less than 1 KiB a second for this long is broken.
  std::chrono::seconds stall_timeout{60};
  std::chrono::milliseconds whole_timeout{0};  // from the start to the body's end; 0: any time
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
  Result<std::unique_ptr<Handle>> Take();
  void Give(std::unique_ptr<Handle> handle);

  Mutex mutex_;
  std::vector<std::unique_ptr<Handle>> idle_ GUARDED_BY(mutex_);
};

// RFC 9110 section 5.6.7, "Sun, 06 Nov 1994 08:49:37 GMT", as seconds since 1970.
std::optional<int64_t> ParseHttpDate(const std::string& text);

// A query's value with everything but unreserved characters as %XX (RFC 3986).
std::string UrlEncode(std::string_view text);

}  // namespace gantry::registry
