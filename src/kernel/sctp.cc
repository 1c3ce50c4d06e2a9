// SPDX-License-Identifier: Apache-2.0
#include "kernel/sctp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/unique_fd.h"

namespace gantry::kernel {

bool HasSctp() {
  return UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP)).valid();
}

}  // namespace gantry::kernel
