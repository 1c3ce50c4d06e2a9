// SPDX-License-Identifier: Apache-2.0
//
// What a log driver sends: lines, and whose they are. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace gantry::logs {

struct LogEntry {
  bool is_error = false;  // of stderr
  WallTime time{};
  std::string line;      // without its newline
  bool partial = false;  // cut out of a longer line, which goes on
};

// The container as drivers tell of it.
struct LogSource {
  std::string id;
  std::string name;  // without the slash
  std::string image_id;
  std::string image_name;
  std::string command;
  WallTime created{};
  std::map<std::string, std::string> labels;
  std::vector<std::string> env;  // "NAME=value"
  std::string driver;
  std::map<std::string, std::string> options;

  std::string_view Option(const std::string& name) const {
    auto found = options.find(name);
    return found == options.end() ? std::string_view() : std::string_view(found->second);
  }
};

}  // namespace gantry::logs
