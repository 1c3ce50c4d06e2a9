// SPDX-License-Identifier: Apache-2.0
//
// Netlink sockets of one protocol, some kept open: closing one may cost a grace period, and each
// call needs its own while it lasts. They belong to the namespace of the process. Any thread.
#pragma once

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "kernel/netlink.h"

namespace gantry::networks {

class KernelSockets {
 public:
  explicit KernelSockets(int protocol) : protocol_(protocol) {}

  // A socket on loan; goes back when it goes out of scope.
  class Loan {
   public:
    Loan(KernelSockets* owner, kernel::NetlinkSocket socket)
        : owner_(owner), socket_(std::move(socket)) {}
    Loan(Loan&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), socket_(std::move(other.socket_)) {}
    Loan& operator=(Loan&&) = delete;
    ~Loan() {
      if (owner_ != nullptr) owner_->GiveBack(std::move(socket_));
    }
    kernel::NetlinkSocket* get() { return &socket_; }

   private:
    KernelSockets* owner_;
    kernel::NetlinkSocket socket_;
  };

  Result<Loan> Take() {
    {
      MutexLock lock(mutex_);
      if (!idle_.empty()) {
        Loan loan(this, std::move(idle_.back()));
        idle_.pop_back();
        return loan;
      }
    }
    return Loan(this, TRY(kernel::NetlinkSocket::Open(protocol_)));
  }

 private:
  // What a crowd needed for a moment is not kept; `socket` is closed after the lock is free.
  void GiveBack(kernel::NetlinkSocket socket) {
    MutexLock lock(mutex_);
    if (idle_.size() < kMostIdle) idle_.push_back(std::move(socket));
  }

  static constexpr size_t kMostIdle = 8;

  int protocol_;
  Mutex mutex_;
  std::vector<kernel::NetlinkSocket> idle_ GUARDED_BY(mutex_);
};

}  // namespace gantry::networks
