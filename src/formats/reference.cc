// SPDX-License-Identifier: Apache-2.0
#include "formats/reference.h"

#include <algorithm>

namespace gantry::formats {
namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kLegacyDomain = "index.docker.io";
constexpr std::string_view kOfficial = "library/";
constexpr size_t kMaxNameBytes = 255;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsAlnum(char c) { return IsDigit(c) || IsLower(c) || IsUpper(c); }
bool IsLowerAlnum(char c) { return IsDigit(c) || IsLower(c); }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

template <typename F>
bool All(std::string_view text, F&& test) {
  return std::all_of(text.begin(), text.end(), test);
}

Error Invalid(std::string_view text, std::string_view why) {
  std::string_view shown = text.substr(0, 300);
  if (why.empty()) return InvalidArgument("invalid reference format: '{}'", shown);
  return InvalidArgument("invalid reference format: '{}': {}", shown, why);
}

bool IsHost(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    return All(host.substr(1, host.size() - 2), [](char c) { return IsHex(c) || c == ':'; });
  }
  for (;;) {
    size_t dot = host.find('.');
    std::string_view label = host.substr(0, dot);
    if (label.empty() || !IsAlnum(label.front()) || !IsAlnum(label.back()) ||
        !All(label, [](char c) { return IsAlnum(c) || c == '-'; })) {
      return false;
    }
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

bool IsDomain(std::string_view domain) {
  size_t colon = domain.rfind(':');
  if (colon != std::string_view::npos && domain.back() != ']') {
    std::string_view port = domain.substr(colon + 1);
    if (port.empty() || !All(port, IsDigit)) return false;
    domain = domain.substr(0, colon);
  }
  return IsHost(domain);
}

// alphanum { ( "_" | "__" | "." | "-"+ ) alphanum }
bool IsComponent(std::string_view text) {
  if (text.empty() || !IsLowerAlnum(text.front()) || !IsLowerAlnum(text.back())) return false;
  for (size_t i = 0; i < text.size();) {
    if (IsLowerAlnum(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && !IsLowerAlnum(text[end])) ++end;
    std::string_view separator = text.substr(i, end - i);
    bool dashes = All(separator, [](char c) { return c == '-'; });
    if (!dashes && separator != "_" && separator != "__" && separator != ".") return false;
    i = end;
  }
  return true;
}

bool IsPath(std::string_view path) {
  for (;;) {
    size_t slash = path.find('/');
    if (!IsComponent(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool LooksLikeDomain(std::string_view part) {
  return part.find_first_of(".:[") != std::string_view::npos || part == "localhost" ||
         std::any_of(part.begin(), part.end(), IsUpper);
}

bool IsImageId(std::string_view text) {
  return text.size() == 64 &&
         All(text, [](char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); });
}

}  // namespace

bool IsValidTag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || tag[0] == '.' || tag[0] == '-') return false;
  return All(tag, [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

Result<Reference> ParseReference(std::string_view text) {
  if (text.empty()) return Invalid(text, "it is empty");
  if (IsImageId(text)) {
    return Invalid(text, "64 hexadecimal digits are an image's id, not its name");
  }
  Reference reference;
  std::string_view rest = text;
  size_t at = rest.find('@');
  if (at != std::string_view::npos) {
    auto digest = Digest::Parse(rest.substr(at + 1));
    if (!digest.ok()) return Invalid(text, digest.error().message());
    reference.digest = std::move(*digest);
    rest = rest.substr(0, at);
  }
  std::string_view domain = kDefaultDomain;
  size_t slash = rest.find('/');
  if (slash != std::string_view::npos && LooksLikeDomain(rest.substr(0, slash))) {
    domain = rest.substr(0, slash);
    rest.remove_prefix(slash + 1);
  }
  if (domain == kLegacyDomain) domain = kDefaultDomain;
  size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos) {
    std::string_view tag = rest.substr(colon + 1);
    if (!IsValidTag(tag)) return Invalid(text, "");
    reference.tag = tag;
    rest = rest.substr(0, colon);
  }
  if (std::any_of(rest.begin(), rest.end(), IsUpper)) {
    return Invalid(text, fmt::format("repository name ({}) must be lowercase", rest));
  }
  if (!IsDomain(domain) || !IsPath(rest)) return Invalid(text, "");
  reference.domain = domain;
  if (domain == kDefaultDomain && rest.find('/') == std::string_view::npos) {
    reference.path = kOfficial;
  }
  reference.path += rest;
  if (reference.path.size() > kMaxNameBytes) {
    return Invalid(
        text, fmt::format("repository name must not be more than {} characters", kMaxNameBytes));
  }
  return reference;
}

Reference WithDefaultTag(Reference reference) {
  if (reference.tag.empty() && reference.digest.empty()) reference.tag = "latest";
  return reference;
}

std::string Reference::ToString() const {
  std::string text = Repository();
  if (!tag.empty()) text += ":" + tag;
  if (!digest.empty()) text += "@" + digest.text();
  return text;
}

std::string Reference::FamiliarRepository() const {
  if (domain != kDefaultDomain) return Repository();
  std::string_view short_path = path;
  // Without its domain "docker.io/b.c/d" would be d on the host b.c.
  size_t slash = short_path.find('/');
  if (slash != std::string_view::npos && LooksLikeDomain(short_path.substr(0, slash))) {
    return Repository();
  }
  if (short_path.substr(0, kOfficial.size()) == kOfficial &&
      short_path.find('/', kOfficial.size()) == std::string_view::npos) {
    short_path.remove_prefix(kOfficial.size());
  }
  if (IsImageId(short_path)) return path;
  return std::string(short_path);
}

std::string Reference::Familiar() const {
  std::string text = FamiliarRepository();
  if (!tag.empty()) text += ":" + tag;
  if (!digest.empty()) text += "@" + digest.text();
  return text;
}

std::string Reference::RegistryHost() const {
  return domain == kDefaultDomain ? "registry-1.docker.io" : domain;
}

}  // namespace gantry::formats
