// SPDX-License-Identifier: Apache-2.0
#include "formats/go_template_functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "formats/go_template.h"

namespace gantry::formats {
namespace {

using Args = std::vector<Json>;
constexpr size_t kMaxPadding = 4096;

struct Function {
  std::string_view name;
  size_t least;
  size_t most;
  Result<Json> (*call)(const Args& args);
};

Error Bad(std::string_view what) { return InvalidArgument("{}", what); }

// -1, 0, 1; numbers of any kind and strings are ordered.
Result<int> Compare(const Json& a, const Json& b) {
  if (a.is_string() && b.is_string()) {
    int order = a.AsString().compare(b.AsString());
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  if (a.is_int64() && b.is_int64()) {
    return a.AsInt() < b.AsInt() ? -1 : a.AsInt() > b.AsInt() ? 1 : 0;
  }
  if (a.is_number() && b.is_number()) {
    return a.AsDouble() < b.AsDouble() ? -1 : a.AsDouble() > b.AsDouble() ? 1 : 0;
  }
  return Bad("incompatible types for comparison");
}

Result<bool> Equal(const Json& a, const Json& b) {
  if (a.is_null() || b.is_null()) return a.is_null() && b.is_null();
  if (a.is_bool() && b.is_bool()) return a.AsBool() == b.AsBool();
  return TRY(Compare(a, b)) == 0;
}

Result<Json> And(const Args& args) {
  for (const Json& arg : args) {
    if (!IsGoTrue(arg)) return arg;
  }
  return args.back();
}
Result<Json> Or(const Args& args) {
  for (const Json& arg : args) {
    if (IsGoTrue(arg)) return arg;
  }
  return args.back();
}
Result<Json> Not(const Args& args) { return Json(!IsGoTrue(args[0])); }

Result<Json> Len(const Args& args) {
  const Json& value = args[0];
  // What docker's documents have as null is a list or a map of nothing in Go.
  if (value.is_null()) return Json(0);
  if (!value.is_array() && !value.is_object() && !value.is_string()) {
    return Bad(fmt::format("error calling len: len of type {}", FormatGoValue(value)));
  }
  return Json(static_cast<int64_t>(value.size()));
}

// What a Go map whose values are like these gives for a key that it has not. Those without any
// value are taken for maps of strings, as labels are.
Json ZeroOfMap(const Json& map) {
  if (map.size() == 0) return Json("");
  const Json& value = map.members().front().second;
  if (value.is_string()) return Json("");
  if (value.is_array()) return Json::MakeArray();
  if (value.is_bool()) return Json(false);
  if (value.is_number()) return Json(0);
  return Json();
}

Result<Json> Index(const Args& args) {
  Json value = args[0];
  for (size_t i = 1; i < args.size(); ++i) {
    if (value.is_null() && !args[i].is_string()) {
      return Bad("error calling index: index of untyped nil");
    }
    if (value.is_object() || value.is_null()) {
      if (!args[i].is_string()) {
        return Bad("error calling index: value has type int; should be string");
      }
      const Json* found = value.Find(args[i].AsString());
      Json next = found != nullptr ? *found : ZeroOfMap(value);
      value = std::move(next);
      continue;
    }
    if (!args[i].is_int64()) {
      return Bad("error calling index: cannot index slice/array with type string");
    }
    int64_t at = args[i].AsInt();
    if (at < 0 || static_cast<uint64_t>(at) >= value.size()) {
      return Bad(fmt::format("error calling index: index out of range: {}", at));
    }
    Json next =
        value.is_string()
            ? Json(int64_t{static_cast<unsigned char>(value.AsString()[static_cast<size_t>(at)])})
            : value.at(static_cast<size_t>(at));
    value = std::move(next);
  }
  return value;
}

Result<Json> Slice(const Args& args) {
  size_t size = args[0].size();
  size_t bounds[2] = {0, size};
  for (size_t i = 1; i < args.size(); ++i) {
    int64_t bound = args[i].AsInt(-1);
    if (bound < 0 || static_cast<uint64_t>(bound) > size) {
      return Bad(fmt::format("error calling slice: index out of range: {}", bound));
    }
    bounds[i - 1] = static_cast<size_t>(bound);
  }
  if (bounds[0] > bounds[1]) return Bad("error calling slice: invalid slice index");
  if (args[0].is_string()) {
    return Json(args[0].AsString().substr(bounds[0], bounds[1] - bounds[0]));
  }
  if (!args[0].is_array()) return Bad("error calling slice: can't slice item");
  const Json::Array& items = args[0].items();
  return Json(Json::Array(items.begin() + static_cast<ptrdiff_t>(bounds[0]),
                          items.begin() + static_cast<ptrdiff_t>(bounds[1])));
}

Result<Json> Eq(const Args& args) {
  for (size_t i = 1; i < args.size(); ++i) {
    if (TRY(Equal(args[0], args[i]))) return Json(true);
  }
  return Json(false);
}
Result<Json> Ne(const Args& args) { return Json(!TRY(Equal(args[0], args[1]))); }
Result<Json> Lt(const Args& args) { return Json(TRY(Compare(args[0], args[1])) < 0); }
Result<Json> Le(const Args& args) { return Json(TRY(Compare(args[0], args[1])) <= 0); }
Result<Json> Gt(const Args& args) { return Json(TRY(Compare(args[0], args[1])) > 0); }
Result<Json> Ge(const Args& args) { return Json(TRY(Compare(args[0], args[1])) >= 0); }

// Blanks go between operands when neither is a string (fmt.Sprint).
std::string PrintedText(const Args& args) {
  std::string out;
  for (size_t i = 0; i < args.size(); ++i) {
    if (i > 0 && !args[i].is_string() && !args[i - 1].is_string()) out.push_back(' ');
    out.append(FormatGoValue(args[i]));
  }
  return out;
}
Result<Json> PrintValues(const Args& args) { return Json(PrintedText(args)); }
Result<Json> PrintLine(const Args& args) {
  std::string out;
  for (size_t i = 0; i < args.size(); ++i) {
    out.append(i > 0 ? " " : "").append(FormatGoValue(args[i]));
  }
  return Json(out + "\n");
}

struct Verb {
  bool left = false;
  bool zero = false;
  bool plus = false;
  size_t width = 0;
  int precision = -1;
  char letter = 'v';
};

std::string FormatVerb(const Verb& verb, const Json& value) {
  std::string text;
  switch (verb.letter) {
    case 'd':
      text = value.is_integer() ? FormatGoValue(value) : "%!d(" + FormatGoValue(value) + ")";
      if (verb.plus && value.AsInt() >= 0) text.insert(0, "+");
      break;
    case 'x':
      text = value.is_integer() ? fmt::format("{:x}", value.AsInt()) : "";
      if (value.is_string()) {
        for (char c : value.AsString())
          text += fmt::format("{:02x}", static_cast<unsigned char>(c));
      }
      break;
    case 'f':
      text = fmt::format("{:.{}f}", value.AsDouble(), verb.precision < 0 ? 6 : verb.precision);
      break;
    case 'q':
      text = QuoteGo(FormatGoValue(value));
      break;
    default:
      text = FormatGoValue(value);
      if (verb.letter == 's' && verb.precision >= 0) {
        text = text.substr(0, static_cast<size_t>(verb.precision));
      }
  }
  size_t missing = verb.width > text.size() ? verb.width - text.size() : 0;
  if (missing == 0) return text;
  if (verb.left) return text + std::string(missing, ' ');
  return std::string(missing, verb.zero ? '0' : ' ') + text;
}

Result<Json> PrintFormatted(const Args& args) {
  std::string_view format = args[0].AsString();
  std::string out;
  size_t next = 1;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out.push_back(format[i]);
      continue;
    }
    Verb verb;
    for (++i; i < format.size(); ++i) {
      if (format[i] == '-') {
        verb.left = true;
      } else if (format[i] == '0') {
        verb.zero = true;
      } else if (format[i] == '+') {
        verb.plus = true;
      } else if (format[i] != ' ' && format[i] != '#') {
        break;
      }
    }
    auto number = [&] {
      size_t value = 0;
      for (; i < format.size() && std::isdigit(static_cast<unsigned char>(format[i])) != 0; ++i) {
        value = std::min<size_t>(value * 10 + static_cast<size_t>(format[i] - '0'), kMaxPadding);
      }
      return value;
    };
    verb.width = number();
    if (i < format.size() && format[i] == '.') {
      ++i;
      verb.precision = static_cast<int>(std::min<size_t>(number(), 64));
    }
    if (i >= format.size()) {
      out.append("%!(NOVERB)");
    } else if (format[i] == '%') {
      out.push_back('%');
    } else if (next >= args.size()) {
      out.append("%!").append(1, format[i]).append("(MISSING)");
    } else {
      verb.letter = format[i];
      out.append(FormatVerb(verb, args[next++]));
    }
  }
  return Json(std::move(out));
}

Result<Json> ToJson(const Args& args) {
  // Go's encoder writes the members of maps in order; structs as declared, which is how they came.
  return Json(args[0].Dump());
}

template <int (*kConvert)(int)>
Result<Json> MapLetters(const Args& args) {
  std::string out = FormatGoValue(args[0]);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x80) c = static_cast<char>(kConvert(c));
  }
  return Json(std::move(out));
}

Result<Json> Title(const Args& args) {
  std::string out = FormatGoValue(args[0]);
  bool start = true;
  for (char& c : out) {
    if (start) c = Upper(c);
    start = c == ' ';
  }
  return Json(std::move(out));
}

Result<Json> Split(const Args& args) {
  const std::string& text = args[0].AsString();
  const std::string& separator = args[1].AsString();
  Json out = Json::MakeArray();
  size_t from = 0;
  while (!separator.empty()) {
    size_t at = text.find(separator, from);
    if (at == std::string::npos) break;
    out.Append(text.substr(from, at - from));
    from = at + separator.size();
  }
  out.Append(text.substr(from));
  return out;
}

Result<Json> Join(const Args& args) {
  std::string out;
  bool first = true;
  for (const Json& item : args[0].items()) {
    if (!first) out.append(args[1].AsString());
    first = false;
    out.append(FormatGoValue(item));
  }
  return Json(std::move(out));
}

// pad TEXT LEFT RIGHT: blanks around a text that is not empty.
Result<Json> Pad(const Args& args) {
  const std::string& text = args[0].AsString();
  if (text.empty()) return args[0];
  auto blanks = [](const Json& count) {
    return std::string(static_cast<size_t>(std::clamp<int64_t>(count.AsInt(), 0, kMaxPadding)),
                       ' ');
  };
  return Json(blanks(args[1]) + text + blanks(args[2]));
}

Result<Json> Truncate(const Args& args) {
  int64_t size = std::max<int64_t>(args[1].AsInt(), 0);
  return Json(args[0].AsString().substr(0, static_cast<size_t>(size)));
}

// Text in a page, in a string of a script, in the query of a URL (text/template's own).
Result<Json> Html(const Args& args) {
  std::string out;
  for (char c : PrintedText(args)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out.push_back(c);
    }
  }
  return Json(std::move(out));
}

Result<Json> Js(const Args& args) {
  std::string out;
  for (char c : PrintedText(args)) {
    if (c == '\\' || c == '\'' || c == '"') {
      out.append(1, '\\').append(1, c);
    } else if (c == '<' || c == '>' || c == '&' || c == '=' ||
               static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      out.push_back(c);
    }
  }
  return Json(std::move(out));
}

Result<Json> UrlQuery(const Args& args) {
  std::string out;
  for (char c : PrintedText(args)) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                 std::string_view("-_.~").find(c) != std::string_view::npos;
    if (plain) {
      out.push_back(c);
    } else {
      out += c == ' ' ? "+" : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return Json(std::move(out));
}

constexpr Function kFunctions[] = {
    {"and", 1, SIZE_MAX, And},
    {"eq", 2, SIZE_MAX, Eq},
    {"ge", 2, 2, Ge},
    {"gt", 2, 2, Gt},
    {"html", 1, SIZE_MAX, Html},
    {"index", 1, SIZE_MAX, Index},
    {"join", 2, 2, Join},
    {"js", 1, SIZE_MAX, Js},
    {"json", 1, 1, ToJson},
    {"le", 2, 2, Le},
    {"len", 1, 1, Len},
    {"lower", 1, 1, MapLetters<std::tolower>},
    {"lt", 2, 2, Lt},
    {"ne", 2, 2, Ne},
    {"not", 1, 1, Not},
    {"or", 1, SIZE_MAX, Or},
    {"pad", 3, 3, Pad},
    {"print", 0, SIZE_MAX, PrintValues},
    {"printf", 1, SIZE_MAX, PrintFormatted},
    {"println", 0, SIZE_MAX, PrintLine},
    {"slice", 1, 3, Slice},
    {"split", 2, 2, Split},
    {"title", 1, 1, Title},
    {"truncate", 2, 2, Truncate},
    {"upper", 1, 1, MapLetters<std::toupper>},
    {"urlquery", 1, SIZE_MAX, UrlQuery},
};

const Function* FindFunction(std::string_view name) {
  for (const Function& function : kFunctions) {
    if (function.name == name) return &function;
  }
  return nullptr;
}

}  // namespace

bool IsGoTemplateFunction(std::string_view name) { return FindFunction(name) != nullptr; }

Result<Json> CallGoTemplateFunction(std::string_view name, const Args& args) {
  const Function* function = FindFunction(name);
  if (function == nullptr) return Bad(fmt::format("\"{}\" is not a defined function", name));
  if (args.size() < function->least || args.size() > function->most) {
    bool at_least = args.size() < function->least && function->most == SIZE_MAX;
    return Bad(fmt::format(
        "wrong number of args for {}: want {}{} got {}", name, at_least ? "at least " : "",
        args.size() < function->least ? function->least : function->most, args.size()));
  }
  return function->call(args);
}

bool IsGoTrue(const Json& value) {
  if (value.is_bool()) return value.AsBool();
  if (value.is_number()) return value.AsDouble() != 0;
  return value.size() > 0;
}

std::string QuoteGo(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    static constexpr std::string_view kNames = "abfnrtv\\\"";
    static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"";
    size_t known = kValues.find(c);
    if (known != std::string_view::npos) {
      out.append("\\").push_back(kNames[known]);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out.append(fmt::format("\\x{:02x}", static_cast<unsigned char>(c)));
    } else {
      out.push_back(c);
    }
  }
  return out.append("\"");
}

std::string FormatGoValue(const Json& value) {
  if (value.is_null()) return "<nil>";
  if (value.is_string()) return value.AsString();
  if (value.is_array()) {
    std::string out = "[";
    for (const Json& item : value.items()) {
      out.append(out.size() > 1 ? " " : "").append(FormatGoValue(item));
    }
    return out.append("]");
  }
  if (value.is_object()) {
    std::vector<const Json::Member*> members;
    for (const Json::Member& member : value.members()) members.push_back(&member);
    std::sort(members.begin(), members.end(),
              [](const auto* a, const auto* b) { return a->first < b->first; });
    std::string out = "map[";
    for (const Json::Member* member : members) {
      out.append(out.size() > 4 ? " " : "").append(member->first).append(":");
      out.append(FormatGoValue(member->second));
    }
    return out.append("]");
  }
  return value.Dump();
}

}  // namespace gantry::formats
