// SPDX-License-Identifier: Apache-2.0
#include "kernel/announcement.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

namespace gantry::kernel {
namespace {

constexpr HardwareAddress kMac = {0x02, 0x42, 0x0a, 0x00, 0x00, 0x02};

std::string Hex(const std::string& bytes) {
  std::string out;
  for (unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

TEST(AnnouncementTest, AGratuitousArpRequest) {
  in_addr address{};
  ASSERT_EQ(::inet_pton(AF_INET, "10.0.0.2", &address), 1);
  EXPECT_EQ(Hex(AnnouncementFrame(address, kMac)),
            "ffffffffffff"
            "02420a000002"
            "0806"
            "0001080006040001"
            "02420a000002"
            "0a000002"
            "000000000000"
            "0a000002");
}

// The checksum over pseudo header and message, with itself, is all ones (RFC 1071).
TEST(AnnouncementTest, AnUnsolicitedNeighbourAdvertisement) {
  in6_addr address{};
  ASSERT_EQ(::inet_pton(AF_INET6, "fd00::2", &address), 1);
  std::string frame = AnnouncementFrame6(address, kMac);
  ASSERT_EQ(frame.size(), 14u + 40 + 32);
  EXPECT_EQ(Hex(frame.substr(0, 22)),
            "33330000000102420a00000286dd600000000020"
            "3aff");
  EXPECT_EQ(Hex(frame.substr(22, 32)),
            "fd000000000000000000000000000002"
            "ff020000000000000000000000000001");
  std::string message = frame.substr(54);
  EXPECT_EQ(Hex(message.substr(0, 2)), "8800");
  EXPECT_EQ(Hex(message.substr(4)),
            "20000000"
            "fd000000000000000000000000000002"
            "020102420a000002");
  std::string summed = frame.substr(22, 32) + std::string("\0\0\0\x20\0\0\0\x3a", 8) + message;
  uint32_t sum = 0;
  for (size_t i = 0; i < summed.size(); i += 2) {
    sum += static_cast<uint32_t>(static_cast<unsigned char>(summed[i])) << 8 |
           static_cast<unsigned char>(summed[i + 1]);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  EXPECT_EQ(sum, 0xffffu);
}

}  // namespace
}  // namespace gantry::kernel
