// SPDX-License-Identifier: Apache-2.0
//
// IP addresses, prefixes and MAC addresses as values: parsing, printing, containment. Plain data;
// any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gantry::formats {

struct Ipv4Address {
  uint32_t value = 0;  // host byte order

  // Dotted quad, no leading zeros (RFC 6943 section 3.1.1, "strict").
  static Result<Ipv4Address> Parse(std::string_view text);
  std::string ToString() const;
  // The address `offset` further on; it wraps around.
  Ipv4Address Plus(uint64_t offset) const { return {value + static_cast<uint32_t>(offset)}; }
  uint32_t LowBits() const { return value; }
  bool IsUnspecified() const { return value == 0; }
  bool IsLoopback() const { return (value >> 24) == 127; }
  auto operator<=>(const Ipv4Address&) const = default;
};

struct Ipv4Prefix {
  Ipv4Address network;  // host bits are zero
  uint8_t length = 0;   // 0…32

  // "172.17.0.0/16"; host bits that are set are an error.
  static Result<Ipv4Prefix> Parse(std::string_view text);
  // The prefix of this length that holds `address`.
  static Ipv4Prefix Of(Ipv4Address address, uint8_t length);
  std::string ToString() const;
  uint32_t Mask() const { return length == 0 ? 0 : ~uint32_t{0} << (32 - length); }
  Ipv4Address Last() const { return {network.value | ~Mask()}; }
  bool Contains(Ipv4Address address) const { return (address.value & Mask()) == network.value; }
  bool Overlaps(const Ipv4Prefix& other) const {
    return Contains(other.network) || other.Contains(network);
  }
  bool operator==(const Ipv4Prefix&) const = default;
};

struct Ipv6Address {
  std::array<uint8_t, 16> bytes{};  // network byte order

  // RFC 4291 section 2.2; no zone ("%eth0").
  static Result<Ipv6Address> Parse(std::string_view text);
  // RFC 5952: the shortest form, lower case.
  std::string ToString() const;
  // The address `offset` further on; it wraps around.
  Ipv6Address Plus(uint64_t offset) const;
  // The last 32 bits.
  uint32_t LowBits() const;
  bool IsUnspecified() const { return bytes == std::array<uint8_t, 16>{}; }
  bool IsLoopback() const { return *this == Ipv6Address{}.Plus(1); }
  bool IsMulticast() const { return bytes[0] == 0xff; }
  // fe80::/10
  bool IsLinkLocal() const { return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80; }
  // ::ffff:0:0/96: an IPv4 address in IPv6's clothes.
  bool IsMapped() const;
  auto operator<=>(const Ipv6Address&) const = default;
};

struct Ipv6Prefix {
  Ipv6Address network;  // host bits are zero
  uint8_t length = 0;   // 0…128

  // "fd00::/64"; host bits that are set are an error.
  static Result<Ipv6Prefix> Parse(std::string_view text);
  // "fd00::1/64" is fd00::/64; *address, if wanted, is what stood before the slash.
  static Result<Ipv6Prefix> ParseLoosely(std::string_view text, Ipv6Address* address = nullptr);
  // The prefix of this length that holds `address`.
  static Ipv6Prefix Of(Ipv6Address address, uint8_t length);
  std::string ToString() const;
  Ipv6Address Last() const;
  bool Contains(const Ipv6Address& address) const { return Of(address, length) == *this; }
  bool Overlaps(const Ipv6Prefix& other) const {
    return Contains(other.network) || other.Contains(network);
  }
  bool operator==(const Ipv6Prefix&) const = default;
};

struct MacAddress {
  std::array<uint8_t, 6> bytes{};

  // "02:42:ac:11:00:02"; also with '-' as separator.
  static Result<MacAddress> Parse(std::string_view text);
  // 02:42 and the four bytes of the address, as docker makes them: unique while the address is, so
  // neighbours' ARP entries stay right when an address is used again.
  static MacAddress Of(Ipv4Address address);
  std::string ToString() const;
  bool IsZero() const { return bytes == std::array<uint8_t, 6>{}; }
  bool operator==(const MacAddress&) const = default;
};

}  // namespace gantry::formats
