// SPDX-License-Identifier: Apache-2.0
#include "networks/address_pool.h"

#include <algorithm>
#include <bit>

namespace gantry::networks {
namespace {

// Of a larger subnet so much is used: 65,536 addresses are more than a bridge has ports.
constexpr uint8_t kMinLength = 16;

}  // namespace

AddressPool::AddressPool(formats::Ipv4Prefix subnet, formats::Ipv4Address gateway,
                         std::chrono::milliseconds rest, std::optional<formats::Ipv4Prefix> range)
    : subnet_(subnet), rest_(rest) {
  formats::Ipv4Address start = range ? range->network : subnet.network;
  window_ = formats::Ipv4Prefix::Of(start, std::max(subnet.length, kMinLength));
  uint32_t size = uint32_t{1} << (32 - window_.length);
  taken_.resize((size + 63) / 64);
  last_ = size - 1;
  if (range) {
    first_ = range->network.value - window_.network.value;
    last_ = std::min(last_, range->Last().value - window_.network.value);
  }
  free_ = last_ - first_ + 1;
  lowest_word_ = first_ / 64;
  for (uint32_t index = size; index < taken_.size() * 64; ++index) {
    taken_[index / 64] |= uint64_t{1} << (index % 64);
  }
  // RFC 3021: a /31 has no network and broadcast address; a /32 has nothing but the gateway.
  if (subnet.length < 31) {
    if (window_.Contains(subnet.network)) Mark(0, true);
    if (window_.Contains(subnet.Last())) Mark(size - 1, true);
  }
  uint32_t gateway_index = gateway.value - window_.network.value;
  if (gateway_index < size && !IsTaken(gateway_index)) Mark(gateway_index, true);
  if (gateway_index >= size) taken_outside_.insert(gateway.value);
}

void AddressPool::Mark(uint32_t index, bool taken) {
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

Result<formats::Ipv4Address> AddressPool::Take(SteadyClock::time_point now) {
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
    return At(index);
  }
  return MakeError(ErrorKind::kResourceExhausted,
                   "no available IPv4 addresses on this network's address pools: {}",
                   subnet_.ToString());
}

Result<> AddressPool::TakeWanted(formats::Ipv4Address address) {
  auto in_use = [] { return MakeError(ErrorKind::kPermissionDenied, "Address already in use"); };
  if (!subnet_.Contains(address)) {
    return InvalidArgument("no configured subnet contains IP address {}", address.ToString());
  }
  if (!window_.Contains(address)) {
    bool edge = address == subnet_.network || address == subnet_.Last();
    if (edge || !taken_outside_.insert(address.value).second) return in_use();
    return {};
  }
  uint32_t index = address.value - window_.network.value;
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

void AddressPool::GiveBack(formats::Ipv4Address address, SteadyClock::time_point now) {
  uint32_t index = address.value - window_.network.value;
  if (!window_.Contains(address)) {
    taken_outside_.erase(address.value);
    return;
  }
  if (!IsTaken(index)) return;
  for (const Resting& item : resting_) {
    if (item.index == index) return;
  }
  resting_.push_back({index, now + rest_});
}

}  // namespace gantry::networks
