// SPDX-License-Identifier: Apache-2.0
#include "engine/stdio_uri.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

TEST(StdioUri, WithoutALog) {
  StdioUri uri;
  uri.socket = "/run/gantry/io/a/init";
  EXPECT_EQ(uri.Format(), "gantry:///run/gantry/io/a/init?stdin=none&version=1");
}

TEST(StdioUri, EscapesTheLogsPath) {
  StdioUri uri;
  uri.socket = "/s";
  uri.log = "/a b&c";
  uri.log_max_size = 10;
  uri.log_max_file = 3;
  uri.stdin_mode = "once";
  EXPECT_EQ(uri.Format(),
            "gantry:///s?stdin=once&driver=json-file&log=%2Fa%20b%26c&max-size=10&max-file=3"
            "&version=1");
}

}  // namespace
}  // namespace gantry::engine
