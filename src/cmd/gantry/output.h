// SPDX-License-Identifier: Apache-2.0
//
// Standard output and error of the CLI: buffered text for the first, whole lines for the second.
// Whatever is buffered is written by Flush, which main calls last. One thread.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

#include "base/error.h"

namespace gantry::cli {

void PrintText(std::string_view text);
void PrintErrorText(std::string_view text);
// False when standard output could not be written, such as on a full disk.
bool FlushOutput();

template <typename... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  PrintText(fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void PrintError(fmt::format_string<Args...> format, Args&&... args) {
  PrintErrorText(fmt::format(format, std::forward<Args>(args)...));
}

// Prints the error and returns EX_USAGE (sysexits.h), which docker's users know from bad templates.
int UsageError(const Error& error);

}  // namespace gantry::cli
