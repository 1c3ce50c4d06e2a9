// SPDX-License-Identifier: Apache-2.0
//
// Tells the service manager how a daemon is (sd_notify(3)'s protocol): one datagram to the socket
// that NOTIFY_SOCKET names. Any thread.
#pragma once

#include <string_view>

#include "base/error.h"

namespace gantry {

// Lines such as "READY=1" or "STOPPING=1". Nothing without NOTIFY_SOCKET.
Result<> NotifyServiceManager(std::string_view state);

}  // namespace gantry
