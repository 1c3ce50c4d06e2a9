// SPDX-License-Identifier: Apache-2.0
//
// The addresses of one network and family: a bit for each, and a rest for those that were just
// given back, so that a dying interface and old connections don't meet a new container. Not
// thread-safe.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "formats/ip_address.h"

namespace gantry::networks {

// `Prefix` is formats::Ipv4Prefix or formats::Ipv6Prefix.
template <typename Prefix>
class BasicAddressPool {
 public:
  using Address = decltype(Prefix::network);

  // Network, broadcast (of IPv4) and gateway address are never given out. With `range` (a part of
  // the subnet) Take() gives addresses of it alone; any other of the subnet may still be asked for
  // by name.
  BasicAddressPool(Prefix subnet, std::optional<Address> gateway, std::chrono::milliseconds rest,
                   std::optional<Prefix> range = std::nullopt);

  // The lowest free address; one that still rests only when there is no other, and then the one
  // that has rested longest. kResourceExhausted: docker's "no available IPv4 addresses".
  Result<Address> Take(SteadyClock::time_point now);
  // This one. kPermissionDenied: "Address already in use"; kInvalidArgument outside of the subnet.
  Result<> TakeWanted(Address address);
  void GiveBack(Address address, SteadyClock::time_point now);
  // Of those that Take() may give.
  size_t free_count() const { return free_; }
  // Of the range, else the subnet, those that nobody has, beyond what Take() goes through too: what
  // docker's IPAM status counts. Those that rest are nobody's. 2^64 - 1 stands for more as well.
  uint64_t available() const;
  // Of the subnet, with those that are never given out.
  uint64_t in_use() const;
  const Prefix& subnet() const { return subnet_; }

 private:
  struct Resting {
    uint32_t index;
    SteadyClock::time_point until;
  };

  uint32_t size() const { return uint32_t{1} << (kBits - window_.length); }
  // Of an address of the window: the window begins at a multiple of its size.
  uint32_t IndexOf(const Address& address) const { return address.LowBits() & (size() - 1); }
  bool IsTaken(uint32_t index) const { return taken_[index / 64] >> (index % 64) & 1; }
  bool IsDynamic(uint32_t index) const { return index >= first_ && index <= last_; }
  bool IsEdge(const Address& address) const;
  void Mark(uint32_t index, bool taken);

  static constexpr int kBits = sizeof(Address) * 8;

  Prefix subnet_;
  Prefix range_;        // the subnet where there is none
  Prefix window_;       // what the bits stand for: the subnet, or 65,536 addresses of it
  uint32_t first_ = 0;  // Take() gives these
  uint32_t last_ = 0;
  std::chrono::milliseconds rest_;
  std::vector<uint64_t> taken_;
  std::set<Address> taken_outside_;  // asked for by name, beyond the window
  size_t free_ = 0;
  uint32_t lowest_word_ = 0;     // no word before it has a free bit that Take() may give
  std::deque<Resting> resting_;  // marked as taken; the earliest first
};

// Those of a network's subnets, as one: what the first has not comes from the next.
template <typename Prefix>
class BasicAddressPools {
 public:
  using Pool = BasicAddressPool<Prefix>;
  using Address = typename Pool::Address;

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const Pool& pool : pools_) visit(pool);
  }

  explicit BasicAddressPools(Pool first) { pools_.push_back(std::move(first)); }
  void Add(Pool pool) { pools_.push_back(std::move(pool)); }

  Result<Address> Take(SteadyClock::time_point now);
  Result<> TakeWanted(Address address) { return With(address).TakeWanted(address); }
  void GiveBack(Address address, SteadyClock::time_point now) {
    With(address).GiveBack(address, now);
  }

 private:
  // The first where there is none, which says so.
  Pool& With(const Address& address);

  std::vector<Pool> pools_;
};

using AddressPool = BasicAddressPool<formats::Ipv4Prefix>;
using AddressPool6 = BasicAddressPool<formats::Ipv6Prefix>;
using AddressPools = BasicAddressPools<formats::Ipv4Prefix>;
using AddressPools6 = BasicAddressPools<formats::Ipv6Prefix>;

}  // namespace gantry::networks
