// SPDX-License-Identifier: Apache-2.0
#include "runtime/net_devices.h"

#include <gtest/gtest.h>

namespace gantry::runtime {
namespace {

oci::LinuxPlatform With(const std::string& name, const std::string& new_name) {
  oci::LinuxPlatform platform;
  platform.namespaces.push_back({"network", ""});
  platform.net_devices[name].name = new_name;
  return platform;
}

TEST(NetDevicesTest, Names) {
  for (const char* good : {"", "eth0", "eth%d", "%d", "a.b", "fifteen-letters"}) {
    EXPECT_TRUE(CheckNetDevices(With("eth0", good)).ok()) << good;
  }
  for (const char* bad :
       {".", "..", "a/b", "a b", "a:b", "a\tb", "%", "eth%s", "%d%d", "%d%", "sixteen-letters-"}) {
    EXPECT_FALSE(CheckNetDevices(With("eth0", bad)).ok()) << bad;
    EXPECT_FALSE(CheckNetDevices(With(bad, "eth0")).ok()) << bad;
  }
  EXPECT_FALSE(CheckNetDevices(With(std::string("a\0b", 3), "")).ok());
}

TEST(NetDevicesTest, NeedANamespace) {
  oci::LinuxPlatform platform = With("eth0", "");
  platform.namespaces.clear();
  EXPECT_FALSE(CheckNetDevices(platform).ok());
  platform.net_devices.clear();
  EXPECT_TRUE(CheckNetDevices(platform).ok());
}

}  // namespace
}  // namespace gantry::runtime
