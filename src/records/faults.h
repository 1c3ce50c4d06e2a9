// SPDX-License-Identifier: Apache-2.0
//
// What a check of records and files finds (`fsck` of both daemons), and the way through it: look,
// tell, repair, until nothing more comes to light. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::records {

struct Fault {
  std::string text;    // "blob sha256:…: no record names it"
  std::string remedy;  // "its file is removed"; empty: only a person can decide
  std::function<Result<>()> repair;
};

struct FaultCount {
  size_t faults = 0;
  size_t repaired = 0;
};

// `look` says what is wrong now; `report` gets a line for each fault, and one for each repair.
// Repairs can bring others to light: a snapshot without its parent, an image without its manifest.
Result<FaultCount> ReportAndRepair(const std::function<Result<std::vector<Fault>>()>& look,
                                   bool repair,
                                   const std::function<void(const std::string&)>& report);

}  // namespace gantry::records
