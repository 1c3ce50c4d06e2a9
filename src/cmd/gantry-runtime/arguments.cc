// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-runtime/arguments.h"

#include <algorithm>
#include <charconv>

namespace gantry::cmd {

void Arguments::Add(std::string_view names, bool takes_value,
                    std::function<Result<>(const std::string&)> set) {
  Option option{{}, takes_value, std::move(set)};
  while (!names.empty()) {
    size_t comma = std::min(names.find(','), names.size());
    option.names.emplace_back(names.substr(0, comma));
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  options_.push_back(std::move(option));
}

void Arguments::Flag(std::string_view names, bool* out) {
  Add(names, false, [out](const std::string& text) -> Result<> {
    *out = text != "false";
    return {};
  });
}

void Arguments::Value(std::string_view names, std::string* out) {
  Add(names, true, [out](const std::string& text) -> Result<> {
    *out = text;
    return {};
  });
}

void Arguments::Number(std::string_view names, int64_t* out) {
  std::string name(names.substr(0, names.find(',')));
  Add(names, true, [out, name](const std::string& text) -> Result<> {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
    if (error != std::errc() || end != text.data() + text.size()) {
      return InvalidArgument("option --{}: '{}' is not a number", name, text);
    }
    return {};
  });
}

void Arguments::List(std::string_view names, std::vector<std::string>* out) {
  Add(names, true, [out](const std::string& text) -> Result<> {
    out->push_back(text);
    return {};
  });
}

Result<const Arguments::Option*> Arguments::Find(std::string_view name) const {
  for (const Option& option : options_) {
    if (std::find(option.names.begin(), option.names.end(), name) != option.names.end()) {
      return &option;
    }
  }
  return InvalidArgument("unknown option '{}'", name);
}

Result<> Arguments::Parse(Order order) {
  size_t at = 0;
  while (at < words_.size()) {
    const std::string& word = words_[at];
    if (word == "--") {
      ++at;
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      if (order == Order::kOptionsFirst) break;
      rest_.push_back(word);
      ++at;
      continue;
    }
    std::string name = word.substr(word[1] == '-' ? 2 : 1);
    size_t equals = name.find('=');
    std::string value = equals != std::string::npos ? name.substr(equals + 1) : "true";
    const Option* option = TRY(Find(name.substr(0, equals)));
    ++at;
    if (option->takes_value && equals == std::string::npos) {
      if (at == words_.size()) return InvalidArgument("option '{}' needs a value", word);
      value = words_[at++];
    }
    TRY(option->set(value));
  }
  rest_.insert(rest_.end(), words_.begin() + static_cast<ptrdiff_t>(at), words_.end());
  return {};
}

Result<> Arguments::Expect(size_t count, std::string_view what) const {
  if (rest_.size() == count) return {};
  return InvalidArgument("expected {}, not {} argument{}", what, rest_.size(),
                         rest_.size() == 1 ? "" : "s");
}

}  // namespace gantry::cmd
