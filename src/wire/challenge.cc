// SPDX-License-Identifier: Apache-2.0
#include "wire/challenge.h"

namespace gantry::wire {
namespace {

bool IsTokenCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string TakeToken(std::string_view* text) {
  size_t size = 0;
  while (size < text->size() && IsTokenCharacter((*text)[size])) ++size;
  std::string token(text->substr(0, size));
  text->remove_prefix(size);
  return token;
}

std::string TakeLowerToken(std::string_view* text) {
  std::string token = TakeToken(text);
  for (char& c : token) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return token;
}

void SkipSpaces(std::string_view* text) {
  while (!text->empty() && (text->front() == ' ' || text->front() == '\t')) text->remove_prefix(1);
}

std::optional<std::string> TakeQuoted(std::string_view* text) {
  std::string value;
  text->remove_prefix(1);
  while (!text->empty()) {
    char c = text->front();
    text->remove_prefix(1);
    if (c == '"') return value;
    if (c == '\\' && !text->empty()) {
      c = text->front();
      text->remove_prefix(1);
    }
    value.push_back(c);
  }
  return {};
}

}  // namespace

std::optional<Challenge> ParseChallenge(std::string_view header) {
  Challenge challenge;
  SkipSpaces(&header);
  challenge.scheme = TakeLowerToken(&header);
  if (challenge.scheme.empty()) return {};
  for (;;) {
    SkipSpaces(&header);
    if (header.empty()) return challenge;
    if (header.front() == ',') {
      header.remove_prefix(1);
      continue;
    }
    std::string name = TakeLowerToken(&header);
    SkipSpaces(&header);
    if (name.empty() || header.empty() || header.front() != '=') return {};
    header.remove_prefix(1);
    SkipSpaces(&header);
    if (!header.empty() && header.front() == '"') {
      auto value = TakeQuoted(&header);
      if (!value) return {};
      challenge.parameters[name] = std::move(*value);
    } else {
      challenge.parameters[name] = TakeToken(&header);
    }
  }
}

}  // namespace gantry::wire
