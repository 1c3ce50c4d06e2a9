// SPDX-License-Identifier: Apache-2.0
//
// A connection to a D-Bus daemon: calls methods, one at a time, and hears signals. Blocks, but
// never beyond the time that Connect was given for all of it. One thread.
#pragma once

#include <chrono>
#include <deque>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "formats/dbus_message.h"

namespace gantry::runtime {

class DbusClient {
 public:
  // Connects to a bus's socket, authenticates as the user that the kernel says we are (EXTERNAL),
  // and says hello.
  static Result<DbusClient> Connect(const std::string& socket, std::chrono::milliseconds limit);

  // The reply's values. A D-Bus error becomes an Error with its name and words: kNotFound of a unit
  // that is not there, kAlreadyExists of one that is, kPermissionDenied, or kUnknown.
  Result<std::vector<formats::DbusValue>> Call(formats::DbusMessage call);
  // Signals have to be asked for, by a call of AddMatch.
  Result<formats::DbusMessage> NextSignal();

 private:
  DbusClient(UniqueFd socket, SteadyClock::time_point deadline)
      : socket_(std::move(socket)), deadline_(deadline) {}

  Result<> Authenticate();
  Result<> Send(std::string_view bytes);
  // Reads until there are at least `size` bytes.
  Result<> Fill(size_t size);
  Result<formats::DbusMessage> Receive();

  UniqueFd socket_;
  SteadyClock::time_point deadline_;
  std::string buffer_;
  uint32_t serial_ = 0;
  std::deque<formats::DbusMessage> signals_;
};

// The socket of an address such as "unix:path=/run/dbus/system_bus_socket,guid=…" (D-Bus
// Specification, "Server Addresses"); the first that is a path.
Result<std::string> SocketOfBusAddress(std::string_view address);

}  // namespace gantry::runtime
