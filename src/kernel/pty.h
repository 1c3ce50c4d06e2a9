// SPDX-License-Identifier: Apache-2.0
//
// Pseudoterminals, and passing descriptors over unix sockets. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

struct Pty {
  UniqueFd master;
  UniqueFd slave;
  int number = -1;  // of the slave: pts/N
};

// A new pair from a multiplexer that the caller has opened (/dev/ptmx, or a container's own
// pts/ptmx). The slave is opened through the master, not by a name (TIOCGPTPEER).
Result<Pty> OpenPty(UniqueFd multiplexer);

Result<> SetWindowSize(BorrowedFd terminal, uint32_t rows, uint32_t columns);
// The caller, a session's leader without a terminal, gets this one as its own.
Result<> MakeControllingTerminal(BorrowedFd slave);

// A stream connection to a unix socket; paths longer than sun_path go by a descriptor.
Result<UniqueFd> ConnectUnix(const std::string& path);
// Sends `data` (at least one byte) with one descriptor.
Result<> SendDescriptor(BorrowedFd socket, BorrowedFd descriptor, std::string_view data);
Result<UniqueFd> ReceiveDescriptor(BorrowedFd socket);

}  // namespace gantry::kernel
