// SPDX-License-Identifier: Apache-2.0
#include "containerd/options.h"

#include <gtest/gtest.h>

namespace gantry::containerd {
namespace {

TEST(OptionsTest, ReadsBothForms) {
  auto options = ParseOptions({"--root", "/r", "--address=/a.sock", "--debug"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->root, "/r");
  EXPECT_EQ(options->address, "/a.sock");
  EXPECT_TRUE(options->debug());
  EXPECT_FALSE(options->runtime_dir.empty());
}

TEST(OptionsTest, RefusesWhatIsWrong) {
  for (auto arguments : std::vector<std::vector<std::string>>{
           {"--rot", "x"}, {"--root"}, {"--root="}, {"--log-level", "loud"}, {"x"}}) {
    auto options = ParseOptions(arguments);
    ASSERT_FALSE(options.ok()) << arguments[0];
    EXPECT_EQ(options.error().kind(), ErrorKind::kInvalidArgument);
  }
}

}  // namespace
}  // namespace gantry::containerd
