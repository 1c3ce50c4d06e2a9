// SPDX-License-Identifier: Apache-2.0
#include "networks/address_pool.h"

#include <algorithm>
#include <bit>

namespace gantry::networks {
namespace {

// A larger subnet is used up to here: 65,536 addresses are more than a bridge has ports.
constexpr uint8_t kMinLength = 16;

}  // namespace

AddressPool::AddressPool(formats::Ipv4Prefix subnet, formats::Ipv4Address gateway,
                         std::chrono::milliseconds rest)
    : subnet_(subnet), rest_(rest) {
  uint32_t size = uint32_t{1} << (32 - std::max(subnet.length, kMinLength));
  taken_.resize((size + 63) / 64);
  free_ = size;
  for (uint32_t index = size; index < taken_.size() * 64; ++index) {
    taken_[index / 64] |= uint64_t{1} << (index % 64);
  }
  // RFC 3021: a /31 has no network and broadcast address; a /32 has nothing but the gateway.
  if (subnet.length < 31) {
    Mark(0, true);
    if (subnet.length >= kMinLength) Mark(size - 1, true);
  }
  uint32_t gateway_index = gateway.value - subnet.network.value;
  if (gateway_index < size && !IsTaken(gateway_index)) Mark(gateway_index, true);
}

void AddressPool::Mark(uint32_t index, bool taken) {
  uint64_t bit = uint64_t{1} << (index % 64);
  if (taken) {
    taken_[index / 64] |= bit;
    --free_;
  } else {
    taken_[index / 64] &= ~bit;
    ++free_;
    lowest_word_ = std::min(lowest_word_, index / 64);
  }
}

Result<formats::Ipv4Address> AddressPool::Take(SteadyClock::time_point now) {
  while (!resting_.empty() && (resting_.front().until <= now || free_ == 0)) {
    Mark(resting_.front().index, false);
    resting_.pop_front();
  }
  for (; lowest_word_ < taken_.size(); ++lowest_word_) {
    uint64_t word = taken_[lowest_word_];
    if (word == ~uint64_t{0}) continue;
    uint32_t index = lowest_word_ * 64 + static_cast<uint32_t>(std::countr_one(word));
    Mark(index, true);
    return At(index);
  }
  return MakeError(ErrorKind::kResourceExhausted,
                   "no available IPv4 addresses on this network's address pools: {}",
                   subnet_.ToString());
}

Result<> AddressPool::TakeWanted(formats::Ipv4Address address) {
  uint32_t index = address.value - subnet_.network.value;
  if (!subnet_.Contains(address) || index >= taken_.size() * 64) {
    return InvalidArgument("no configured subnet contains IP address {}", address.ToString());
  }
  auto resting = std::find_if(resting_.begin(), resting_.end(),
                              [&](const Resting& item) { return item.index == index; });
  // Who asks for an address by name gets it without a rest.
  if (resting != resting_.end()) {
    resting_.erase(resting);
    return {};
  }
  if (IsTaken(index)) return AlreadyExists("Address already in use: {}", address.ToString());
  Mark(index, true);
  return {};
}

void AddressPool::GiveBack(formats::Ipv4Address address, SteadyClock::time_point now) {
  uint32_t index = address.value - subnet_.network.value;
  if (index >= taken_.size() * 64 || !IsTaken(index)) return;
  for (const Resting& item : resting_) {
    if (item.index == index) return;
  }
  resting_.push_back({index, now + rest_});
}

}  // namespace gantry::networks
