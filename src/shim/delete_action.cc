// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <charconv>

#include "base/io.h"
#include "containerd/task/v3/shim.plain.h"
#include "shim/actions.h"
#include "shim/exit_record.h"
#include "shim/runtime_command.h"
#include "shim/server.h"

namespace gantry::shim {
namespace {

constexpr uint32_t kKilledCode = 128 + SIGKILL;

std::string BundleOf(const Arguments& arguments) {
  if (!arguments.bundle.empty()) return arguments.bundle;
  std::string cwd(4096, '\0');
  return ::getcwd(cwd.data(), cwd.size()) == nullptr ? "." : std::string(cwd.c_str());
}

pid_t InitPid(const std::string& bundle) {
  std::string text = ReadFile(bundle + "/init.pid", 32).value_or("");
  pid_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

// The socket of a group's shim, which lives, stays.
void RemoveSocket() {
  std::string address = ReadFile("address", 256).value_or("");
  if (address.starts_with("unix:///")) RemoveDeadSocket(address.substr(7));
}

}  // namespace

Result<> RunDelete(const Arguments& arguments) {
  std::string bundle = BundleOf(arguments);
  Result<RuntimeSettings> settings = RuntimeSettings::Load(bundle);
  Result<> deleted;
  // Without settings Create never came as far as the runtime.
  if (settings.ok()) {
    RuntimeCommand runtime(nullptr, bundle, std::move(*settings));
    RuntimeCall call;
    call.args = {"delete", "--force", arguments.id};
    deleted = runtime.RunBlocking(std::move(call));
  }
  // Mounted there only with a foreign runtime by a shim that could not make a mount namespace.
  ::umount2((bundle + "/rootfs").c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  RemoveSocket();
  if (!deleted.ok() && deleted.error().message().find("does not exist") == std::string::npos) {
    return deleted;
  }
  ExitRecord record =
      ReadExitRecord(bundle, "").value_or(ExitRecord{kKilledCode, WallClock::now()});
  plain::containerd::task::v3::DeleteResponse response;
  response.pid = static_cast<uint32_t>(InitPid(bundle));
  response.exit_status = record.code;
  response.exited_at = formats::ProtoTimestamp::From(record.time);
  return WriteAll(BorrowedFd(STDOUT_FILENO), response.Encode());
}

}  // namespace gantry::shim
