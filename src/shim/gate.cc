// SPDX-License-Identifier: Apache-2.0
#include "shim/gate.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/io.h"
#include "base/unique_fd.h"
#include "formats/launch_message.h"
#include "kernel/pty.h"

namespace gantry::shim {
namespace {

// What the container's process said; the end of the connection is the exec.
Result<> ReadAnswer(BorrowedFd connection) {
  char buffer[formats::kMaxLaunchMessageBytes];
  ssize_t size;
  do {
    size = ::recv(connection.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno != ECONNRESET) return ErrnoError("waiting for the container's program");
  if (size < static_cast<ssize_t>(sizeof(formats::LaunchHead))) return {};
  Error error = formats::LaunchError({buffer, static_cast<size_t>(size)});
  // The words of `start`, which daemons look for.
  return Error(ErrorKind::kUnknown,
               fmt::format("OCI runtime start failed: unable to start container process: {}",
                           error.message()));
}

}  // namespace

Result<> OpenGate(EventLoop* loop, const std::string& state_directory,
                  std::function<void(Result<>)> done) {
  UniqueFd lock = TRY(OpenFile(state_directory, O_RDONLY | O_DIRECTORY));
  // Another call of the runtime is at work: it is waited for by asking the runtime.
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    return ErrnoError("locking '{}'", state_directory);
  }
  std::string gate = state_directory + "/gate";
  UniqueFd connected = TRY(kernel::ConnectUnix(gate));
  auto connection = std::make_shared<UniqueFd>(std::move(connected));
  TRY(loop->Watch(*connection, EPOLLIN, [loop, connection, done = std::move(done)](uint32_t) {
    Result<> answer = ReadAnswer(*connection);
    loop->Unwatch(*connection);
    connection->Reset();
    done(std::move(answer));
  }));
  // From here on it counts as started.
  ::unlink(gate.c_str());
  return {};
}

}  // namespace gantry::shim
