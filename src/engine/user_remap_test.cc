// SPDX-License-Identifier: Apache-2.0
#include "engine/user_remap.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

const Accounts kAccounts = {"root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\n",
                            "root:x:0:\nann:x:1000:\n"};
const SubordinateFiles kFiles = {"bob:1:2\nann:300000:10\nann:100000:65536\n", "1000:200000:65536"};

std::string Wrong(std::string_view value, const SubordinateFiles& files = kFiles) {
  auto parsed = ParseUserRemap(value, kAccounts, files);
  return parsed.ok() ? "" : parsed.error().message();
}

TEST(UserRemapTest, TakesTheUsersRanges) {
  for (const char* value : {"ann", "1000", "ann:ann", "1000:1000"}) {
    auto parsed = ParseUserRemap(value, kAccounts, kFiles);
    ASSERT_TRUE(parsed.ok() && *parsed) << value;
    const UserRemap& remap = **parsed;
    EXPECT_EQ(MapLines(remap.uids), "0 100000 65536\n65536 300000 10\n");
    EXPECT_EQ(MapOption(remap.uids), "0:100000:65536,65536:300000:10");
    EXPECT_EQ(remap.root_gid(), 200000u);
    EXPECT_EQ(ToHost(remap.uids, 65537), 300001u);
    EXPECT_EQ(ToContainer(remap.uids, 165535), 65535u);
    EXPECT_EQ(ToHost(remap.uids, 70000), std::nullopt);
    EXPECT_EQ(ToContainer(remap.uids, 0), std::nullopt);
  }
}

TEST(UserRemapTest, RootStaysRoot) {
  auto parsed = ParseUserRemap("root", kAccounts, kFiles);
  ASSERT_TRUE(parsed.ok());
  EXPECT_FALSE(parsed->has_value());
}

TEST(UserRemapTest, SaysWhatIsMissing) {
  EXPECT_NE(Wrong("a:b:c").find("invalid user/group specification"), std::string::npos);
  EXPECT_NE(Wrong("eve").find("uid lookup for \"eve\""), std::string::npos);
  EXPECT_NE(Wrong("ann:eve").find("gid lookup for \"eve\""), std::string::npos);
  EXPECT_NE(Wrong("default").find("dockremap"), std::string::npos);
  EXPECT_NE(Wrong("ann", {"bob:1:2", ""}).find("no subuid ranges found for user \"ann\""),
            std::string::npos);
  EXPECT_NE(Wrong("ann", {kFiles.subuid, ""}).find("no subgid ranges"), std::string::npos);
  EXPECT_NE(Wrong("ann", {"ann:x:2", ""}).find("cannot parse subuid range"), std::string::npos);
}

}  // namespace
}  // namespace gantry::engine
