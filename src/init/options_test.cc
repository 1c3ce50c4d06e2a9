// SPDX-License-Identifier: Apache-2.0
#include "init/options.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <vector>

namespace gantry::init {
namespace {

Result<Options> Parse(std::vector<std::string> args) {
  args.insert(args.begin(), "gantry-init");
  static std::vector<std::string> kept;
  kept = std::move(args);
  static std::vector<char*> argv;
  argv.clear();
  for (std::string& arg : kept) argv.push_back(arg.data());
  argv.push_back(nullptr);
  return ParseOptions(static_cast<int>(kept.size()), argv.data());
}

TEST(InitOptions, TakesTheProgramWithItsOwnFlags) {
  auto options = Parse({"--", "prog", "-g", "--", "x"});
  ASSERT_TRUE(options.ok());
  EXPECT_STREQ(options->command[0], "prog");
  EXPECT_STREQ(options->command[1], "-g");
  EXPECT_STREQ(options->command[2], "--");
  EXPECT_FALSE(options->signal_group);
  auto bare = Parse({"-g", "prog", "-s"});
  ASSERT_TRUE(bare.ok());
  EXPECT_TRUE(bare->signal_group);
  EXPECT_FALSE(bare->subreaper);
  EXPECT_STREQ(bare->command[1], "-s");
}

TEST(InitOptions, ReadsTinisFlags) {
  auto options = Parse({"-svvw", "-p", "SIGUSR1", "-e", "143", "-e0", "--", "p"});
  ASSERT_TRUE(options.ok());
  EXPECT_TRUE(options->subreaper);
  EXPECT_TRUE(options->warn);
  EXPECT_EQ(options->verbosity, 3);
  EXPECT_EQ(options->parent_death_signal, SIGUSR1);
  EXPECT_TRUE(options->success_codes.test(143));
  EXPECT_TRUE(options->success_codes.test(0));
  EXPECT_FALSE(options->success_codes.test(1));
  EXPECT_EQ(Parse({"--version"})->mode, Mode::kVersion);
  EXPECT_EQ(Parse({"-h"})->mode, Mode::kHelp);
}

TEST(InitOptions, RefusesWhatItDoesNotKnow) {
  EXPECT_FALSE(Parse({}).ok());
  EXPECT_FALSE(Parse({"-x", "p"}).ok());
  EXPECT_FALSE(Parse({"-e", "256", "p"}).ok());
  EXPECT_FALSE(Parse({"-e", "a", "p"}).ok());
  EXPECT_FALSE(Parse({"-p", "TERM", "p"}).ok());
  EXPECT_FALSE(Parse({"-p"}).ok());
}

}  // namespace
}  // namespace gantry::init
