// SPDX-License-Identifier: Apache-2.0
//
// Many messages to the kernel, sent whenever there are so many that their answers still fit into
// the socket's buffer. One thread.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "kernel/netlink.h"

namespace gantry::networks {

class ChunkedBatch {
 public:
  // `gone`: errnos of what is to be taken away and is not there, which is no failure.
  ChunkedBatch(kernel::NetlinkSocket* socket, std::vector<int> gone)
      : socket_(socket), gone_(std::move(gone)) {}

  // Where the next messages go; Pass() comes after those of one item.
  kernel::NetlinkBatch* batch() { return &batch_; }
  Result<> Pass() { return batch_.message_count() < kMost ? Result<>() : Flush(); }
  // What is left; at the end, and before something that needs all of it.
  Result<> Flush() {
    if (batch_.message_count() == 0) return {};
    auto done = socket_->Transact(&batch_);
    batch_ = kernel::NetlinkBatch();
    bool gone = !done.ok() &&
                std::find(gone_.begin(), gone_.end(), done.error().error_number()) != gone_.end();
    return gone ? Result<>() : done;
  }

 private:
  static constexpr size_t kMost = 64;

  kernel::NetlinkSocket* socket_;
  std::vector<int> gone_;
  kernel::NetlinkBatch batch_;
};

}  // namespace gantry::networks
