// SPDX-License-Identifier: Apache-2.0
#include "formats/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace gantry::formats {
namespace {

// One decimal number of at most `max` at the start of *text, without leading zeros.
bool TakeNumber(std::string_view* text, uint32_t max, uint32_t* out) {
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), *out);
  size_t digits = static_cast<size_t>(end - text->data());
  if (error != std::errc() || *out > max || (digits > 1 && text->front() == '0')) return false;
  text->remove_prefix(digits);
  return true;
}

bool TakeHexByte(std::string_view* text, uint8_t* out) {
  if (text->size() < 2) return false;
  auto [end, error] = std::from_chars(text->data(), text->data() + 2, *out, 16);
  if (error != std::errc() || end != text->data() + 2) return false;
  text->remove_prefix(2);
  return true;
}

}  // namespace

Result<Ipv4Address> Ipv4Address::Parse(std::string_view text) {
  std::string_view rest = text;
  Ipv4Address address;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) {
      if (!rest.starts_with('.')) return InvalidArgument("invalid IPv4 address '{}'", text);
      rest.remove_prefix(1);
    }
    uint32_t part = 0;
    if (!TakeNumber(&rest, 255, &part)) return InvalidArgument("invalid IPv4 address '{}'", text);
    address.value = address.value << 8 | part;
  }
  if (!rest.empty()) return InvalidArgument("invalid IPv4 address '{}'", text);
  return address;
}

std::string Ipv4Address::ToString() const {
  return fmt::format("{}.{}.{}.{}", value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255);
}

Result<Ipv4Prefix> Ipv4Prefix::Parse(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return InvalidArgument("invalid subnet '{}': expected ADDRESS/LENGTH", text);
  }
  Ipv4Prefix prefix;
  prefix.network = TRY_WITH(Ipv4Address::Parse(text.substr(0, slash)), "parsing subnet '{}'", text);
  std::string_view rest = text.substr(slash + 1);
  uint32_t length = 0;
  if (!TakeNumber(&rest, 32, &length) || !rest.empty()) {
    return InvalidArgument("invalid subnet '{}': the length must be 0 to 32", text);
  }
  prefix.length = static_cast<uint8_t>(length);
  if ((prefix.network.value & ~prefix.Mask()) != 0) {
    return InvalidArgument("invalid subnet '{}': it should be '{}'", text,
                           Of(prefix.network, prefix.length).ToString());
  }
  return prefix;
}

Ipv4Prefix Ipv4Prefix::Of(Ipv4Address address, uint8_t length) {
  Ipv4Prefix prefix{address, length};
  prefix.network.value &= prefix.Mask();
  return prefix;
}

std::string Ipv4Prefix::ToString() const {
  return fmt::format("{}/{}", network.ToString(), length);
}

Result<Ipv6Address> Ipv6Address::Parse(std::string_view text) {
  Ipv6Address address;
  // A null character would hide what is behind it.
  bool whole = text.find('\0') == std::string_view::npos;
  if (!whole || ::inet_pton(AF_INET6, std::string(text).c_str(), address.bytes.data()) != 1) {
    return InvalidArgument("invalid IPv6 address '{}'", text);
  }
  return address;
}

std::string Ipv6Address::ToString() const {
  char text[INET6_ADDRSTRLEN];
  CHECK(::inet_ntop(AF_INET6, bytes.data(), text, sizeof text) != nullptr);
  return text;
}

Ipv6Address Ipv6Address::Plus(uint64_t offset) const {
  Ipv6Address sum = *this;
  uint32_t carry = 0;
  for (size_t i = bytes.size(); i-- > 0; offset >>= 8) {
    carry += sum.bytes[i] + static_cast<uint32_t>(offset & 0xff);
    sum.bytes[i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  return sum;
}

uint32_t Ipv6Address::LowBits() const {
  uint32_t low = 0;
  for (size_t i = 12; i < bytes.size(); ++i) low = low << 8 | bytes[i];
  return low;
}

bool Ipv6Address::IsMapped() const {
  bool zeros = std::all_of(bytes.begin(), bytes.begin() + 10, [](uint8_t b) { return b == 0; });
  return zeros && bytes[10] == 0xff && bytes[11] == 0xff;
}

Result<Ipv6Prefix> Ipv6Prefix::ParseLoosely(std::string_view text, Ipv6Address* address) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return InvalidArgument("invalid subnet '{}': expected ADDRESS/LENGTH", text);
  }
  auto parsed = TRY_WITH(Ipv6Address::Parse(text.substr(0, slash)), "parsing subnet '{}'", text);
  std::string_view rest = text.substr(slash + 1);
  uint32_t length = 0;
  if (!TakeNumber(&rest, 128, &length) || !rest.empty()) {
    return InvalidArgument("invalid subnet '{}': the length must be 0 to 128", text);
  }
  if (address != nullptr) *address = parsed;
  return Of(parsed, static_cast<uint8_t>(length));
}

Result<Ipv6Prefix> Ipv6Prefix::Parse(std::string_view text) {
  Ipv6Address address;
  Ipv6Prefix prefix = TRY(ParseLoosely(text, &address));
  if (address != prefix.network) {
    return InvalidArgument("invalid subnet '{}': it should be '{}'", text, prefix.ToString());
  }
  return prefix;
}

Ipv6Prefix Ipv6Prefix::Of(Ipv6Address address, uint8_t length) {
  for (size_t i = 0; i < address.bytes.size(); ++i) {
    int kept = std::clamp(int{length} - static_cast<int>(i) * 8, 0, 8);
    address.bytes[i] &= static_cast<uint8_t>(0xff00 >> kept);
  }
  return {address, length};
}

std::string Ipv6Prefix::ToString() const {
  return fmt::format("{}/{}", network.ToString(), length);
}

Ipv6Address Ipv6Prefix::Last() const {
  Ipv6Address last = network;
  for (size_t i = 0; i < last.bytes.size(); ++i) {
    int kept = std::clamp(int{length} - static_cast<int>(i) * 8, 0, 8);
    last.bytes[i] |= static_cast<uint8_t>(0xff >> kept);
  }
  return last;
}

Result<MacAddress> MacAddress::Parse(std::string_view text) {
  std::string_view rest = text;
  MacAddress mac;
  for (size_t i = 0; i < mac.bytes.size(); ++i) {
    if (i > 0) {
      if (!rest.starts_with(':') && !rest.starts_with('-')) {
        return InvalidArgument("invalid MAC address '{}'", text);
      }
      rest.remove_prefix(1);
    }
    if (!TakeHexByte(&rest, &mac.bytes[i])) {
      return InvalidArgument("invalid MAC address '{}'", text);
    }
  }
  if (!rest.empty()) return InvalidArgument("invalid MAC address '{}'", text);
  return mac;
}

MacAddress MacAddress::Of(Ipv4Address address) {
  uint32_t v = address.value;
  return {{0x02, 0x42, static_cast<uint8_t>(v >> 24), static_cast<uint8_t>(v >> 16),
           static_cast<uint8_t>(v >> 8), static_cast<uint8_t>(v)}};
}

std::string MacAddress::ToString() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2],
                     bytes[3], bytes[4], bytes[5]);
}

}  // namespace gantry::formats
