// SPDX-License-Identifier: Apache-2.0
//
// Looks into what a client of gRPC sends (RFC 9113, frames; gRPC's PROTOCOL-HTTP2, length-prefixed
// messages): gRPC's library refuses a message that is too large only once it has all of it, so who
// is not trusted is stopped here. Pure; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::buildkit {

class MessageGuard {
 public:
  struct Limits {
    uint64_t message = 0;  // bytes of one
    uint64_t all = 0;      // of those that have begun and are not whole
  };
  explicit MessageGuard(Limits limits) : limits_(limits) {}

  // In the order in which they were sent. kInvalidArgument: this is no HTTP/2; kResourceExhausted.
  Result<> Take(std::string_view bytes);

 private:
  // What of a stream's message has come.
  struct Stream {
    std::string prefix;
    uint64_t left = 0;
  };
  struct Frame {
    uint32_t left = 0;  // of its payload
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
    bool begins = false;
    uint32_t padding = 0;
  };
  Result<> TakePayload(std::string_view payload);
  Result<> TakeData(std::string_view data);
  void EndFrame();
  void Forget(uint32_t stream);

  const Limits limits_;
  std::string head_;  // the preface, then the head of a frame
  bool greeted_ = false;
  Frame frame_;
  std::map<uint32_t, Stream> streams_;  // with a message that is not whole
  uint64_t waiting_ = 0;
};

}  // namespace gantry::buildkit
