// SPDX-License-Identifier: Apache-2.0
//
// A connection under TLS: the caller gets one end of a socket pair, and a thread of its own carries
// the bytes between the other end and the server. So all that works on a plain socket works with
// TLS as well: hijacked streams, half-close (close_notify, RFC 8446 section 6.1), poll(2).
//
// OpenSSL is loaded at the first use: linking it would cost each start of the program more than all
// else that it does. The one place in this folder that includes it.
#pragma once

#include <string>

#include "base/error.h"
#include "cmd/gantry/endpoint.h"
#include "wire/http_client.h"

namespace gantry::cli {

// The handshake is over when it returns, so that its errors are told here. The thread lives until
// both sides have ended; the process may end without it (_exit).
Result<wire::HttpConnection> ConnectTls(const wire::Endpoint& endpoint,
                                        const TlsSettings& settings);

// Why a connection broke after its handshake, such as a server that wants a certificate (with TLS
// 1.3 it says so only then); "" when none did. Any thread.
std::string TlsFailure();

}  // namespace gantry::cli
