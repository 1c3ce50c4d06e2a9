// SPDX-License-Identifier: Apache-2.0
//
// Command-line flags as docker's users type them (the syntax of pflag): --name value, --name=value,
// -n value, -nvalue, -itd for several boolean ones, --flag=false, "--" ends flags. A command binds
// its flags to variables, then parses. Messages are those that docker's users know. One thread.
//
//   Flags flags;
//   flags.Bool("all", 'a', &all, "Also show stopped containers");
//   std::vector<std::string> rest = TRY(flags.Parse(args, Flags::Order::kAnywhere));
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::cli {

class Flags {
 public:
  enum class Order {
    kAnywhere,    // flags may stand behind arguments
    kBeforeArgs,  // the first argument ends flags: what follows belongs to the container
  };
  using Setter = std::function<Result<>(const std::string& value)>;

  // `shorthand` 0: none.
  void Bool(std::string_view name, char shorthand, bool* value, std::string_view help);
  void String(std::string_view name, char shorthand, std::string* value, std::string_view help);
  void Int(std::string_view name, char shorthand, int64_t* value, std::string_view help);
  // Each use adds one element.
  void List(std::string_view name, char shorthand, std::vector<std::string>* values,
            std::string_view help);
  // `type` is shown in help, such as "bytes".
  void Custom(std::string_view name, char shorthand, std::string_view type, Setter set,
              std::string_view help);
  // A second name of an existing flag, not shown in help ("net" for "network").
  void Alias(std::string_view name, std::string_view existing);

  // All words are arguments, what looks like a flag too.
  void PassThrough() { pass_through_ = true; }

  // The arguments that are not flags.
  Result<std::vector<std::string>> Parse(const std::vector<std::string>& args, Order order);
  bool Changed(std::string_view name) const;
  bool help_requested() const { return help_; }

  // The "Options:" block of a help text under another title; "" without flags.
  std::string HelpText(std::string_view title = "Options") const;

  // What help, completion and man pages tell of a flag.
  struct Info {
    std::string name;
    char shorthand = 0;
    std::string type;  // empty: boolean
    std::string help;
  };
  // Those that are shown, by name.
  std::vector<Info> Shown() const;

 private:
  struct Flag {
    std::string name;
    char shorthand = 0;
    std::string type;  // empty: boolean
    std::string help;
    Setter set;
    bool changed = false;
    bool hidden = false;
    std::string alias_of;
  };

  Flag* Find(std::string_view name);
  Flag* FindShorthand(char shorthand);
  Result<> Set(Flag& flag, const std::string& value);
  Result<> ParseLong(std::string_view arg, const std::vector<std::string>& args, size_t* at);
  Result<> ParseShorthands(std::string_view arg, const std::vector<std::string>& args, size_t* at);

  std::vector<Flag> flags_;
  bool help_ = false;
  bool pass_through_ = false;
};

// A list whose elements are checked as they are given; `check` returns any Result.
template <typename Check>
void CheckedList(Flags* flags, std::string_view name, char shorthand,
                 std::vector<std::string>* values, Check check, std::string_view help) {
  flags->Custom(
      name, shorthand, "list",
      [values, check](const std::string& text) -> Result<> {
        TRY(check(text));
        values->push_back(text);
        return {};
      },
      help);
}

// Go's strconv.ParseBool: 1, t, T, TRUE, true, True, 0, f, F, FALSE, false, False.
Result<bool> ParseBoolean(std::string_view text);
// A whole decimal number.
Result<int64_t> ParseInteger(std::string_view text);

}  // namespace gantry::cli
