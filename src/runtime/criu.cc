// SPDX-License-Identifier: Apache-2.0
#include "runtime/criu.h"

#include <string_view>

#include "kernel/spawn.h"

namespace gantry::runtime {
namespace {

constexpr size_t kMaxOutput = size_t{1} << 20;

// The line that says why, for a person.
std::string_view Reason(std::string_view output) {
  size_t at = output.find("Error (");
  std::string_view line = output.substr(at == std::string_view::npos ? 0 : at);
  return line.substr(0, line.find('\n'));
}

}  // namespace

Result<> CheckCriu() {
  Result<std::string> program = kernel::FindInPath("criu");
  if (!program.ok()) return FailedPrecondition("criu is not installed (no such program in PATH)");
  kernel::SpawnOptions options;
  options.program = *program;
  options.args = {"criu", "check"};
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  kernel::ProgramOutput check =
      TRY(kernel::SpawnAndRead(options, kernel::Captured::kOutputAndErrors, kMaxOutput));
  if (check.status.ShellCode() == 0) return {};
  return FailedPrecondition("criu does not work on this host: 'criu check' ended with {}: {}",
                            check.status.ShellCode(), Reason(check.text));
}

}  // namespace gantry::runtime
