// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/options.h"

#include <gtest/gtest.h>

#include "base/io.h"

namespace gantry::gantryd {
namespace {

TEST(GantrydOptions, Defaults) {
  auto options = ParseOptions({"--state", "/tmp/run/"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->hosts, std::vector<std::string>{"unix:///tmp/run/gantry.sock"});
  EXPECT_EQ(options->pid_file, "/tmp/run/gantryd.pid");
  EXPECT_FALSE(options->subnet.has_value());
}

TEST(GantrydOptions, HostsRepeatAndTakeBothForms) {
  auto options = ParseOptions({"-H", "unix:///a", "--host=tcp://127.0.0.1:1"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->hosts, (std::vector<std::string>{"unix:///a", "tcp://127.0.0.1:1"}));
}

TEST(GantrydOptions, BipIsAnAddressInItsSubnet) {
  auto options = ParseOptions({"--bip", "10.1.2.3/16"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->subnet->ToString(), "10.1.0.0/16");
}

TEST(GantrydOptions, NamesWhatIsWrong) {
  EXPECT_EQ(ParseOptions({"--nonsense"}).error().message(), "unknown flag: --nonsense");
  EXPECT_EQ(ParseOptions({"--root"}).error().message(), "flag needs an argument: --root");
  EXPECT_EQ(ParseOptions({"--root", "a"}).error().message(),
            "flag --root: 'a' is no absolute path");
  EXPECT_EQ(ParseOptions({"--log-level", "loud"}).error().message(),
            "flag --log-level: 'loud' is not known");
}

TEST(GantrydOptions, ConfigFile) {
  std::string path = testing::TempDir() + "/gantryd-options.json";
  ASSERT_TRUE(
      CreateFile(path, R"({"bridge": "b0", "hosts": ["unix:///x", "unix:///y"]})", 0600).ok());
  auto options = ParseOptions({"--config-file", path});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->bridge, "b0");
  EXPECT_EQ(options->hosts.size(), 2u);
  ASSERT_TRUE(CreateFile(path, R"({"nonsense": "b0"})", 0600).ok());
  EXPECT_FALSE(ParseOptions({"--config-file", path}).ok());
}

}  // namespace
}  // namespace gantry::gantryd
