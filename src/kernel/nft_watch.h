// SPDX-License-Identifier: Apache-2.0
//
// Tells when somebody changes the host's nft tables, iptables-nft's among them: the kernel
// announces every change to the group NFNLGRP_NFTABLES. Legacy iptables tables announce nothing.
// One thread at a time.
#pragma once

#include <functional>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::kernel {

class NftWatch {
 public:
  // In the calling thread's network namespace.
  static Result<NftWatch> Open();
  // Readable when there is news.
  BorrowedFd fd() const { return fd_; }
  // Takes the news there is. True when a table, a chain or a rule of a table that `wanted` names
  // came or went (elements of sets don't count), or when news was lost.
  Result<bool> Changed(const std::function<bool(std::string_view table)>& wanted);

 private:
  explicit NftWatch(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace gantry::kernel
