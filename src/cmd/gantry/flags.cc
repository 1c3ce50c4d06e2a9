// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/flags.h"

#include <algorithm>
#include <charconv>

#include "cmd/gantry/suggest.h"

namespace gantry::cli {

Result<bool> ParseBoolean(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return InvalidArgument("strconv.ParseBool: parsing \"{}\": invalid syntax", text);
}

Result<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  std::string_view digits = text.substr(text.substr(0, 1) == "+" ? 1 : 0);
  const char* end = digits.data() + digits.size();
  auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error == std::errc::result_out_of_range) {
    return InvalidArgument("strconv.ParseInt: parsing \"{}\": value out of range", text);
  }
  if (error != std::errc() || stop != end) {
    return InvalidArgument("strconv.ParseInt: parsing \"{}\": invalid syntax", text);
  }
  return value;
}

void Flags::Bool(std::string_view name, char shorthand, bool* value, std::string_view help) {
  Custom(
      name, shorthand, "",
      [value](const std::string& text) -> Result<> {
        *value = TRY(ParseBoolean(text));
        return {};
      },
      help);
}

void Flags::String(std::string_view name, char shorthand, std::string* value,
                   std::string_view help) {
  Custom(
      name, shorthand, "string",
      [value](const std::string& text) -> Result<> {
        *value = text;
        return {};
      },
      help);
}

void Flags::Int(std::string_view name, char shorthand, int64_t* value, std::string_view help) {
  Custom(
      name, shorthand, "int",
      [value](const std::string& text) -> Result<> {
        *value = TRY(ParseInteger(text));
        return {};
      },
      help);
}

void Flags::List(std::string_view name, char shorthand, std::vector<std::string>* values,
                 std::string_view help) {
  Custom(
      name, shorthand, "list",
      [values](const std::string& text) -> Result<> {
        values->push_back(text);
        return {};
      },
      help);
}

void Flags::Custom(std::string_view name, char shorthand, std::string_view type, Setter set,
                   std::string_view help) {
  Flag flag;
  flag.name = name;
  flag.shorthand = shorthand;
  flag.type = type;
  flag.help = help;
  flag.set = std::move(set);
  flags_.push_back(std::move(flag));
}

void Flags::Alias(std::string_view name, std::string_view existing) {
  Flag flag;
  flag.name = name;
  flag.alias_of = existing;
  flag.hidden = true;
  flags_.push_back(std::move(flag));
}

Flags::Flag* Flags::Find(std::string_view name) {
  for (Flag& flag : flags_) {
    if (flag.name != name) continue;
    return flag.alias_of.empty() ? &flag : Find(flag.alias_of);
  }
  return nullptr;
}

Flags::Flag* Flags::FindShorthand(char shorthand) {
  for (Flag& flag : flags_) {
    if (flag.shorthand == shorthand) return &flag;
  }
  return nullptr;
}

bool Flags::Changed(std::string_view name) const {
  return std::any_of(flags_.begin(), flags_.end(),
                     [&](const Flag& flag) { return flag.name == name && flag.changed; });
}

Result<> Flags::Set(Flag& flag, const std::string& value) {
  Result<> set = flag.set(value);
  if (!set.ok()) {
    std::string shorthand = flag.shorthand != 0 ? fmt::format("-{}, ", flag.shorthand) : "";
    return InvalidArgument("invalid argument \"{}\" for \"{}--{}\" flag: {}", value, shorthand,
                           flag.name, set.error().message());
  }
  flag.changed = true;
  return {};
}

Result<std::vector<std::string>> Flags::Parse(const std::vector<std::string>& args, Order order) {
  if (pass_through_) return args;
  std::vector<std::string> rest;
  for (size_t at = 0; at < args.size(); ++at) {
    std::string_view arg = args[at];
    if (arg == "--") {
      rest.insert(rest.end(), args.begin() + static_cast<ptrdiff_t>(at) + 1, args.end());
      return rest;
    }
    if (arg.size() < 2 || arg[0] != '-') {
      if (order == Order::kBeforeArgs) {
        rest.insert(rest.end(), args.begin() + static_cast<ptrdiff_t>(at), args.end());
        return rest;
      }
      rest.emplace_back(arg);
    } else if (arg[1] == '-') {
      TRY(ParseLong(arg.substr(2), args, &at));
    } else {
      TRY(ParseShorthands(arg.substr(1), args, &at));
    }
    if (help_) return rest;
  }
  return rest;
}

Result<> Flags::ParseLong(std::string_view arg, const std::vector<std::string>& args, size_t* at) {
  size_t equals = arg.find('=');
  std::string_view name = arg.substr(0, equals);
  if (name.empty() || name[0] == '-') return InvalidArgument("bad flag syntax: --{}", arg);
  Flag* flag = Find(name);
  if (flag == nullptr) {
    if (name == "help") {
      help_ = true;
      return {};
    }
    std::vector<std::string> names;
    for (const Info& info : Shown()) names.push_back(info.name);
    std::string meant = Suggest(name, names);
    std::string hint = meant.empty() ? "" : fmt::format("\n\nDid you mean --{}?", meant);
    return InvalidArgument("unknown flag: --{}{}", name, hint);
  }
  if (equals != std::string_view::npos) return Set(*flag, std::string(arg.substr(equals + 1)));
  if (flag->type.empty()) return Set(*flag, "true");
  if (*at + 1 >= args.size()) return InvalidArgument("flag needs an argument: --{}", name);
  return Set(*flag, args[++*at]);
}

Result<> Flags::ParseShorthands(std::string_view arg, const std::vector<std::string>& args,
                                size_t* at) {
  for (size_t i = 0; i < arg.size(); ++i) {
    Flag* flag = FindShorthand(arg[i]);
    if (flag == nullptr) {
      if (arg[i] == 'h') {
        help_ = true;
        return {};
      }
      return InvalidArgument("unknown shorthand flag: '{}' in -{}", arg[i], arg.substr(i));
    }
    std::string_view value = arg.substr(i + 1);
    if (!value.empty() && value[0] == '=') return Set(*flag, std::string(value.substr(1)));
    if (flag->type.empty()) {
      TRY(Set(*flag, "true"));
      continue;
    }
    if (!value.empty()) return Set(*flag, std::string(value));
    if (*at + 1 >= args.size()) {
      return InvalidArgument("flag needs an argument: '{}' in -{}", arg[i], arg.substr(i));
    }
    return Set(*flag, args[++*at]);
  }
  return {};
}

namespace {

// Breaks `text` at blanks into lines of at most `width`, each after the first behind `indent`.
void AppendWrapped(std::string_view text, size_t indent, size_t width, std::string* out) {
  bool first = true;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    do {
      size_t cut = line.size();
      if (cut > width) {
        cut = line.rfind(' ', width);
        if (cut == std::string_view::npos || cut == 0) cut = line.find(' ');
        if (cut == std::string_view::npos) cut = line.size();
      }
      if (!first) out->append(indent, ' ');
      first = false;
      out->append(line.substr(0, cut)).append("\n");
      line = cut < line.size() ? line.substr(cut + 1) : std::string_view();
    } while (!line.empty());
  }
}

}  // namespace

std::vector<Flags::Info> Flags::Shown() const {
  std::vector<Info> shown;
  for (const Flag& flag : flags_) {
    if (!flag.hidden) shown.push_back({flag.name, flag.shorthand, flag.type, flag.help});
  }
  std::sort(shown.begin(), shown.end(),
            [](const Info& a, const Info& b) { return a.name < b.name; });
  return shown;
}

std::string Flags::HelpText(std::string_view title) const {
  std::vector<Info> shown = Shown();
  size_t widest = 0;
  auto column = [](const Info& flag) {
    std::string text = flag.shorthand != 0 ? fmt::format("  -{}, ", flag.shorthand) : "      ";
    text.append("--").append(flag.name);
    if (!flag.type.empty()) text.append(" ").append(flag.type);
    return text;
  };
  for (const Info& flag : shown) widest = std::max(widest, column(flag).size());
  if (shown.empty()) return "";
  size_t indent = widest + 3;
  size_t width = indent < 50 ? 80 - indent : 30;
  std::string out = fmt::format("\n{}:\n", title);
  for (const Info& flag : shown) {
    std::string left = column(flag);
    out.append(left).append(indent - left.size(), ' ');
    AppendWrapped(flag.help, indent, width, &out);
  }
  return out;
}

}  // namespace gantry::cli
