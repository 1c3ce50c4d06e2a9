// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/lines.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "base/text.h"
#include "dockerfile/expand.h"

namespace gantry::dockerfile {
namespace {

std::string_view TrimLeft(std::string_view text) {
  size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  return text.substr(begin);
}

// The lines of a text without their ends.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}
  std::optional<std::string_view> Next() {
    if (rest_.empty()) return std::nullopt;
    ++number_;
    size_t end = std::min(rest_.find('\n'), rest_.size());
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }
  int number() const { return number_; }

 private:
  std::string_view rest_;
  int number_ = 0;
};

// Takes the escape character off a line that goes on in the next one.
bool TakeContinuation(char escape, std::string* line) {
  size_t end = line->find_last_not_of(" \t");
  if (end == std::string::npos || (*line)[end] != escape) return false;
  if (end > 0 && (*line)[end - 1] == escape) return false;
  line->resize(end);
  return true;
}

struct HeredocStart {
  Heredoc doc;
  bool chomps = false;  // <<-: leading tabs are no part of it
};

std::optional<HeredocStart> StartOfHeredoc(const std::string& word) {
  std::string_view rest = word;
  while (!rest.empty() && std::isdigit(static_cast<unsigned char>(rest.front())) != 0) {
    rest.remove_prefix(1);
  }
  if (!rest.starts_with("<<")) return std::nullopt;
  rest.remove_prefix(2);
  HeredocStart start;
  start.doc.word = word;
  if (rest.starts_with('-')) {
    start.chomps = true;
    rest.remove_prefix(1);
  }
  if (rest.empty() || rest.find('<') != std::string_view::npos) return std::nullopt;
  for (char c : rest) {
    if (c == '"' || c == '\'') {
      start.doc.expands = false;
    } else {
      start.doc.name.push_back(c);
    }
  }
  if (start.doc.name.empty()) return std::nullopt;
  return start;
}

class FlagCutter {
 public:
  FlagCutter(std::string_view text, char escape) : text_(text), escape_(escape) {}

  // The words in front that begin with "--"; "--" itself ends them.
  Result<std::vector<Flag>> Cut() {
    std::vector<Flag> flags;
    for (;;) {
      at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
      if (text_.substr(at_, 2) != "--") return flags;
      std::string word = Word();
      if (word == "--") return flags;
      size_t equals = word.find('=');
      Flag flag{word.substr(2, equals == std::string::npos ? equals : equals - 2), "", false};
      if (equals != std::string::npos) {
        flag.value = word.substr(equals + 1);
        flag.has_value = true;
      }
      flags.push_back(std::move(flag));
    }
  }
  std::string_view rest() const { return text_.substr(std::min(at_, text_.size())); }

 private:
  std::string Word() {
    std::string word;
    char quote = 0;
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (quote == 0 && kBlanks.find(c) != std::string_view::npos) break;
      if (c == escape_ && at_ + 1 < text_.size()) {
        word.push_back(text_[++at_]);
      } else if (quote != 0 && c == quote) {
        quote = 0;
      } else if (quote == 0 && (c == '"' || c == '\'')) {
        quote = c;
      } else {
        word.push_back(c);
      }
    }
    return word;
  }

  std::string_view text_;
  char escape_;
  size_t at_ = 0;
};

class Cutter {
 public:
  explicit Cutter(std::string_view text) : lines_(text) {}

  Result<Source> Cut() {
    bool top = true;
    while (auto line = lines_.Next()) {
      if (top) {
        top = TRY(TakeDirective(*line));
        if (top) continue;
      }
      std::string_view trimmed = TrimLeft(*line);
      if (trimmed.empty()) continue;
      if (trimmed.front() == '#') {
        TakeComment(Trim(trimmed.substr(1), kBlanks));
      } else {
        TRY(TakeInstruction(trimmed));
      }
    }
    return std::move(source_);
  }

 private:
  Error Wrong(int number, const Error& error) const {
    return InvalidArgument("dockerfile parse error on line {}: {}", number, error.message());
  }

  // False when the line is none: that ends them.
  Result<bool> TakeDirective(std::string_view line) {
    line = TrimLeft(line);
    if (!line.starts_with('#')) return false;
    auto directive = ReadDirective(line.substr(1));
    if (!directive) return false;
    const auto& [name, value] = *directive;
    std::string* place = name == "syntax" ? &source_.syntax : &source_.check;
    if (name == "escape") {
      if (std::exchange(escape_seen_, true)) {
        return Wrong(lines_.number(),
                     InvalidArgument("only one escape parser directive can be used"));
      }
      if (value != "\\" && value != "`") {
        return Wrong(lines_.number(),
                     InvalidArgument("invalid ESCAPE token '{}' does not match ` or \\", value));
      }
      source_.escape = value[0];
      return true;
    }
    if (name != "syntax" && name != "check") return false;
    if (!place->empty()) {
      return Wrong(lines_.number(),
                   InvalidArgument("only one {} parser directive can be used", name));
    }
    *place = value;
    return true;
  }

  // An empty one parts those above it from the instruction.
  void TakeComment(std::string_view text) {
    if (text.empty()) {
      comments_.clear();
    } else {
      comments_.emplace_back(text);
    }
  }

  Result<> TakeInstruction(std::string_view first) {
    int number = lines_.number();
    std::string text(first);
    bool goes_on = TakeContinuation(source_.escape, &text);
    bool has_empty = false;
    while (goes_on) {
      auto next = lines_.Next();
      if (!next) break;
      std::string_view trimmed = TrimLeft(*next);
      has_empty = has_empty || trimmed.empty();
      if (trimmed.empty() || trimmed.front() == '#') continue;
      std::string more(*next);
      goes_on = TakeContinuation(source_.escape, &more);
      text += more;
    }
    Result<Line> cut = CutLine(text, source_.escape);
    if (!cut.ok()) return Wrong(number, cut.error());
    cut->number = number;
    if (has_empty) cut->empty = lines_.number();
    Result<> documents = TakeHeredocs(&*cut);
    if (!documents.ok()) return Wrong(number, documents.error());
    cut->last = lines_.number();
    cut->comments = std::exchange(comments_, {});
    source_.lines.push_back(*std::move(cut));
    return {};
  }

  Result<> TakeHeredocs(Line* line) {
    std::string keyword = line->keyword;
    if (keyword == "ONBUILD")
      keyword = Upper(line->rest.substr(0, line->rest.find_first_of(" \t")));
    if (keyword != "RUN" && keyword != "COPY" && keyword != "ADD") return {};
    for (const std::string& word : CutWords(line->rest, source_.escape)) {
      auto start = StartOfHeredoc(word);
      if (!start) continue;
      TRY(ReadHeredoc(&*start));
      line->heredocs.push_back(std::move(start->doc));
    }
    return {};
  }

  Result<> ReadHeredoc(HeredocStart* start) {
    while (auto line = lines_.Next()) {
      std::string_view text = *line;
      if (start->chomps) text.remove_prefix(std::min(text.find_first_not_of('\t'), text.size()));
      if (text == start->doc.name) return {};
      start->doc.content += std::string(text) + "\n";
    }
    return InvalidArgument("unterminated heredoc");
  }

  LineReader lines_;
  Source source_;
  bool escape_seen_ = false;
  std::vector<std::string> comments_;  // above the next instruction
};

}  // namespace

std::optional<std::pair<std::string, std::string>> ReadDirective(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  std::string_view name = Trim(text.substr(0, equals), kBlanks);
  std::string_view value = Trim(text.substr(equals + 1), kBlanks);
  bool plain =
      !name.empty() && !value.empty() &&
      std::isalpha(static_cast<unsigned char>(name.front())) != 0 &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
  if (!plain) return std::nullopt;
  return std::pair(Lower(name), std::string(value));
}

Result<Line> CutLine(std::string_view text, char escape) {
  Line line;
  line.original = Trim(text, kBlanks);
  std::string_view whole = line.original;
  size_t blank = std::min(whole.find_first_of(kBlanks), whole.size());
  line.written = whole.substr(0, blank);
  line.keyword = Upper(line.written);
  FlagCutter flags(whole.substr(blank), escape);
  line.flags = TRY(flags.Cut());
  line.rest = Trim(flags.rest(), kBlanks);
  return line;
}

Result<Source> CutLines(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return InvalidArgument("the Dockerfile has more than {} bytes", kMaxBytes);
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return Cutter(text).Cut();
}

}  // namespace gantry::dockerfile
