// SPDX-License-Identifier: Apache-2.0
#include "wire/http_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace gantry::wire {
namespace {

// tchar of RFC 9110 section 5.6.2.
constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> table{};
  for (char c = '0'; c <= '9'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return kTokenChars[static_cast<unsigned char>(c)];
  });
}

// Blank to tilde, tab, and bytes above ASCII (obs-text).
bool IsFieldText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    unsigned char byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
  });
}

// "HTTP/1.0" or "HTTP/1.1" to 0 or 1.
Result<int> ParseVersion(std::string_view text) {
  if (text.size() != 8 || text.substr(0, 5) != "HTTP/" || text[6] != '.') {
    return InvalidArgument("parsing HTTP head: malformed version");
  }
  if (text[5] != '1' || (text[7] != '0' && text[7] != '1')) {
    return Unimplemented("parsing HTTP head: version '{}' is not supported",
                         IsFieldText(text) ? text : "?");
  }
  return text[7] - '0';
}

struct Framing {
  BodyFraming framing = BodyFraming::kNone;
  uint64_t length = 0;
};

// What the fields say; nothing when they are silent.
Result<std::optional<Framing>> FramingOf(const HttpHeaders& headers, int minor_version) {
  const std::string* coding = headers.Find("Transfer-Encoding");
  const std::string* length = headers.Find("Content-Length");
  if (coding != nullptr) {
    if (length != nullptr) {
      return InvalidArgument("parsing HTTP head: both Transfer-Encoding and Content-Length");
    }
    if (minor_version == 0) {
      return InvalidArgument("parsing HTTP head: Transfer-Encoding in HTTP/1.0");
    }
    if (headers.Count("Transfer-Encoding") != 1 || !EqualsIgnoreCase(*coding, "chunked")) {
      return Unimplemented("parsing HTTP head: transfer coding '{}' is not supported", *coding);
    }
    return std::optional(Framing{BodyFraming::kChunked, 0});
  }
  if (length == nullptr) return std::optional<Framing>();
  if (headers.Count("Content-Length") != 1) {
    return InvalidArgument("parsing HTTP head: more than one Content-Length");
  }
  uint64_t bytes = 0;
  const char* end = length->data() + length->size();
  auto [stop, error] = std::from_chars(length->data(), end, bytes);
  if (error != std::errc() || stop != end) {
    return InvalidArgument("parsing HTTP head: bad Content-Length '{}'", *length);
  }
  return std::optional(Framing{bytes > 0 ? BodyFraming::kLength : BodyFraming::kNone, bytes});
}

}  // namespace

Result<size_t> HttpHeadParser::Feed(std::string_view data) {
  if (done_) return size_t{0};
  size_t skipped = 0;
  // Empty lines before a request are ignored: old clients sent one after a body (RFC 9112 2.2).
  if (kind_ == Kind::kRequest) {
    for (;;) {
      size_t empty_line = 0;
      if (buffer_.empty() && data.substr(0, 2) == "\r\n") empty_line = 2;
      if (buffer_ == "\r" && data.substr(0, 1) == "\n") empty_line = 1;
      if (empty_line == 0) break;
      buffer_.clear();
      data.remove_prefix(empty_line);
      skipped += empty_line;
    }
  }
  // Whoever speaks TLS, or anything else, learns it at once and does not wait for an answer.
  if (kind_ == Kind::kRequest && buffer_.empty() && !data.empty() && data.front() != '\r' &&
      !IsToken(data.substr(0, 1))) {
    return InvalidArgument("parsing HTTP head: it does not begin with a method");
  }
  // The end may straddle what came before.
  size_t from = buffer_.size() < 3 ? 0 : buffer_.size() - 3;
  size_t before = buffer_.size();
  size_t take = std::min(data.size(), kMaxHeadBytes + 1 - before);
  buffer_.append(data.substr(0, take));
  size_t end = buffer_.find("\r\n\r\n", from);
  if (end == std::string::npos) {
    if (buffer_.size() > kMaxHeadBytes) {
      return MakeError(ErrorKind::kResourceExhausted, "parsing HTTP head: more than {} bytes",
                       kMaxHeadBytes);
    }
    return skipped + take;
  }
  size_t used = end + 4 - before;
  TRY(Parse(std::string_view(buffer_).substr(0, end + 2)));
  buffer_.clear();
  done_ = true;
  return skipped + used;
}

HttpRequest HttpHeadParser::TakeRequest() {
  done_ = false;
  return std::exchange(request_, {});
}

HttpResponse HttpHeadParser::TakeResponse() {
  done_ = false;
  no_body_ = false;
  return std::exchange(response_, {});
}

Result<> HttpHeadParser::Parse(std::string_view head) {
  size_t line_end = head.find("\r\n");
  std::string_view first = head.substr(0, line_end);
  std::string_view rest = head.substr(line_end + 2);
  if (kind_ == Kind::kRequest) {
    TRY(ParseRequestLine(first));
    TRY(ParseFields(rest, &request_.headers));
    return DecideRequestBody();
  }
  TRY(ParseStatusLine(first));
  TRY(ParseFields(rest, &response_.headers));
  return DecideResponseBody();
}

// method SP request-target SP HTTP-version
Result<> HttpHeadParser::ParseRequestLine(std::string_view line) {
  size_t first = line.find(' ');
  size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return InvalidArgument("parsing HTTP head: malformed request line");
  }
  std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  if (!IsToken(method)) return InvalidArgument("parsing HTTP head: malformed method");
  request_.minor_version = TRY(ParseVersion(line.substr(last + 1)));
  bool visible = std::all_of(target.begin(), target.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7F;
  });
  if (target.empty() || !visible) return InvalidArgument("parsing HTTP head: malformed target");
  // Proxies send the whole URL; only its path and query concern a server (RFC 9112 3.2.2).
  if (target[0] != '/' && target != "*") {
    size_t scheme = target.find("://");
    if (scheme == std::string_view::npos) {
      return InvalidArgument("parsing HTTP head: malformed target");
    }
    size_t path = target.find('/', scheme + 3);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  request_.method = method;
  request_.target = target;
  return {};
}

// HTTP-version SP status-code SP [reason]; some servers leave out the second blank.
Result<> HttpHeadParser::ParseStatusLine(std::string_view line) {
  if (line.size() < 12 || line[8] != ' ') {
    return InvalidArgument("parsing HTTP head: malformed status line");
  }
  response_.minor_version = TRY(ParseVersion(line.substr(0, 8)));
  std::string_view digits = line.substr(9, 3);
  bool number =
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!number || digits[0] == '0' || (line.size() > 12 && line[12] != ' ')) {
    return InvalidArgument("parsing HTTP head: malformed status");
  }
  response_.status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
  std::string_view reason = line.size() > 13 ? line.substr(13) : std::string_view();
  if (!IsFieldText(reason)) return InvalidArgument("parsing HTTP head: malformed reason");
  response_.reason = reason;
  return {};
}

Result<> HttpHeadParser::ParseFields(std::string_view lines, HttpHeaders* headers) {
  size_t count = 0;
  while (!lines.empty()) {
    size_t end = lines.find("\r\n");
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 2);
    if (++count > kMaxHeaderFields) {
      return MakeError(ErrorKind::kResourceExhausted, "parsing HTTP head: more than {} fields",
                       kMaxHeaderFields);
    }
    size_t colon = line.find(':');
    std::string_view name = line.substr(0, colon);
    // A folded line begins with a blank and so has no token for a name.
    if (colon == std::string_view::npos || !IsToken(name)) {
      return InvalidArgument("parsing HTTP head: malformed header line {}", count);
    }
    std::string_view value = line.substr(colon + 1);
    size_t begin = value.find_first_not_of(" \t");
    value = begin == std::string_view::npos
                ? std::string_view()
                : value.substr(begin, value.find_last_not_of(" \t") - begin + 1);
    if (!IsFieldText(value)) {
      return InvalidArgument("parsing HTTP head: control character in header '{}'", name);
    }
    headers->Add(name, value);
  }
  return {};
}

Result<> HttpHeadParser::DecideRequestBody() {
  size_t hosts = request_.headers.Count("Host");
  if (hosts > 1) return InvalidArgument("parsing HTTP head: more than one Host");
  if (hosts == 0 && request_.minor_version >= 1) {
    return InvalidArgument("parsing HTTP head: missing Host");
  }
  Framing framing = TRY(FramingOf(request_.headers, request_.minor_version)).value_or(Framing());
  request_.framing = framing.framing;
  request_.content_length = framing.length;
  return {};
}

Result<> HttpHeadParser::DecideResponseBody() {
  bool bodiless =
      no_body_ || response_.status < 200 || response_.status == 204 || response_.status == 304;
  std::optional<Framing> framing = TRY(FramingOf(response_.headers, response_.minor_version));
  if (bodiless) {
    // Content-Length then tells what a GET would have sent.
    response_.framing = BodyFraming::kNone;
    response_.content_length = framing ? framing->length : 0;
    return {};
  }
  if (!framing) framing = Framing{BodyFraming::kUntilClose, 0};
  response_.framing = framing->framing;
  response_.content_length = framing->length;
  return {};
}

}  // namespace gantry::wire
