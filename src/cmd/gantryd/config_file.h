// SPDX-License-Identifier: Apache-2.0
//
// daemon.json: read, and checked against the table and against what flags say, with dockerd's
// messages. One thread.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cmd/gantryd/option_table.h"
#include "formats/json.h"

namespace gantry::gantryd {

// What the command line gave, in its order.
using FlagValues = std::vector<std::pair<const OptionRow*, std::string>>;

class ConfigFile {
 public:
  // A file that is not there is an empty one unless it was asked for by name. Errors are dockerd's:
  // text that is no JSON, a key that nobody knows, a key that is a flag too.
  static Result<ConfigFile> Read(const Options& options, const FlagValues& flags);

  bool Sets(const OptionRow& row) const;
  // Puts the row's value, if it has one, into the options.
  Result<> Apply(const OptionRow& row, Options* options) const;

 private:
  std::map<std::string, formats::Json, std::less<>> values_;  // by key, without "proxies"
};

}  // namespace gantry::gantryd
