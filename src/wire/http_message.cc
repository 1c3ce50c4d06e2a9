// SPDX-License-Identifier: Apache-2.0
#include "wire/http_message.h"

#include <algorithm>

#include "base/text.h"

namespace gantry::wire {
namespace {

// HTTP/1.1 connections persist unless told otherwise, 1.0 ones only when told (RFC 9112 9.3).
bool Persists(const HttpHeaders& headers, int minor_version) {
  if (headers.HasToken("Connection", "close")) return false;
  return minor_version >= 1 || headers.HasToken("Connection", "keep-alive");
}

constexpr std::string_view kLineBreakers{"\r\n\0", 3};

Result<> AppendFields(const HttpHeaders& headers, std::string* out) {
  for (const HttpHeaders::Field& field : headers.fields()) {
    if (field.name.empty() || field.name.find_first_of(kLineBreakers) != std::string::npos ||
        field.name.find(':') != std::string::npos) {
      return InvalidArgument("formatting HTTP header: bad name '{}'", field.name);
    }
    if (field.value.find_first_of(kLineBreakers) != std::string::npos) {
      return InvalidArgument("formatting HTTP header '{}': line break in the value", field.name);
    }
    out->append(field.name).append(": ").append(field.value).append("\r\n");
  }
  out->append("\r\n");
  return {};
}

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

const std::string* HttpHeaders::Find(std::string_view name) const {
  for (const Field& field : fields_) {
    if (EqualsIgnoreCase(field.name, name)) return &field.value;
  }
  return nullptr;
}

std::string_view HttpHeaders::Get(std::string_view name) const {
  const std::string* value = Find(name);
  return value != nullptr ? std::string_view(*value) : std::string_view();
}

bool HttpHeaders::HasToken(std::string_view name, std::string_view token) const {
  for (const Field& field : fields_) {
    if (!EqualsIgnoreCase(field.name, name)) continue;
    std::string_view rest = field.value;
    for (;;) {
      size_t comma = rest.find(',');
      if (EqualsIgnoreCase(Trim(rest.substr(0, comma), " \t"), token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

size_t HttpHeaders::Count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(fields_.begin(), fields_.end(), [&](const Field& field) {
    return EqualsIgnoreCase(field.name, name);
  }));
}

void HttpHeaders::Add(std::string_view name, std::string_view value) {
  fields_.push_back({std::string(name), std::string(value)});
}

void HttpHeaders::Set(std::string_view name, std::string_view value) {
  Erase(name);
  Add(name, value);
}

void HttpHeaders::Erase(std::string_view name) {
  std::erase_if(fields_, [&](const Field& field) { return EqualsIgnoreCase(field.name, name); });
}

bool HttpRequest::KeepAlive() const { return Persists(headers, minor_version); }

bool HttpRequest::WantsUpgrade(std::string_view protocol) const {
  return headers.HasToken("Connection", "Upgrade") && headers.HasToken("Upgrade", protocol);
}

bool HttpResponse::KeepAlive() const {
  return framing != BodyFraming::kUntilClose && status != 101 && Persists(headers, minor_version);
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "UPGRADED";  // docker's word, which some clients compare
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

Result<std::string> FormatHead(const HttpRequest& request) {
  if (request.method.empty() || request.method.find_first_of(" \r\n") != std::string::npos) {
    return InvalidArgument("formatting HTTP request: bad method '{}'", request.method);
  }
  if (request.target.empty() ||
      std::any_of(request.target.begin(), request.target.end(),
                  [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; })) {
    return InvalidArgument("formatting HTTP request: bad target '{}'", request.target);
  }
  std::string out;
  out.reserve(256);
  out.append(request.method).append(" ").append(request.target);
  out.append(request.minor_version == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  TRY(AppendFields(request.headers, &out));
  return out;
}

Result<std::string> FormatHead(const HttpResponse& response) {
  std::string_view reason =
      response.reason.empty() ? ReasonPhrase(response.status) : std::string_view(response.reason);
  if (reason.find_first_of(kLineBreakers) != std::string_view::npos) {
    return InvalidArgument("formatting HTTP response: line break in the reason");
  }
  std::string out = fmt::format("HTTP/1.{} {} {}\r\n", response.minor_version == 0 ? 0 : 1,
                                response.status, reason);
  TRY(AppendFields(response.headers, &out));
  return out;
}

}  // namespace gantry::wire
