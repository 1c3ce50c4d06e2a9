// SPDX-License-Identifier: Apache-2.0
//
// Options as runc and crun take them: "--name value", "--name=value", "-n value", single-dash long
// names too (Go's flag syntax), "--" ends them. Each command declares what it takes; anything else
// is an error.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::cmd {

class Arguments {
 public:
  explicit Arguments(std::vector<std::string> words) : words_(std::move(words)) {}

  // `names`: "bundle" or "bundle,b".
  void Flag(std::string_view names, bool* out);
  void Value(std::string_view names, std::string* out);
  void Number(std::string_view names, int64_t* out);
  void List(std::string_view names, std::vector<std::string>* out);

  // Reads options up to the first other word, or (kAnywhere) options between the words too.
  enum class Order { kOptionsFirst, kAnywhere };
  Result<> Parse(Order order);
  const std::vector<std::string>& rest() const { return rest_; }
  // The words that are left, which must be this many.
  Result<> Expect(size_t count, std::string_view what) const;

 private:
  struct Option {
    std::vector<std::string> names;
    bool takes_value;
    std::function<Result<>(const std::string&)> set;
  };
  void Add(std::string_view names, bool takes_value,
           std::function<Result<>(const std::string&)> set);
  Result<const Option*> Find(std::string_view name) const;

  std::vector<std::string> words_;
  std::vector<Option> options_;
  std::vector<std::string> rest_;
};

}  // namespace gantry::cmd
