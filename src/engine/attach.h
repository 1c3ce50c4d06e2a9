// SPDX-License-Identifier: Apache-2.0
//
// Attaching a hijacked client to a container's streams, through the shim's attach socket
// (docs/shim-io.md) and the relay. A client may come before the container starts. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "wire/relay.h"

namespace gantry::engine {

// As in the attach request of docs/shim-io.md.
inline constexpr uint8_t kAttachStdin = 1;
inline constexpr uint8_t kAttachStdout = 2;
inline constexpr uint8_t kAttachStderr = 4;
inline constexpr uint64_t kFromNowOn = UINT64_MAX;

// Connects and makes the handshake; the descriptor is non-blocking. `offset`: output bytes that the
// client has seen, or kFromNowOn.
Result<UniqueFd> ConnectAttachSocket(const std::string& path, uint8_t streams, uint64_t offset);

struct AttachRequest {
  UniqueFd client;       // hijacked, non-blocking
  std::string received;  // bytes that came with the request
  uint8_t streams = 0;
  std::string detach_keys;  // bytes
  // Unset: as the container's terminal has it.
  std::optional<wire::RelayForm> form;
  // Connected already (after a replay of the log).
  UniqueFd process;
};

// Joins the client now, or at the container's next start. Errors only before the client's socket is
// taken.
Result<> AttachToContainer(Engine& engine, EventLoop& loop, std::shared_ptr<Container> container,
                           AttachRequest request);

// "ctrl-p,ctrl-q" to its bytes; "" gives docker's default. kInvalidArgument for unknown keys.
Result<std::string> ParseDetachKeys(std::string_view text);

}  // namespace gantry::engine
