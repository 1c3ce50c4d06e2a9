// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 messages as data (RFC 9110, RFC 9112): header fields, request and response heads, and
// their text. Used by servers, the client and the parser. Plain data; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::wire {

bool EqualsIgnoreCase(std::string_view a, std::string_view b);

// Header fields in the order of their arrival; names compare without case.
class HttpHeaders {
 public:
  struct Field {
    std::string name;
    std::string value;
  };

  // The first value of that name, or nullptr.
  const std::string* Find(std::string_view name) const;
  // The same, or "".
  std::string_view Get(std::string_view name) const;
  // Whether one of the comma-separated elements of any field of that name is `token`, without case.
  bool HasToken(std::string_view name, std::string_view token) const;
  size_t Count(std::string_view name) const;

  void Add(std::string_view name, std::string_view value);
  // Replaces all fields of that name.
  void Set(std::string_view name, std::string_view value);
  void Erase(std::string_view name);

  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::vector<Field> fields_;
};

// How a message's body ends (RFC 9112 section 6.3).
enum class BodyFraming {
  kNone,
  kLength,      // content_length bytes
  kChunked,     // ChunkedDecoder says where
  kUntilClose,  // responses only
};

struct HttpRequest {
  std::string method;
  // As it came: path and query, not decoded; wire/url.h takes it apart.
  std::string target;
  int minor_version = 1;
  HttpHeaders headers;
  BodyFraming framing = BodyFraming::kNone;
  uint64_t content_length = 0;

  // Whether the connection may carry another request after this one.
  bool KeepAlive() const;
  // Whether the client asks for `protocol` ("tcp", "h2c") on this connection.
  bool WantsUpgrade(std::string_view protocol) const;
};

struct HttpResponse {
  int status = 200;
  std::string reason;
  int minor_version = 1;
  HttpHeaders headers;
  BodyFraming framing = BodyFraming::kNone;
  uint64_t content_length = 0;

  bool KeepAlive() const;
};

// The standard phrase of a status, such as "Not Found"; "" when there is none.
std::string_view ReasonPhrase(int status);

// "POST /x HTTP/1.1\r\nname: value\r\n…\r\n". A name, value, method or target that would break the
// framing (a line break, a blank in the target) is an error; nothing else is checked.
Result<std::string> FormatHead(const HttpRequest& request);
Result<std::string> FormatHead(const HttpResponse& response);

}  // namespace gantry::wire
