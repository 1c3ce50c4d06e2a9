// SPDX-License-Identifier: Apache-2.0
#include "shim/stdio_uri.h"

#include <charconv>

#include "formats/json.h"

namespace gantry::shim {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Plus { kIsPlus, kIsSpace };

// RFC 3986 section 2.1; Go's query encoder also writes a space as '+'.
Result<std::string> PercentDecode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::kIsSpace) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return InvalidArgument("reading URI '{}': bad '%'", text);
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  if (out.find('\0') != std::string::npos) return InvalidArgument("reading URI: NUL byte");
  return out;
}

Result<int64_t> Number(std::string_view key, const std::string& value, int64_t minimum) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < minimum) {
    return InvalidArgument("reading stdio URI: {} '{}' is no number from {}", key, value, minimum);
  }
  return number;
}

Result<StdinMode> ParseStdinMode(const std::string& value) {
  if (value == "none") return StdinMode::kNone;
  if (value == "once") return StdinMode::kOnce;
  if (value == "open") return StdinMode::kOpen;
  return InvalidArgument("reading stdio URI: stdin '{}' is not none, once or open", value);
}

// As one line, whatever its spaces were.
Result<std::string> Attributes(const std::string& value) {
  formats::Json json = TRY_WITH(formats::Json::Parse(value), "reading stdio URI: attrs");
  if (!json.is_object()) return InvalidArgument("reading stdio URI: attrs is no JSON object");
  return json.Dump();
}

}  // namespace

Result<StdioUri> ParseStdioUri(std::string_view text) {
  StdioUri uri;
  if (text.empty()) return uri;
  size_t colon = text.find("://");
  if (colon == std::string_view::npos) {
    uri.scheme = StdioScheme::kFifo;
    uri.path = text;
    return uri;
  }
  std::string_view scheme = text.substr(0, colon);
  if (scheme == "fifo") {
    uri.scheme = StdioScheme::kFifo;
  } else if (scheme == "file") {
    uri.scheme = StdioScheme::kFile;
  } else if (scheme == "binary") {
    uri.scheme = StdioScheme::kBinary;
  } else if (scheme == "binary-v2") {
    uri.scheme = StdioScheme::kBinaryV2;
  } else if (scheme == "gantry") {
    uri.scheme = StdioScheme::kGantry;
  } else {
    return Unimplemented("stdio URI with scheme '{}'", scheme);
  }
  std::string_view rest = text.substr(colon + 3);
  size_t question = rest.find('?');
  uri.path = TRY(PercentDecode(rest.substr(0, question), Plus::kIsPlus));
  if (!uri.path.starts_with("/")) {
    return InvalidArgument("reading stdio URI '{}': the path is not absolute", text);
  }
  if (question == std::string_view::npos) return uri;
  rest.remove_prefix(question + 1);
  while (!rest.empty()) {
    std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    size_t equals = pair.find('=');
    std::string key = TRY(PercentDecode(pair.substr(0, equals), Plus::kIsSpace));
    std::string value;
    if (equals != std::string_view::npos) {
      value = TRY(PercentDecode(pair.substr(equals + 1), Plus::kIsSpace));
    }
    uri.query.emplace_back(std::move(key), std::move(value));
  }
  return uri;
}

Result<GantryStdio> ParseGantryStdio(const StdioUri& uri) {
  GantryStdio out;
  out.socket = uri.path;
  std::string driver = "json-file";
  for (const auto& [key, value] : uri.query) {
    if (key == "log") {
      if (!value.empty() && value[0] != '/') {
        return InvalidArgument("reading stdio URI: log '{}' is not absolute", value);
      }
      out.log = value;
    } else if (key == "driver") {
      driver = value;
    } else if (key == "max-size") {
      out.max_size = TRY(Number(key, value, -1));
    } else if (key == "max-file") {
      out.max_files = static_cast<int>(std::min<int64_t>(TRY(Number(key, value, 1)), 1000));
    } else if (key == "compress") {
      if (value != "1") return InvalidArgument("reading stdio URI: compress '{}' is not 1", value);
      out.compress = true;
    } else if (key == "attrs") {
      out.attributes = TRY(Attributes(value));
    } else if (key == "stdin") {
      out.stdin_mode = TRY(ParseStdinMode(value));
    } else if (key == "version") {
      if (value != "1") return InvalidArgument("reading stdio URI: version '{}' is not 1", value);
    } else {
      return InvalidArgument("reading stdio URI: unknown key '{}'", key);
    }
  }
  if (driver == "none") {
    out.log.clear();
  } else if (driver != "json-file") {
    return InvalidArgument("reading stdio URI: driver '{}' is not json-file or none", driver);
  }
  return out;
}

}  // namespace gantry::shim
