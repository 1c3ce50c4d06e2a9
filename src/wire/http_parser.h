// SPDX-License-Identifier: Apache-2.0
//
// Reads HTTP/1.x heads from bytes as they arrive (RFC 9112). Strict, since what two parsers read
// differently is how requests are smuggled: lines end in CRLF, no folded lines, no blank before a
// colon, Content-Length at most once and never beside Transfer-Encoding, "chunked" the only coding.
// Bounded: a head of at most kMaxHeadBytes with at most kMaxHeaderFields fields.
//
//   HttpHeadParser parser(HttpHeadParser::Kind::kRequest);
//   size_t used = TRY(parser.Feed(bytes));      // until parser.done(); the rest is body
//   HttpRequest request = parser.TakeRequest();  // the parser is then ready for the next head
//
// Error kinds: kInvalidArgument (400), kResourceExhausted (431), kUnimplemented (501, a transfer
// coding; 505, a version). One thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "wire/http_chunked.h"
#include "wire/http_message.h"

namespace gantry::wire {

inline constexpr size_t kMaxHeadBytes = 64 * 1024;
inline constexpr size_t kMaxHeaderFields = 200;

class HttpHeadParser {
 public:
  enum class Kind { kRequest, kResponse };

  explicit HttpHeadParser(Kind kind) : kind_(kind) {}

  // Takes bytes up to the end of the head and returns how many; all of them while the head goes on.
  // After an error the parser is of no more use.
  Result<size_t> Feed(std::string_view data);
  bool done() const { return done_; }
  // Whether bytes of an unfinished head wait: the end of the connection is then an error.
  bool started() const { return !buffer_.empty(); }

  // A response's body depends on its request: tell it before Feed when that was HEAD. Reset by
  // TakeResponse.
  void ExpectNoBody() { no_body_ = true; }

  HttpRequest TakeRequest();
  HttpResponse TakeResponse();

 private:
  Result<> Parse(std::string_view head);
  Result<> ParseRequestLine(std::string_view line);
  Result<> ParseStatusLine(std::string_view line);
  Result<> ParseFields(std::string_view lines, HttpHeaders* headers);
  Result<> DecideRequestBody();
  Result<> DecideResponseBody();

  Kind kind_;
  bool done_ = false;
  bool no_body_ = false;
  std::string buffer_;
  HttpRequest request_;
  HttpResponse response_;
};

}  // namespace gantry::wire
