// SPDX-License-Identifier: Apache-2.0
#include "portproxy/name_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace gantry::portproxy {
namespace {

std::vector<std::string> Found(const NameTable& table, const std::string& name,
                               const std::vector<std::string>& networks) {
  std::vector<std::string> out;
  for (const NamedAddresses& each : table.AddressesOf(name, networks)) {
    if (each.ipv4) out.push_back(each.ipv4->ToString());
    if (each.ipv6) out.push_back(each.ipv6->ToString());
  }
  std::sort(out.begin(), out.end());
  return out;
}

using Strings = std::vector<std::string>;

TEST(NameTableTest, NamesOfTheNetworksThatOneIsOn) {
  NameTable table;
  ASSERT_TRUE(table.Set({"e1", "n1", "Front", "10.0.0.2", {"web", "0123", "WWW"}}).ok());
  ASSERT_TRUE(table.Set({"e2", "n1", "Front", "10.0.0.3", {"api", "4567", "www"}}).ok());
  ASSERT_TRUE(table.Set({"e3", "n2", "back", "10.1.0.2", {"web", "89ab"}}).ok());
  EXPECT_EQ(Found(table, "web", {"n1"}), Strings{"10.0.0.2"});
  EXPECT_EQ(Found(table, "www", {"n1", "n2"}), (Strings{"10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(Found(table, "web", {"n2", "n1"}), Strings{"10.1.0.2"});
  EXPECT_EQ(Found(table, "web.front", {"n2", "n1"}), Strings{"10.0.0.2"});
  EXPECT_EQ(Found(table, "web.front", {"n2"}), Strings{});
  EXPECT_EQ(Found(table, "web", {}), Strings{});
  EXPECT_EQ(Found(table, ".front", {"n1"}), Strings{});
  EXPECT_EQ(table.NameOf("10.0.0.2", {"n1"}), "web.Front");
  EXPECT_FALSE(table.NameOf("10.0.0.2", {"n2"}).has_value());
}

TEST(NameTableTest, AddressesOfBothFamilies) {
  NameTable table;
  ASSERT_TRUE(table.Set({"e1", "n1", "front", "10.0.0.2", {"web"}, "fd00::2"}).ok());
  ASSERT_TRUE(table.Set({"e2", "n1", "front", "", {"api"}, "FD00::3"}).ok());
  EXPECT_EQ(Found(table, "web", {"n1"}), (Strings{"10.0.0.2", "fd00::2"}));
  EXPECT_EQ(Found(table, "api", {"n1"}), Strings{"fd00::3"});
  EXPECT_EQ(table.NameOf("fd00::2", {"n1"}), "web.front");
  EXPECT_EQ(table.NameOf("fd00::3", {"n1"}), "api.front");
  EXPECT_FALSE(table.Set({"e3", "n1", "front", "", {"x"}, ""}).ok());
  EXPECT_FALSE(table.Set({"e3", "n1", "front", "", {"x"}, "10.0.0.4"}).ok());
  ASSERT_TRUE(table.Set({"e2", "", "", "", {}}).ok());
  EXPECT_FALSE(table.NameOf("fd00::3", {"n1"}).has_value());
}

TEST(NameTableTest, ChangesAndForgets) {
  NameTable table;
  ASSERT_TRUE(table.Set({"e1", "n1", "front", "10.0.0.2", {"web"}}).ok());
  ASSERT_TRUE(table.Set({"e1", "n1", "front", "10.0.0.2", {"renamed"}}).ok());
  EXPECT_EQ(Found(table, "web", {"n1"}), Strings{});
  EXPECT_EQ(Found(table, "renamed", {"n1"}), Strings{"10.0.0.2"});
  // The address was given to another one before the first was forgotten.
  ASSERT_TRUE(table.Set({"e2", "n1", "front", "10.0.0.2", {"next"}}).ok());
  ASSERT_TRUE(table.Set({"e1", "", "", "", {}}).ok());
  EXPECT_EQ(Found(table, "renamed", {"n1"}), Strings{});
  EXPECT_EQ(table.NameOf("10.0.0.2", {"n1"}), "next.front");
  ASSERT_EQ(table.List().size(), 1u);
  EXPECT_FALSE(table.Set({"e3", "n1", "front", "nonsense", {"x"}}).ok());
  ASSERT_TRUE(table.Set({"e2", "", "", "", {}}).ok());
  EXPECT_TRUE(table.List().empty());
}

}  // namespace
}  // namespace gantry::portproxy
