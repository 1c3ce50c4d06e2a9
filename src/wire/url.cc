// SPDX-License-Identifier: Apache-2.0
#include "wire/url.h"

#include "wire/http_message.h"

namespace gantry::wire {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> Decode(std::string_view text, bool plus_is_blank) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus_is_blank) {
      c = ' ';
    } else if (c == '%') {
      int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
      if (low < 0) return InvalidArgument("decoding URL: bad escape at byte {}", i);
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    // It would end the string in every system call that it reaches.
    if (c == '\0') return InvalidArgument("decoding URL: NUL before byte {}", i);
    out.push_back(c);
  }
  return out;
}

std::string Encode(std::string_view text, std::string_view keep) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 keep.find(c) != std::string_view::npos;
    if (plain) {
      out.push_back(c);
    } else {
      unsigned char byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

}  // namespace

Result<std::string> PercentDecode(std::string_view text) { return Decode(text, false); }
std::string PercentEncode(std::string_view text) { return Encode(text, "-._~"); }
std::string PercentEncodePath(std::string_view text) { return Encode(text, "-._~/:@"); }

Result<Query> Query::Parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    size_t end = text.find('&');
    std::string_view item = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (item.empty()) continue;
    size_t equals = item.find('=');
    std::string name = TRY(Decode(item.substr(0, equals), true));
    std::string value;
    if (equals != std::string_view::npos) value = TRY(Decode(item.substr(equals + 1), true));
    query.items_.emplace_back(std::move(name), std::move(value));
  }
  return query;
}

const std::string* Query::Find(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string_view Query::Get(std::string_view name, std::string_view fallback) const {
  const std::string* value = Find(name);
  return value != nullptr ? std::string_view(*value) : fallback;
}

std::vector<std::string> Query::GetAll(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : items_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

bool Query::GetBool(std::string_view name, bool fallback) const {
  const std::string* value = Find(name);
  if (value == nullptr) return fallback;
  for (std::string_view no : {"", "0", "no", "false", "none"}) {
    if (EqualsIgnoreCase(*value, no)) return false;
  }
  return true;
}

Query& Query::Add(std::string_view name, std::string_view value) & {
  items_.emplace_back(std::string(name), std::string(value));
  return *this;
}

std::string Query::Format() const {
  std::string out;
  for (const auto& [name, value] : items_) {
    if (!out.empty()) out.push_back('&');
    out.append(PercentEncode(name)).append("=").append(PercentEncode(value));
  }
  return out;
}

Result<Target> ParseTarget(std::string_view target) {
  target = target.substr(0, target.find('#'));
  size_t question = target.find('?');
  Target out;
  out.path = TRY(PercentDecode(target.substr(0, question)));
  if (question != std::string_view::npos)
    out.query = TRY(Query::Parse(target.substr(question + 1)));
  return out;
}

}  // namespace gantry::wire
