// SPDX-License-Identifier: Apache-2.0
#include "shim/stdio_uri.h"

#include <gtest/gtest.h>

#include "shim/arguments.h"

namespace gantry::shim {
namespace {

Result<GantryStdio> Parse(std::string_view text) {
  return ParseGantryStdio(TRY(ParseStdioUri(text)));
}

TEST(StdioUri, KnowsContainerdsForms) {
  EXPECT_EQ(ParseStdioUri("")->scheme, StdioScheme::kNone);
  EXPECT_EQ(ParseStdioUri("/run/fifo")->path, "/run/fifo");
  EXPECT_EQ(ParseStdioUri("fifo:///run/fifo")->scheme, StdioScheme::kFifo);
  auto binary = ParseStdioUri("binary:///bin/log?a%20b=c+d&flag");
  ASSERT_TRUE(binary.ok());
  EXPECT_EQ(binary->path, "/bin/log");
  ASSERT_EQ(binary->query.size(), 2u);
  EXPECT_EQ(binary->query[0].first, "a b");
  EXPECT_EQ(binary->query[0].second, "c d");
  EXPECT_EQ(binary->query[1].first, "flag");
  EXPECT_TRUE(IsBinary(binary->scheme));
  EXPECT_EQ(ParseStdioUri("binary-v2:///bin/log")->scheme, StdioScheme::kBinaryV2);
  for (const char* bad : {"http:///x", "file://x", "file:///a%2", "file:///a%zz", "file:///%00"}) {
    EXPECT_FALSE(ParseStdioUri(bad).ok()) << bad;
  }
}

TEST(StdioUri, ReadsGantrysOptions) {
  auto all = Parse(
      "gantry:///r/io%3Fx?log=/l&driver=json-file&max-size=10&max-file=3&stdin=once"
      "&version=1");
  ASSERT_TRUE(all.ok()) << all.error().message();
  EXPECT_EQ(all->socket, "/r/io?x");
  EXPECT_EQ(all->log, "/l");
  EXPECT_EQ(all->max_size, 10);
  EXPECT_EQ(all->max_files, 3);
  EXPECT_EQ(all->stdin_mode, StdinMode::kOnce);
  EXPECT_FALSE(all->compress);
  auto more = Parse("gantry:///s?log=/l&compress=1&attrs=%7B%22a%22:%0A%22b%22%7D");
  ASSERT_TRUE(more.ok()) << more.error().message();
  EXPECT_TRUE(more->compress);
  EXPECT_EQ(more->attributes, "{\"a\":\"b\"}");
  EXPECT_EQ(Parse("gantry:///s?log=/l&driver=none")->log, "");
  for (const char* bad :
       {"gantry:///s?version=2", "gantry:///s?x=1", "gantry:///s?max-size=-2",
        "gantry:///s?max-size=1k", "gantry:///s?stdin=yes", "gantry:///s?driver=syslog",
        "gantry:///s?log=relative", "gantry:///s?compress=yes", "gantry:///s?attrs=%5B%5D",
        "gantry:///s?attrs=x", "gantry:///s?max-file=0"}) {
    EXPECT_FALSE(Parse(bad).ok()) << bad;
  }
}

TEST(Arguments, AreGosFlags) {
  auto arguments = ParseArguments({"shim", "-namespace", "moby", "--address=/run/c/c.sock", "-id",
                                   "abc", "-debug", "-publish-binary", "/bin/x", "start"});
  ASSERT_TRUE(arguments.ok()) << arguments.error().message();
  EXPECT_EQ(arguments->action, Action::kStart);
  EXPECT_TRUE(arguments->debug);
  EXPECT_EQ(DefaultRuntimeRoot(*arguments), "/run/c/runtime/moby");
  std::string path = SocketPath(*arguments, "");
  EXPECT_TRUE(path.starts_with("/run/c/s/"));
  EXPECT_TRUE(SocketPath(*arguments, "/x").starts_with("/x/"));
  arguments->id = "abd";
  EXPECT_NE(SocketPath(*arguments, ""), path);
  EXPECT_LE(SocketPath(*arguments, "/" + std::string(200, 'd')).size(), 104u);
  EXPECT_FALSE(ParseArguments({"shim", "start"}).ok());
  EXPECT_FALSE(ParseArguments({"shim", "-namespace", "n", "-id", "a/b", "start"}).ok());
  EXPECT_FALSE(ParseArguments({"shim", "-namespace", "n", "-id", "a", "stop"}).ok());
  EXPECT_FALSE(ParseArguments({"shim", "-what"}).ok());
}

}  // namespace
}  // namespace gantry::shim
