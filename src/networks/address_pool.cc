// SPDX-License-Identifier: Apache-2.0
#include "networks/address_pool.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

namespace gantry::networks {
namespace {

// Of a larger subnet so much is used: 65,536 addresses are more than a bridge has ports.
constexpr int kWindowBits = 16;

template <typename Prefix>
constexpr bool kIsV4 = std::is_same_v<Prefix, formats::Ipv4Prefix>;

}  // namespace

template <typename Prefix>
BasicAddressPool<Prefix>::BasicAddressPool(Prefix subnet, std::optional<Address> gateway,
                                           std::chrono::milliseconds rest,
                                           std::optional<Prefix> range)
    : subnet_(subnet), range_(range.value_or(subnet)), rest_(rest) {
  constexpr uint8_t kMinLength = kBits - kWindowBits;
  window_ = Prefix::Of(range_.network, std::max(subnet.length, kMinLength));
  taken_.resize((size() + 63) / 64);
  last_ = size() - 1;
  if (range) {
    first_ = IndexOf(range->network);
    if (window_.Contains(range->Last())) last_ = IndexOf(range->Last());
  }
  free_ = last_ - first_ + 1;
  lowest_word_ = first_ / 64;
  for (uint32_t index = size(); index < taken_.size() * 64; ++index) {
    taken_[index / 64] |= uint64_t{1} << (index % 64);
  }
  for (uint32_t index : {uint32_t{0}, size() - 1}) {
    if (IsEdge(window_.network.Plus(index)) && !IsTaken(index)) Mark(index, true);
  }
  if (!gateway) return;
  if (!window_.Contains(*gateway)) {
    taken_outside_.insert(*gateway);
  } else if (!IsTaken(IndexOf(*gateway))) {
    Mark(IndexOf(*gateway), true);
  }
}

// IPv4: the network's and the broadcast address; RFC 3021: a /31 has neither. IPv6: the subnet's
// routers' anycast address (RFC 4291 section 2.6.1); RFC 6164: a /127 has none.
template <typename Prefix>
bool BasicAddressPool<Prefix>::IsEdge(const Address& address) const {
  if constexpr (kIsV4<Prefix>) {
    return subnet_.length < 31 && (address == subnet_.network || address == subnet_.Last());
  } else {
    return subnet_.length < 127 && address == subnet_.network;
  }
}

template <typename Prefix>
void BasicAddressPool<Prefix>::Mark(uint32_t index, bool taken) {
  uint64_t bit = uint64_t{1} << (index % 64);
  if (taken) {
    taken_[index / 64] |= bit;
  } else {
    taken_[index / 64] &= ~bit;
  }
  if (!IsDynamic(index)) return;
  free_ += taken ? size_t(-1) : size_t(1);
  if (!taken) lowest_word_ = std::min(lowest_word_, index / 64);
}

template <typename Prefix>
uint64_t BasicAddressPool<Prefix>::available() const {
  auto waiting = std::count_if(resting_.begin(), resting_.end(),
                               [&](const Resting& item) { return IsDynamic(item.index); });
  uint64_t in_window = free_ + static_cast<uint64_t>(waiting);
  int bits = kBits - range_.length;
  if (bits <= kWindowBits) return in_window;
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  if (bits > 64) return kMost;
  uint64_t beyond = (bits == 64 ? 0 : uint64_t{1} << bits) - size();  // modulo 2^64
  auto is_beyond = [&](const Address& address) {
    return range_.Contains(address) && !window_.Contains(address);
  };
  beyond -=
      static_cast<uint64_t>(std::count_if(taken_outside_.begin(), taken_outside_.end(), is_beyond));
  for (const Address& edge : {subnet_.network, subnet_.Last()}) {
    if (IsEdge(edge) && is_beyond(edge)) --beyond;
  }
  return in_window > kMost - beyond ? kMost : in_window + beyond;
}

template <typename Prefix>
uint64_t BasicAddressPool<Prefix>::in_use() const {
  uint64_t count = taken_outside_.size();
  for (uint32_t index = 0; index < size(); ++index) count += IsTaken(index) ? 1 : 0;
  for (const Address& edge : {subnet_.network, subnet_.Last()}) {
    if (IsEdge(edge) && !window_.Contains(edge)) ++count;
  }
  return count - resting_.size();
}

template <typename Prefix>
auto BasicAddressPool<Prefix>::Take(SteadyClock::time_point now) -> Result<Address> {
  while (!resting_.empty() && (resting_.front().until <= now || free_ == 0)) {
    Mark(resting_.front().index, false);
    resting_.pop_front();
  }
  for (; lowest_word_ <= last_ / 64; ++lowest_word_) {
    uint64_t word = taken_[lowest_word_];
    if (lowest_word_ == first_ / 64) word |= (uint64_t{1} << (first_ % 64)) - 1;
    if (word == ~uint64_t{0}) continue;
    uint32_t index = lowest_word_ * 64 + static_cast<uint32_t>(std::countr_one(word));
    if (index > last_) break;
    Mark(index, true);
    return window_.network.Plus(index);
  }
  return MakeError(ErrorKind::kResourceExhausted,
                   "no available {} addresses on this network's address pools: {}",
                   kIsV4<Prefix> ? "IPv4" : "IPv6", subnet_.ToString());
}

template <typename Prefix>
Result<> BasicAddressPool<Prefix>::TakeWanted(Address address) {
  auto in_use = [] { return MakeError(ErrorKind::kPermissionDenied, "Address already in use"); };
  if (!subnet_.Contains(address)) {
    return InvalidArgument("no configured subnet contains IP address {}", address.ToString());
  }
  if (!window_.Contains(address)) {
    if (IsEdge(address) || !taken_outside_.insert(address).second) return in_use();
    return {};
  }
  uint32_t index = IndexOf(address);
  auto resting = std::find_if(resting_.begin(), resting_.end(),
                              [&](const Resting& item) { return item.index == index; });
  // Who asks for an address by name gets it without a rest.
  if (resting != resting_.end()) {
    resting_.erase(resting);
    return {};
  }
  if (IsTaken(index)) return in_use();
  Mark(index, true);
  return {};
}

template <typename Prefix>
void BasicAddressPool<Prefix>::GiveBack(Address address, SteadyClock::time_point now) {
  if (!window_.Contains(address)) {
    taken_outside_.erase(address);
    return;
  }
  uint32_t index = IndexOf(address);
  if (!IsTaken(index)) return;
  for (const Resting& item : resting_) {
    if (item.index == index) return;
  }
  resting_.push_back({index, now + rest_});
}

template <typename Prefix>
auto BasicAddressPools<Prefix>::Take(SteadyClock::time_point now) -> Result<Address> {
  for (size_t i = 0;; ++i) {
    auto taken = pools_[i].Take(now);
    bool full = !taken.ok() && taken.error().kind() == ErrorKind::kResourceExhausted;
    if (!full || i + 1 == pools_.size()) return taken;
  }
}

template <typename Prefix>
auto BasicAddressPools<Prefix>::With(const Address& address) -> Pool& {
  for (Pool& pool : pools_) {
    if (pool.subnet().Contains(address)) return pool;
  }
  return pools_.front();
}

template class BasicAddressPools<formats::Ipv4Prefix>;
template class BasicAddressPools<formats::Ipv6Prefix>;
template class BasicAddressPool<formats::Ipv4Prefix>;
template class BasicAddressPool<formats::Ipv6Prefix>;

}  // namespace gantry::networks
