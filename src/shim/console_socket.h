// SPDX-License-Identifier: Apache-2.0
//
// The socket on which an OCI runtime sends the terminal's master side (--console-socket). It lies
// in the bundle and is named relative to it, since a bundle's path alone can be too long for a
// socket address; runtimes are started with the bundle as working directory. The shim's own is that
// of the first container of its group, maybe gone: it makes the socket through a descriptor.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::shim {

class ConsoleSocket {
 public:
  static Result<ConsoleSocket> Create(const std::string& bundle);
  ConsoleSocket(ConsoleSocket&& other) noexcept = default;
  ConsoleSocket& operator=(ConsoleSocket&&) = delete;
  ~ConsoleSocket();

  // Relative to the bundle.
  const std::string& name() const { return name_; }
  // The master; called once the runtime has ended well, and so has sent it.
  Result<UniqueFd> Receive();

 private:
  ConsoleSocket(UniqueFd bundle, std::string name, UniqueFd listener)
      : bundle_(std::move(bundle)), name_(std::move(name)), listener_(std::move(listener)) {}
  UniqueFd bundle_;
  std::string name_;
  UniqueFd listener_;
};

}  // namespace gantry::shim
