// SPDX-License-Identifier: Apache-2.0
#include "runtime/criu.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/io.h"
#include "kernel/spawn.h"

namespace gantry::runtime {
namespace {

constexpr size_t kMaxOutput = size_t{1} << 20;

Result<std::string> FindCriu() {
  const char* path = ::getenv("PATH");
  std::string_view search = path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin";
  while (!search.empty()) {
    std::string_view directory = search.substr(0, search.find(':'));
    search.remove_prefix(std::min(directory.size() + 1, search.size()));
    std::string file = fmt::format("{}/criu", directory);
    if (directory.starts_with('/') && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return FailedPrecondition("criu is not installed (no such program in PATH)");
}

// The line that says why, for a person.
std::string_view Reason(std::string_view output) {
  size_t at = output.find("Error (");
  std::string_view line = output.substr(at == std::string_view::npos ? 0 : at);
  return line.substr(0, line.find('\n'));
}

}  // namespace

Result<> CheckCriu() {
  std::string program = TRY(FindCriu());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  kernel::SpawnOptions options;
  options.program = program;
  options.args = {"criu", "check"};
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  options.fds = {{input.get(), 1}, {input.get(), 2}};
  kernel::SpawnedProcess process = TRY_WITH(kernel::Spawn(options), "executing '{}'", program);
  input.Reset();
  std::string text = TRY(ReadToEnd(output, kMaxOutput));
  kernel::ExitStatus status = TRY(kernel::WaitExit(process.pidfd));
  if (status.ShellCode() == 0) return {};
  return FailedPrecondition("criu does not work on this host: 'criu check' ended with {}: {}",
                            status.ShellCode(), Reason(text));
}

}  // namespace gantry::runtime
