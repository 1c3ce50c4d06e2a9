// SPDX-License-Identifier: Apache-2.0
#include "containerd/names.h"

#include "formats/json.h"

namespace gantry::containerd {
namespace {

constexpr size_t kMaxIdentifierBytes = 76;
constexpr size_t kMaxLabelBytes = 4096;

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

Result<> CheckIdentifier(std::string_view name) {
  if (name.empty()) return InvalidArgument("identifier must not be empty");
  if (name.size() > kMaxIdentifierBytes) {
    return InvalidArgument("identifier \"{}\" greater than maximum length ({} characters)", name,
                           kMaxIdentifierBytes);
  }
  bool after_separator = true;
  for (char c : name) {
    bool separator = c == '.' || c == '_' || c == '-';
    if (!(separator && !after_separator) && !IsAlphanumeric(c)) {
      return InvalidArgument(
          "identifier \"{}\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$", name);
    }
    after_separator = separator;
  }
  if (after_separator) {
    return InvalidArgument("identifier \"{}\" must not end with '{}'", name, name.back());
  }
  return {};
}

Result<> CheckLabels(const std::map<std::string, std::string>& labels) {
  for (const auto& [key, value] : labels) {
    if (key.empty()) return InvalidArgument("label key must not be empty");
    if (key.size() + value.size() > kMaxLabelBytes) {
      return InvalidArgument(
          "label key and value length ({} bytes) greater than maximum size ({} "
          "bytes), key: {}",
          key.size() + value.size(), kMaxLabelBytes, key.substr(0, 32));
    }
  }
  return {};
}

std::string EncodeLabels(const std::map<std::string, std::string>& labels) {
  std::string text = "{";
  for (const auto& [key, value] : labels) {
    if (value.empty()) continue;  // as in containerd's stores: a label that is taken away
    if (text.size() > 1) text += ',';
    formats::AppendJsonString(&text, key);
    text += ':';
    formats::AppendJsonString(&text, value);
  }
  text += '}';
  return text;
}

Result<std::map<std::string, std::string>> DecodeLabels(std::string_view text) {
  std::map<std::string, std::string> labels;
  if (text.empty() || text == "{}") return labels;
  auto json = TRY_WITH(formats::Json::Parse(text), "reading labels");
  for (const auto& [key, value] : json.members()) labels.emplace(key, value.AsString());
  return labels;
}

}  // namespace gantry::containerd
