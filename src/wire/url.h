// SPDX-License-Identifier: Apache-2.0
//
// Request targets taken apart and put together: percent-encoding (RFC 3986 section 2.1) and query
// strings in the form encoding that Go's clients use, where '+' is a blank. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gantry::wire {

// Errors: a '%' without two hex digits, a NUL, escaped or not.
Result<std::string> PercentDecode(std::string_view text);
// Keeps letters, digits, "-._~" and, for paths, '/', ':' and '@'.
std::string PercentEncode(std::string_view text);
std::string PercentEncodePath(std::string_view text);

// The parameters of a query string, in order, decoded.
class Query {
 public:
  Query() = default;
  static Result<Query> Parse(std::string_view text);

  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  // The first value of that name, or nullptr.
  const std::string* Find(std::string_view name) const;
  // The same, or the fallback.
  std::string_view Get(std::string_view name, std::string_view fallback = "") const;
  std::vector<std::string> GetAll(std::string_view name) const;
  // As Docker's API reads booleans: false for "", "0", "no", "false", "none" in any case or when
  // missing; all else is true.
  bool GetBool(std::string_view name, bool fallback = false) const;

  Query& Add(std::string_view name, std::string_view value) &;
  // "a=1&b=x%20y", without a '?'; "" when empty.
  std::string Format() const;
  const std::vector<std::pair<std::string, std::string>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

struct Target {
  std::string path;  // decoded
  Query query;
};

// "/v1.43/containers/json?all=1#x" to its decoded path and query; a fragment is dropped.
Result<Target> ParseTarget(std::string_view target);

}  // namespace gantry::wire
