// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "containerd/runc/v1/options.plain.h"
#include "containerd/types/introspection.plain.h"
#include "kernel/memory_file.h"
#include "kernel/spawn.h"
#include "shim/actions.h"
#include "shim/runtime_command.h"

namespace gantry::shim {
namespace {

constexpr size_t kMaxText = size_t{1} << 20;

Result<std::string> ReadInput() {
  struct stat info{};
  if (::fstat(STDIN_FILENO, &info) < 0 || S_ISCHR(info.st_mode)) return std::string();
  pollfd poll{STDIN_FILENO, POLLIN, 0};
  if (::poll(&poll, 1, 1000) <= 0) return std::string();
  return ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxText);
}

// Standard output of `RUNTIME features`; "" from a runtime that has no such command.
Result<std::string> Features(const std::string& binary) {
  UniqueFd output = TRY(kernel::MemoryFile("features", ""));
  kernel::SpawnOptions options;
  options.program = binary;
  options.args = {binary, "features"};
  options.fds = {{output.get(), 1}};
  kernel::ExitStatus status =
      TRY_WITH(kernel::SpawnAndWait(options), "running '{} features'", binary);
  if (status.ShellCode() != 0) return std::string();
  if (::lseek(output.get(), 0, SEEK_SET) < 0) return ErrnoError("rewinding a memory file");
  return ReadToEnd(output, kMaxText);
}

}  // namespace

Result<> RunInfo() {
  plain::containerd::types::RuntimeInfo info;
  info.name = "io.containerd.gantry.v1";
  info.version.emplace().version = GANTRY_VERSION;
  std::string binary_name;
  std::string input = TRY(ReadInput());
  if (!input.empty()) {
    info.options = TRY(formats::ProtoDecode<formats::ProtoAny>(input));
    if (info.options->TypeName() == "containerd.runc.v1.Options") {
      auto options = TRY(plain::containerd::runc::v1::Options::Decode(info.options->value));
      binary_name = options.binary_name;
    }
  }
  std::string binary = TRY(FindRuntime(binary_name));
  std::string features = TRY(Features(binary));
  if (!features.empty()) {
    info.features = formats::ProtoAny{
        "types.containerd.io/opencontainers/runtime-spec/1/features/Features", features};
  }
  return WriteAll(BorrowedFd(STDOUT_FILENO), info.Encode());
}

}  // namespace gantry::shim
