// SPDX-License-Identifier: Apache-2.0
//
// The socket on which an OCI runtime sends the terminal's master side (--console-socket). It lies
// in the bundle and is named relative to it, since a bundle's path alone can be too long for a
// socket address; the shim and the runtimes that it starts have the bundle as working directory.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::shim {

class ConsoleSocket {
 public:
  static Result<ConsoleSocket> Create();
  ConsoleSocket(ConsoleSocket&& other) noexcept = default;
  ConsoleSocket& operator=(ConsoleSocket&&) = delete;
  ~ConsoleSocket();

  const std::string& path() const { return path_; }
  // The master; called once the runtime has ended well, and so has sent it.
  Result<UniqueFd> Receive();

 private:
  ConsoleSocket(std::string path, UniqueFd listener)
      : path_(std::move(path)), listener_(std::move(listener)) {}
  std::string path_;
  UniqueFd listener_;
};

}  // namespace gantry::shim
