// SPDX-License-Identifier: Apache-2.0
//
// Logging to standard error, one line a record, as text or JSON:
//
//   2026-11-22T05:00:00.123Z info gantryd: adopted 3 containers
//
// Return an error or log it, never both. Any thread: a record is one write(2).
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

#include "base/unique_fd.h"

namespace gantry::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

// Called once by main, before threads start. `fd` stays open for the life of the process.
void Configure(std::string_view program, Level level, Format format,
               BorrowedFd fd = BorrowedFd(STDERR_FILENO));
// Any thread, at any time.
void SetLevel(Level level);
bool Enabled(Level level);
void Write(Level level, std::string_view message);

template <typename... Args>
void Debug(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kDebug)) {
    Write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void Info(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kInfo)) Write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Warning(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kWarning)) {
    Write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void Failure(fmt::format_string<Args...> format, Args&&... args) {
  Write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace gantry::log
