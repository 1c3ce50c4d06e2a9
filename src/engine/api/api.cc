// SPDX-License-Identifier: Apache-2.0
#include "engine/api/api.h"

#include <cerrno>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "wire/http_message.h"

namespace gantry::engine::api {

using formats::Json;

Result<> RespondJson(Call& call, int status, Json body) {
  Shape(call.form, call.minor, &body);
  call.exchange.headers().Set("Content-Type", "application/json");
  return call.exchange.Respond(status, body.Dump() + "\n");
}

Result<> RespondEmpty(Call& call, int status) { return call.exchange.Respond(status); }

Result<Json> ReadJsonBody(Call& call) {
  std::string text = TRY(call.exchange.ReadBody());
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return Json();
  // Not without one: a page in a browser can send JSON anywhere, but not under this type.
  std::string_view type = call.exchange.request().headers.Get("Content-Type");
  if (!wire::EqualsIgnoreCase(Trim(type.substr(0, type.find(';'))), "application/json")) {
    return InvalidArgument("unsupported Content-Type header ({}): must be 'application/json'",
                           type);
  }
  Result<Json> json = Json::Parse(text);
  if (json.ok()) return json;
  std::string_view why = json.error().message();
  std::string_view parsing = "parsing JSON: ";
  if (why.starts_with(parsing)) why.remove_prefix(parsing.size());
  return InvalidArgument("invalid JSON: {}", why);
}

Result<int64_t> IntParameter(const Call& call, std::string_view name, int64_t fallback) {
  std::string_view text = call.query().Get(name);
  if (text.empty()) return fallback;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("invalid value \"{}\" for parameter '{}': expected a number", text,
                           name);
  }
  return value;
}

namespace {

bool IsNegativeNumber(std::string_view text) {
  return text.size() > 1 && text[0] == '-' &&
         text.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

}  // namespace

Result<uint32_t> SizeParameter(const Call& call, std::string_view name, std::string_view what) {
  std::string_view text = call.query().Get(name);
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view wrong;
  if (text.empty()) {
    wrong = "invalid syntax";
  } else if (error == std::errc::result_out_of_range || IsNegativeNumber(text)) {
    wrong = "value out of range";
  } else if (error != std::errc() || end != text.data() + text.size()) {
    wrong = "invalid syntax";
  }
  if (wrong.empty()) return value;
  return InvalidArgument("invalid resize {} \"{}\": {}", what, text, wrong);
}

Result<WallTime> ParseTime(std::string_view text) {
  if (text.find('T') != std::string_view::npos) return ParseRfc3339(text);
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  int64_t nanos = 0;
  bool good = error == std::errc();
  if (good && end != text.data() + text.size()) {
    std::string_view fraction(end, static_cast<size_t>(text.data() + text.size() - end));
    good = fraction.front() == '.' && fraction.size() <= 10;
    int64_t scale = 100'000'000;
    for (char digit : fraction.substr(good ? 1 : fraction.size())) {
      good = good && digit >= '0' && digit <= '9';
      nanos += (digit - '0') * scale;
      scale /= 10;
    }
  }
  constexpr int64_t kMaxSeconds = 9'000'000'000;
  if (!good || seconds > kMaxSeconds || seconds < -kMaxSeconds) {
    return InvalidArgument("invalid value \"{}\": expected a unix time", text);
  }
  return FromUnixNanos(seconds * 1'000'000'000 + nanos);
}

Result<WallTime> TimeParameter(const Call& call, std::string_view name, WallTime fallback) {
  std::string_view text = call.query().Get(name);
  if (text.empty() || text == "0") return fallback;
  return TRY_WITH(ParseTime(text), "parameter '{}'", name);
}

int StatusOf(const Error& error) {
  if (error.error_number() == EMSGSIZE) return 413;  // Exchange::ReadBody
  switch (error.kind()) {
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kFailedPrecondition:
    case ErrorKind::kOutOfRange:
      return 400;
    case ErrorKind::kUnauthenticated:
      return 401;
    case ErrorKind::kPermissionDenied:
      return 403;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kAlreadyExists:
    case ErrorKind::kAborted:
      return 409;
    case ErrorKind::kCancelled:
      return 499;
    case ErrorKind::kUnimplemented:
      return 501;
    case ErrorKind::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

Error Conflict(std::string message) { return Error(ErrorKind::kAborted, std::move(message)); }

}  // namespace gantry::engine::api
