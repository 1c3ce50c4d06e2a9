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

TEST(StdioUri, NamesCompressionAndAttributesOnlyWhenThereAreAny) {
  ContainerRecord record;
  record.host.log_config.type = "json-file";
  record.config.labels = {{"a", "b"}};
  EXPECT_EQ(MakeStdioUri(record, "/s", "/l")->Format(),
            "gantry:///s?stdin=none&driver=json-file&log=%2Fl&max-size=-1&max-file=1&version=1");
  record.host.log_config.config = {
      {"max-size", "1k"}, {"max-file", "2"}, {"compress", "true"}, {"labels", "a"}};
  EXPECT_EQ(MakeStdioUri(record, "/s", "/l")->Format(),
            "gantry:///s?stdin=none&driver=json-file&log=%2Fl&max-size=1024&max-file=2&compress=1"
            "&attrs=%7B%22a%22%3A%22b%22%7D&version=1");
  record.host.log_config.config["labels-regex"] = "[";
  EXPECT_FALSE(MakeStdioUri(record, "/s", "/l").ok());
}

}  // namespace
}  // namespace gantry::engine
