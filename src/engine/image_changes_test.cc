// SPDX-License-Identifier: Apache-2.0
#include "engine/image_changes.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

using Words = std::vector<std::string>;
using Names = std::set<std::string>;

ContainerConfig Apply(const Words& lines, ContainerConfig config = {}) {
  Result<> applied = ApplyChanges(lines, &config);
  EXPECT_TRUE(applied.ok()) << applied.error().message();
  return config;
}

std::string ErrorOf(const std::string& line) {
  ContainerConfig config;
  Result<> applied = ApplyChanges({line}, &config);
  return applied.ok() ? "" : applied.error().message();
}

TEST(ImageChangesTest, Commands) {
  EXPECT_EQ(Apply({"cmd [\"a\", \"b c\"]"}).cmd.words, (Words{"a", "b c"}));
  EXPECT_EQ(Apply({"CMD echo  $X"}).cmd.words, (Words{"/bin/sh", "-c", "echo  $X"}));
  EXPECT_EQ(Apply({"CMD [not json]"}).cmd.words, (Words{"/bin/sh", "-c", "[not json]"}));
  ContainerConfig old;
  old.cmd = {true, {"old"}};
  EXPECT_TRUE(Apply({"ENTRYPOINT [\"x\"]"}, old).cmd.words.empty());
  EXPECT_EQ(Apply({"CMD [\"c\"]", "ENTRYPOINT [\"x\"]"}, old).cmd.words, (Words{"c"}));
}

TEST(ImageChangesTest, Variables) {
  EXPECT_EQ(Apply({"ENV A=1 B='x y'", "ENV A=2 C=\"$A-${A}\" D=\\$A"}).env,
            (Words{"A=2", "B=x y", "C=1-1", "D=$A"}));
  EXPECT_EQ(Apply({"ENV A one two"}).env, (Words{"A=one two"}));
  EXPECT_EQ(Apply({"ENV A=1\nENV A=2"}).env, (Words{"A=2"}));
  EXPECT_EQ(Apply({"LABEL a=b c=\"d e\""}).labels,
            (std::map<std::string, std::string>{{"a", "b"}, {"c", "d e"}}));
}

TEST(ImageChangesTest, Rest) {
  ContainerConfig config =
      Apply({"EXPOSE 80 53/UDP 90-91", "VOLUME [\"/a b\"]", "VOLUME /c /d", "WORKDIR /w",
             "WORKDIR sub/../x", "USER u:g", "ONBUILD RUN x", "STOPSIGNAL SIGINT",
             "HEALTHCHECK --interval=1m --timeout=2s --retries=3 CMD [\"t\"]"});
  EXPECT_EQ(config.exposed_ports.names, (Names{"53/udp", "80/tcp", "90/tcp", "91/tcp"}));
  EXPECT_EQ(config.volumes.names, (Names{"/a b", "/c", "/d"}));
  EXPECT_EQ(config.working_dir, "/w/x");
  EXPECT_EQ(config.user, "u:g");
  EXPECT_EQ(config.on_build, (Words{"RUN x"}));
  EXPECT_EQ(config.healthcheck->test, (Words{"CMD", "t"}));
  EXPECT_EQ(config.healthcheck->interval, 60'000'000'000);
  EXPECT_EQ(config.healthcheck->retries, 3);
  EXPECT_EQ(Apply({"HEALTHCHECK NONE"}).healthcheck->test, (Words{"NONE"}));
}

TEST(ImageChangesTest, Errors) {
  EXPECT_EQ(ErrorOf("FROM x"), "from is not a valid change command");
  EXPECT_EQ(ErrorOf("ENV"), "ENV requires at least one argument");
  EXPECT_EQ(ErrorOf("ENV B"), "ENV must have two arguments");
  EXPECT_EQ(ErrorOf("ENV =x"), "ENV names can not be blank");
  EXPECT_EQ(ErrorOf("LABEL a=b c"),
            "Syntax error - can't find = in \"c\". Must be of the form: name=value");
  EXPECT_EQ(ErrorOf("EXPOSE x"), "invalid containerPort: x");
  EXPECT_EQ(ErrorOf("EXPOSE 80/foo"), "invalid proto: foo");
  EXPECT_EQ(ErrorOf("HEALTHCHECK FOO"), "Unknown type \"FOO\" in HEALTHCHECK (try CMD)");
  EXPECT_EQ(ErrorOf("ENV A='x"),
            "failed to process \"'x\": unexpected end of statement while looking for matching "
            "single-quote");
}

}  // namespace
}  // namespace gantry::engine
