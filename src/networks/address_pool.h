// SPDX-License-Identifier: Apache-2.0
//
// The addresses of one network: a bit for each, and a rest for those that were just given back, so
// that a dying interface and old connections don't meet a new container. Not thread-safe.
#pragma once

#include <chrono>
#include <deque>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "formats/ip_address.h"

namespace gantry::networks {

class AddressPool {
 public:
  // Network, broadcast and gateway address are never given out.
  AddressPool(formats::Ipv4Prefix subnet, formats::Ipv4Address gateway,
              std::chrono::milliseconds rest);

  // The lowest free address; one that still rests only when there is no other, and then the one
  // that has rested longest. kResourceExhausted: docker's "no available IPv4 addresses".
  Result<formats::Ipv4Address> Take(SteadyClock::time_point now);
  // This one. kAlreadyExists: "Address already in use"; kInvalidArgument outside of the subnet.
  Result<> TakeWanted(formats::Ipv4Address address);
  void GiveBack(formats::Ipv4Address address, SteadyClock::time_point now);
  size_t free_count() const { return free_; }

 private:
  struct Resting {
    uint32_t index;
    SteadyClock::time_point until;
  };

  bool IsTaken(uint32_t index) const { return taken_[index / 64] >> (index % 64) & 1; }
  void Mark(uint32_t index, bool taken);
  formats::Ipv4Address At(uint32_t index) const { return {subnet_.network.value + index}; }

  formats::Ipv4Prefix subnet_;
  std::chrono::milliseconds rest_;
  std::vector<uint64_t> taken_;
  size_t free_ = 0;
  uint32_t lowest_word_ = 0;     // no word before it has a free bit
  std::deque<Resting> resting_;  // marked as taken; the earliest first
};

}  // namespace gantry::networks
