// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/expand.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace gantry::dockerfile {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxMatched = 1024;
// By which variables may make a text longer: values that are made of each other double each time.
constexpr size_t kMostAdded = size_t{1} << 20;

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Shell patterns: * ? and \ before a character. No bracket means anything.
bool MatchPattern(std::string_view pattern, std::string_view text) {
  // The last * and what it has taken: more of it is tried when the rest does not fit.
  size_t p = 0, t = 0;
  size_t star = std::string_view::npos, taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
      continue;
    }
    bool escaped = p + 1 < pattern.size() && pattern[p] == '\\';
    char wanted = p < pattern.size() ? pattern[escaped ? p + 1 : p] : '\0';
    bool fits = p < pattern.size() && ((!escaped && wanted == '?') || wanted == text[t]);
    if (fits) {
      p += escaped ? 2 : 1;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

enum class Greed { kShortest, kLongest };

std::string WithoutPrefix(const std::string& value, std::string_view pattern, Greed greed) {
  for (size_t i = 0; i <= value.size(); ++i) {
    size_t size = greed == Greed::kShortest ? i : value.size() - i;
    if (MatchPattern(pattern, std::string_view(value).substr(0, size))) return value.substr(size);
  }
  return value;
}

std::string WithoutSuffix(const std::string& value, std::string_view pattern, Greed greed) {
  for (size_t i = 0; i <= value.size(); ++i) {
    size_t at = greed == Greed::kShortest ? value.size() - i : i;
    if (MatchPattern(pattern, std::string_view(value).substr(at))) return value.substr(0, at);
  }
  return value;
}

std::string Replaced(const std::string& value, std::string_view pattern,
                     const std::string& replacement, bool all) {
  std::string out;
  size_t at = 0;
  bool done = false;
  while (at < value.size()) {
    size_t size = done ? 0 : value.size() - at;
    while (size > 0 && !MatchPattern(pattern, std::string_view(value).substr(at, size))) --size;
    if (size == 0) {
      out.push_back(value[at++]);
      continue;
    }
    out += replacement;
    at += size;
    done = !all;
  }
  return out;
}

class Lexer {
 public:
  enum class Quotes { kTakenOff, kKept };
  Lexer(const Expander& expander, std::string_view text, Quotes quotes)
      : expander_(expander), text_(text), quotes_(quotes) {}

  Result<std::string> Run() { return UpTo('\0', Escapes::kFollowed); }
  std::vector<std::string> words() && { return std::move(words_); }

 private:
  enum class Escapes { kFollowed, kKept };

  bool AtEnd() const { return at_ >= text_.size(); }
  char Peek() const { return AtEnd() ? '\0' : text_[at_]; }

  // Words are only cut on the outermost level.
  void Add(std::string_view text, bool may_cut) {
    if (depth_ != 1) return;
    if (!may_cut) {
      if (!std::exchange(open_, true)) words_.emplace_back();
      words_.back() += text;
      return;
    }
    for (char c : text) {
      if (IsBlank(c)) {
        open_ = false;
      } else {
        if (!std::exchange(open_, true)) words_.emplace_back();
        words_.back().push_back(c);
      }
    }
  }

  // `stop` '\0': the end of the text.
  Result<std::string> UpTo(char stop, Escapes escapes) {
    if (depth_ >= kMaxDepth) return InvalidArgument("substitutions are nested too deeply");
    ++depth_;
    std::string out;
    while (!AtEnd()) {
      char c = Peek();
      if (stop != '\0' && c == stop) {
        ++at_;
        --depth_;
        return out;
      }
      std::string piece;
      bool may_cut = false;
      if (c == '\'' && quotes_ == Quotes::kTakenOff) {
        piece = TRY(SingleQuoted());
      } else if (c == '"' && quotes_ == Quotes::kTakenOff) {
        piece = TRY(DoubleQuoted());
      } else if (c == '$') {
        piece = TRY(Variable());
        may_cut = true;
      } else if (c == expander_.escape) {
        piece = Escaped(escapes);
      } else {
        piece.push_back(c);
        ++at_;
        may_cut = true;
      }
      Add(piece, may_cut);
      out += piece;
      if (out.size() > text_.size() + kMostAdded) {
        return InvalidArgument("variables add more than {} bytes to a word", kMostAdded);
      }
    }
    --depth_;
    if (stop != '\0') {
      return InvalidArgument("unexpected end of statement while looking for matching {}", stop);
    }
    return out;
  }

  std::string Escaped(Escapes escapes) {
    ++at_;
    // Of a here-document only the meaning of a variable is taken away.
    bool kept = escapes == Escapes::kKept ||
                (quotes_ == Quotes::kKept && Peek() != '$' && Peek() != expander_.escape);
    std::string out;
    if (kept) out.push_back(expander_.escape);
    if (!AtEnd()) out.push_back(text_[at_++]);
    return out;
  }

  Result<std::string> SingleQuoted() {
    size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) {
      return InvalidArgument("unexpected end of statement while looking for matching single-quote");
    }
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }

  Result<std::string> DoubleQuoted() {
    ++at_;
    std::string out;
    while (!AtEnd()) {
      char c = Peek();
      if (c == '"') {
        ++at_;
        return out;
      }
      if (c == '$') {
        out += TRY(Variable());
        continue;
      }
      ++at_;
      if (c == expander_.escape && !AtEnd()) {
        char next = Peek();
        if (next != '"' && next != '$' && next != expander_.escape) out.push_back(c);
        out.push_back(next);
        ++at_;
      } else {
        out.push_back(c);
      }
    }
    return InvalidArgument("unexpected end of statement while looking for matching double-quote");
  }

  std::string Name() {
    size_t begin = at_;
    char c = Peek();
    if (IsLetter(c)) {
      while (IsLetter(Peek()) || IsDigit(Peek())) ++at_;
    } else if (IsDigit(c)) {
      while (IsDigit(Peek())) ++at_;
    } else if (c == '@' || c == '*' || c == '#') {
      ++at_;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<std::string> Variable() {
    ++at_;  // $
    if (Peek() != '{') {
      std::string name = Name();
      if (name.empty()) return std::string("$");
      return expander_.lookup(name).value_or("");
    }
    ++at_;
    if (AtEnd()) return InvalidArgument("syntax error: missing '}}'");
    std::string name = Name();
    if (name.empty()) return InvalidArgument("syntax error: bad substitution");
    if (AtEnd()) return InvalidArgument("syntax error: missing '}}'");
    return Modified(name, expander_.lookup(name));
  }

  Result<std::string> Modified(const std::string& name, const std::optional<std::string>& value) {
    char modifier = text_[at_++];
    if (modifier == '}') return value.value_or("");
    bool empty_is_unset = modifier == ':';
    if (empty_is_unset) {
      if (AtEnd()) return InvalidArgument("syntax error: missing '}}'");
      modifier = text_[at_++];
    }
    bool set = value && !(empty_is_unset && value->empty());
    switch (modifier) {
      case '-': {
        std::string word = TRY(UpTo('}', Escapes::kFollowed));
        return set ? *value : word;
      }
      case '+': {
        std::string word = TRY(UpTo('}', Escapes::kFollowed));
        return set ? word : std::string();
      }
      case '?': {
        std::string word = TRY(UpTo('}', Escapes::kFollowed));
        if (set) return *value;
        if (word.empty())
          word = empty_is_unset ? "not allowed to be empty" : "is not allowed to be unset";
        return InvalidArgument("{}: {}", name, word);
      }
      case '#':
      case '%':
      case '/':
        if (!empty_is_unset) return Cut(modifier, value.value_or(""));
        [[fallthrough]];
      default:
        return InvalidArgument("unsupported modifier ({}{}) in substitution",
                               empty_is_unset ? ":" : "", modifier);
    }
  }

  Result<std::string> Cut(char modifier, const std::string& value) {
    // Every part of the value is tried against the pattern.
    if (value.size() > kMaxMatched) {
      return InvalidArgument("a value of more than {} bytes in a substitution by pattern",
                             kMaxMatched);
    }
    bool twice = Peek() == modifier;
    if (twice) ++at_;
    if (modifier == '/') {
      std::string pattern = TRY(UpTo('/', Escapes::kKept));
      std::string replacement = TRY(UpTo('}', Escapes::kFollowed));
      return Replaced(value, pattern, replacement, twice);
    }
    std::string pattern = TRY(UpTo('}', Escapes::kKept));
    Greed greed = twice ? Greed::kLongest : Greed::kShortest;
    return modifier == '#' ? WithoutPrefix(value, pattern, greed)
                           : WithoutSuffix(value, pattern, greed);
  }

  const Expander& expander_;
  const std::string_view text_;
  const Quotes quotes_;
  size_t at_ = 0;
  int depth_ = 0;
  bool open_ = false;
  std::vector<std::string> words_;
};

}  // namespace

Result<std::string> Expander::Word(std::string_view text) const {
  return TRY_WITH(Lexer(*this, text, Lexer::Quotes::kTakenOff).Run(), "failed to process \"{}\"",
                  text);
}

Result<std::vector<std::string>> Expander::Words(std::string_view text) const {
  Lexer lexer(*this, text, Lexer::Quotes::kTakenOff);
  TRY_WITH(lexer.Run(), "failed to process \"{}\"", text);
  return std::move(lexer).words();
}

Result<std::string> Expander::Text(std::string_view text) const {
  return TRY_WITH(Lexer(*this, text, Lexer::Quotes::kKept).Run(), "failed to process a text");
}

std::vector<std::string> CutWords(std::string_view text, char escape) {
  std::vector<std::string> words;
  char quote = 0;
  bool open = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quote == 0 && IsBlank(c)) {
      open = false;
      continue;
    }
    if (!std::exchange(open, true)) words.emplace_back();
    words.back().push_back(c);
    if (c == escape && quote != '\'' && i + 1 < text.size()) {
      words.back().push_back(text[++i]);
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    }
  }
  return words;
}

}  // namespace gantry::dockerfile
