// SPDX-License-Identifier: Apache-2.0
#include "engine/apparmor.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

// What the kernel makes of it is shown in the lab machine, which has AppArmor.
TEST(AppArmorProfile, NamesItselfWhereItSpeaksOfItself) {
  std::string text = AppArmorProfileText("abc");
  EXPECT_TRUE(text.starts_with("profile abc flags=("));
  EXPECT_NE(text.find("signal (send, receive) peer=abc,"), std::string::npos);
  EXPECT_NE(text.find("deny mount,"), std::string::npos);
  EXPECT_EQ(text.find("{{"), std::string::npos);
  EXPECT_TRUE(text.ends_with("}\n"));
}

TEST(AppArmorProfile, OfAContainer) {
  HostConfig host;
  host.security_opt = {"apparmor=mine"};
  if (!HostUsesAppArmor()) {
    EXPECT_EQ(AppArmorProfileOf(host), "");
    return;
  }
  EXPECT_EQ(AppArmorProfileOf(host), "mine");
  host.security_opt.clear();
  EXPECT_EQ(AppArmorProfileOf(host), kDefaultAppArmorProfile);
  host.privileged = true;
  EXPECT_EQ(AppArmorProfileOf(host), "unconfined");
}

}  // namespace
}  // namespace gantry::engine
