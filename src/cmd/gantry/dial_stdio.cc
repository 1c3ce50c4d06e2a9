// SPDX-License-Identifier: Apache-2.0
//
// gantry system dial-stdio: standard input and output become a connection to the daemon. It is what
// ssh:// runs on the daemon's machine.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "cmd/gantry/command_list.h"

namespace gantry::cli {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;

// Moves one piece; false at the end of `from`. A reader that is slow makes the writer wait, in each
// direction by itself: the daemon always reads what it is sent.
Result<bool> MovePiece(int from, int to, std::vector<char>* buffer) {
  size_t got = TRY(ReadSome(BorrowedFd(from), buffer->data(), buffer->size()));
  if (got == 0) return false;
  TRY(WriteAll(BorrowedFd(to), std::string_view(buffer->data(), got)));
  return true;
}

}  // namespace

Result<int> DialStdioCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::None())) return *code;
  DaemonEndpoint endpoint = TRY(cli.Endpoint());
  UniqueFd socket =
      TRY_WITH(endpoint.Connect(), "connecting to '{}'", endpoint.url).Hijack().socket;
  std::vector<char> buffer(kPieceBytes);
  bool input = true;
  for (;;) {
    pollfd wait[2] = {{socket.get(), POLLIN, 0}, {input ? STDIN_FILENO : -1, POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("waiting for the daemon");
    }
    if (wait[0].revents != 0 && !TRY(MovePiece(socket.get(), STDOUT_FILENO, &buffer))) return 0;
    if (wait[1].revents != 0 && !TRY(MovePiece(STDIN_FILENO, socket.get(), &buffer))) {
      input = false;
      ::shutdown(socket.get(), SHUT_WR);
    }
  }
}

}  // namespace gantry::cli
