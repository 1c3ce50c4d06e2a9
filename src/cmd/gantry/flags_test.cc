// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/flags.h"

#include <gtest/gtest.h>

namespace gantry::cli {
namespace {

using Args = std::vector<std::string>;

struct Parsed {
  bool interactive = false;
  bool tty = false;
  bool proxy = true;
  std::string name;
  Args env;
  int64_t time = 10;
  Flags flags;

  Parsed() {
    flags.Bool("interactive", 'i', &interactive, "keep stdin");
    flags.Bool("tty", 't', &tty, "terminal");
    flags.Bool("sig-proxy", 0, &proxy, "signals");
    flags.String("name", 0, &name, "its name");
    flags.List("env", 'e', &env, "variables");
    flags.Int("time", 'T', &time, "seconds");
    flags.Alias("label-name", "name");
  }
  Result<Args> Run(const Args& args, Flags::Order order = Flags::Order::kBeforeArgs) {
    return flags.Parse(args, order);
  }
};

TEST(Flags, AllForms) {
  Parsed parsed;
  Result<Args> rest = parsed.Run({"-it", "--name=a=b", "-eA=1", "-e", "B=2", "--env", "C", "-T=3",
                                  "--sig-proxy=false", "image", "-x", "--y"});
  ASSERT_TRUE(rest.ok()) << rest.error().message();
  EXPECT_EQ(*rest, (Args{"image", "-x", "--y"}));
  EXPECT_TRUE(parsed.interactive && parsed.tty && !parsed.proxy);
  EXPECT_EQ(parsed.name, "a=b");
  EXPECT_EQ(parsed.env, (Args{"A=1", "B=2", "C"}));
  EXPECT_EQ(parsed.time, 3);
  EXPECT_TRUE(parsed.flags.Changed("time"));
}

TEST(Flags, AnywhereAndDoubleDash) {
  Parsed parsed;
  EXPECT_EQ(*parsed.Run({"a", "-i", "-", "--", "-t"}, Flags::Order::kAnywhere),
            (Args{"a", "-", "-t"}));
  EXPECT_TRUE(parsed.interactive && !parsed.tty);
  EXPECT_TRUE(Parsed().Run({"--label-name", "x"}).ok());
}

TEST(Flags, Messages) {
  auto message = [](const Args& args) { return Parsed().Run(args).error().message(); };
  EXPECT_EQ(message({"--foo"}), "unknown flag: --foo");
  EXPECT_EQ(message({"-ix"}), "unknown shorthand flag: 'x' in -x");
  EXPECT_EQ(message({"--name"}), "flag needs an argument: --name");
  EXPECT_EQ(message({"-ite"}), "flag needs an argument: 'e' in -e");
  EXPECT_EQ(message({"-T", "x"}),
            "invalid argument \"x\" for \"-T, --time\" flag: strconv.ParseInt: parsing \"x\": "
            "invalid syntax");
  EXPECT_EQ(message({"-t=no"}),
            "invalid argument \"no\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"no\": "
            "invalid syntax");
}

TEST(Flags, Help) {
  Parsed parsed;
  ASSERT_TRUE(parsed.Run({"--help"}).ok());
  EXPECT_TRUE(parsed.flags.help_requested());
  EXPECT_NE(parsed.flags.HelpText().find("  -e, --env list      variables\n"), std::string::npos)
      << parsed.flags.HelpText();
}

}  // namespace
}  // namespace gantry::cli
