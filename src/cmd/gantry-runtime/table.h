// SPDX-License-Identifier: Apache-2.0
//
// Text in columns, as `list` and `ps` print it. Pure, but for UserName; any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gantry::cmd {

// Columns are at least 12 wide and have three blanks between them, as runc's.
class Table {
 public:
  explicit Table(std::vector<std::string> head) { Add(std::move(head)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// The head of ps(1)'s output and the lines whose PID is one of these.
Result<std::string> ProcessesOfTable(std::string_view text, const std::vector<pid_t>& pids);

// From the host's /etc/passwd, read here: a static program has no NSS. The number if it has none.
std::string UserName(uid_t uid);

}  // namespace gantry::cmd
