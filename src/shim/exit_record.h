// SPDX-License-Identifier: Apache-2.0
//
// BUNDLE/exits/PROC: code and time of a process's exit, written before the exit is published, so
// that a killed shim's `delete` can tell them. PROC is "init" or "exec-" and the exec's id.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace gantry::shim {

struct ExitRecord {
  uint32_t code = 0;
  WallTime time{};
};

std::string ExitRecordPath(const std::string& bundle, const std::string& exec_id);
Result<> WriteExitRecord(const std::string& bundle, const std::string& exec_id,
                         const ExitRecord& record);
Result<ExitRecord> ReadExitRecord(const std::string& bundle, const std::string& exec_id);

}  // namespace gantry::shim
