// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/output.h"

#include <sysexits.h>
#include <unistd.h>

#include <string>

#include "base/io.h"

namespace gantry::cli {
namespace {

constexpr size_t kFlushAtBytes = 64 * 1024;

struct Output {
  std::string pending;
  bool failed = false;
};

Output& Standard() {
  static Output output;
  return output;
}

}  // namespace

void PrintText(std::string_view text) {
  Standard().pending.append(text);
  if (Standard().pending.size() >= kFlushAtBytes) FlushOutput();
}

void PrintErrorText(std::string_view text) {
  // What was said before on the other stream comes first on a shared terminal.
  FlushOutput();
  // Nobody is left to tell when standard error itself fails.
  (void)WriteAll(BorrowedFd(STDERR_FILENO), text);
}

int UsageError(const Error& error) {
  PrintErrorText(error.message() + "\n");
  return EX_USAGE;
}

bool FlushOutput() {
  Output& output = Standard();
  if (!output.pending.empty() && !WriteAll(BorrowedFd(STDOUT_FILENO), output.pending).ok()) {
    output.failed = true;
  }
  output.pending.clear();
  return !output.failed;
}

}  // namespace gantry::cli
