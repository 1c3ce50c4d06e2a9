// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/patterns.h"

#include <algorithm>

#include "base/text.h"

namespace gantry::dockerfile {
namespace {

// "[a-z^]…": takes the bracket off `pattern`; false when it is not closed.
bool MatchBracket(std::string_view* pattern, char c, bool* fits) {
  std::string_view rest = pattern->substr(1);
  bool negated = rest.starts_with('^');
  if (negated) rest.remove_prefix(1);
  bool found = false;
  bool first = true;
  auto next = [&](char* out) {
    if (rest.starts_with('\\')) rest.remove_prefix(1);
    if (rest.empty()) return false;
    *out = rest[0];
    rest.remove_prefix(1);
    return true;
  };
  while (first || !rest.starts_with(']')) {
    char low = 0;
    if (!next(&low)) return false;
    char high = low;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      if (!next(&high)) return false;
    }
    found = found || (low <= c && c <= high);
    first = false;
  }
  *pattern = rest.substr(1);
  *fits = found != negated;
  return true;
}

enum class Stars { kWithinNames, kAcross };  // whether ** means more than *

// One piece that takes exactly one character; false when it does not fit.
bool TakeOne(std::string_view* pattern, char c) {
  if (pattern->empty()) return false;
  if (pattern->front() == '[') {
    bool fits = false;
    return MatchBracket(pattern, c, &fits) && fits && c != '/';
  }
  if (pattern->front() == '?') {
    pattern->remove_prefix(1);
    return c != '/';
  }
  if (pattern->front() == '\\' && pattern->size() > 1) pattern->remove_prefix(1);
  bool fits = pattern->front() == c;
  pattern->remove_prefix(1);
  return fits;
}

// A star that was passed: where the pattern goes on, and how much of the text it has taken.
struct Retry {
  std::string_view pattern;
  std::string_view text;
  bool across = false;
};

// Backtracks to the last star, and across slashes to the last **: linear in memory, and no worse
// than the product of both lengths for each of the two.
bool Match(std::string_view pattern, std::string_view text, Stars stars) {
  Retry star, across;
  bool has_star = false, has_across = false;
  for (;;) {
    if (pattern.empty() && text.empty()) return true;
    if (stars == Stars::kAcross && pattern.starts_with("**")) {
      pattern.remove_prefix(2);
      // "**/" is also nothing at all.
      bool whole = pattern.starts_with('/');
      if (whole) pattern.remove_prefix(1);
      across = {pattern, text, whole};
      has_across = true;
      has_star = false;
      continue;
    }
    if (pattern.starts_with('*')) {
      pattern.remove_prefix(1);
      star = {pattern, text, false};
      has_star = true;
      continue;
    }
    if (!text.empty()) {
      std::string_view rest = pattern;
      if (TakeOne(&rest, text.front())) {
        pattern = rest;
        text.remove_prefix(1);
        continue;
      }
    }
    if (has_star && !star.text.empty() && star.text.front() != '/') {
      star.text.remove_prefix(1);
      pattern = star.pattern;
      text = star.text;
      continue;
    }
    if (!has_across || across.text.empty()) return false;
    if (across.across) {
      // Only at the beginning of a name.
      size_t slash = across.text.find('/');
      if (slash == std::string_view::npos) return false;
      across.text.remove_prefix(slash + 1);
    } else {
      across.text.remove_prefix(1);
    }
    pattern = across.pattern;
    text = across.text;
    has_star = false;
  }
}

}  // namespace

bool MatchPath(std::string_view pattern, std::string_view path) {
  return Match(pattern, path, Stars::kWithinNames);
}

bool HasWildcard(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '*' || text[i] == '?' || text[i] == '[') {
      return true;
    }
  }
  return false;
}

std::string CleanRelative(std::string_view path) {
  bool absolute = path.starts_with('/');
  std::vector<std::string> parts;
  for (std::string& part : SplitWords(path, "/")) {
    if (part == ".") continue;
    if (part != "..") {
      parts.push_back(std::move(part));
    } else if (!parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (!absolute) {
      parts.push_back(std::move(part));
    }
  }
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : "/") + part;
  return out;
}

Result<IgnoreList> IgnoreList::Parse(std::string_view text) {
  IgnoreList list;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (std::string_view line : Split(text, '\n')) {
    if (line.starts_with('#')) continue;
    line = Trim(line);
    if (line.empty()) continue;
    Pattern pattern;
    if (line.starts_with('!')) {
      line = Trim(line.substr(1));
      if (line.empty()) return InvalidArgument("illegal exclusion pattern: \"!\"");
      pattern.exception = true;
    }
    pattern.text = CleanRelative(line);
    // "." and "/" mean nothing in particular, as docker has it.
    if (pattern.text.empty()) continue;
    list.has_exceptions_ = list.has_exceptions_ || pattern.exception;
    list.patterns_.push_back(std::move(pattern));
  }
  return list;
}

std::vector<std::string> IgnoreList::Lines() const {
  std::vector<std::string> lines;
  for (const Pattern& pattern : patterns_) {
    lines.push_back((pattern.exception ? "!" : "") + pattern.text);
  }
  return lines;
}

bool IgnoreList::Ignores(std::string_view path) const {
  bool ignored = false;
  for (const Pattern& pattern : patterns_) {
    // One that would change nothing need not be tried.
    if (pattern.exception != ignored) continue;
    bool fits = false;
    for (size_t end = 0; !fits && end != std::string_view::npos;) {
      end = path.find('/', end == 0 ? 0 : end + 1);
      fits = Match(pattern.text, path.substr(0, end), Stars::kAcross);
    }
    if (fits) ignored = !pattern.exception;
  }
  return ignored;
}

}  // namespace gantry::dockerfile
