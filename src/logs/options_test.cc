// SPDX-License-Identifier: Apache-2.0
#include "logs/options.h"

#include <gtest/gtest.h>

namespace gantry::logs {
namespace {

std::string Wrong(const std::string& driver, const Options& options) {
  Result<> checked = CheckOptions(driver, options);
  return checked.ok() ? "" : checked.error().message();
}

TEST(LogOptionsTest, DockersWords) {
  EXPECT_EQ(Wrong("", {}), "");
  EXPECT_EQ(Wrong("nope", {}), "error looking up logging plugin nope: plugin \"nope\" not found");
  EXPECT_EQ(Wrong("none", {{"anything", "x"}}), "");
  EXPECT_EQ(Wrong("json-file", {{"foo", "x"}}), "unknown log opt 'foo' for json-file log driver");
  EXPECT_EQ(Wrong("json-file", {{"max-size", "x"}}), "invalid size: 'x'");
  EXPECT_EQ(Wrong("json-file", {{"max-size", "0"}}), "max-size must be a positive number");
  EXPECT_EQ(Wrong("json-file", {{"max-file", "0"}}), "max-file cannot be less than 1");
  EXPECT_EQ(Wrong("json-file", {{"max-file", "3"}}), "");
  EXPECT_EQ(Wrong("json-file", {{"compress", "true"}}),
            "compress cannot be true when max-file is less than 2 or max-size is not set");
  EXPECT_EQ(Wrong("json-file", {{"mode", "foo"}}), "logger: logging mode not supported: foo");
  EXPECT_EQ(Wrong("json-file", {{"max-buffer-size", "1m"}}),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  EXPECT_EQ(Wrong("json-file", {{"mode", "non-blocking"}, {"max-buffer-size", "1m"}}), "");
  EXPECT_EQ(Wrong("local", {{"labels", "a"}}), "unknown log opt 'labels' for log driver local");
  EXPECT_EQ(Wrong("local", {{"max-size", "x"}}),
            "invalid value for max-size: x: invalid size: 'x'");
  EXPECT_EQ(Wrong("syslog", {{"syslog-address", "127.0.0.1:55"}}),
            "syslog-address should be in form proto://address, got 127.0.0.1:55");
  EXPECT_EQ(Wrong("syslog", {{"syslog-facility", "24"}}), "invalid syslog facility");
  EXPECT_EQ(Wrong("syslog", {{"syslog-format", "x"}}), "Invalid syslog format");
  EXPECT_EQ(Wrong("syslog", {{"syslog-address", "unix:///no/where"}}),
            "stat /no/where: no such file or directory");
  EXPECT_EQ(Wrong("gelf", {}), "gelf-address is a required parameter");
  EXPECT_EQ(Wrong("gelf", {{"gelf-address", "udp://x"}}),
            "gelf: please provide gelf-address as proto://host:port");
  EXPECT_EQ(Wrong("gelf", {{"gelf-address", "tcp://x:1"}, {"gelf-compression-type", "gzip"}}),
            "compression is only supported on UDP");
  EXPECT_EQ(Wrong("fluentd", {{"fluentd-async", "x"}}),
            "strconv.ParseBool: parsing \"x\": invalid syntax");
  EXPECT_EQ(Wrong("journald", {{"foo", "x"}}), "unknown log opt 'foo' for journald log driver");
}

TEST(LogOptionsTest, Addresses) {
  ServerAddress address = *ParseSyslogAddress("tcp+tls://[::1]:6514");
  EXPECT_EQ(address.protocol + " " + address.host + " " + address.port, "tcp+tls ::1 6514");
  EXPECT_EQ(ParseSyslogAddress("udp://host")->port, "514");
  EXPECT_EQ(ParseSyslogAddress("unixgram:///dev/log")->path, "/dev/log");
  EXPECT_EQ(ParseFluentdAddress("")->port, "24224");
  EXPECT_EQ(ParseFluentdAddress("h")->host, "h");
  EXPECT_EQ(ParseFluentdAddress("unix:///s")->path, "/s");
  EXPECT_EQ(*ParseSyslogFacility("local7"), 23);
}

TEST(LogOptionsTest, LimitsOfTheFile) {
  EXPECT_EQ(LimitsOf("json-file", {}).max_size, -1);
  EXPECT_EQ(LimitsOf("json-file", {{"max-size", "1k"}, {"max-file", "3"}}).max_size, 1024);
  EXPECT_EQ(LimitsOf("local", {}).max_size, 20 << 20);
  EXPECT_EQ(LimitsOf("syslog", {{"cache-max-size", "2k"}, {"cache-max-file", "7"}}).max_files, 7);
  EXPECT_TRUE(LimitsOf("local", {}).compress);
  EXPECT_FALSE(LimitsOf("local", {{"compress", "0"}}).compress);
  EXPECT_FALSE(LimitsOf("json-file", {{"max-size", "1k"}, {"max-file", "3"}}).compress);
  EXPECT_FALSE(LimitsOf("syslog", {{"cache-compress", "true"}}).compress);
}

}  // namespace
}  // namespace gantry::logs
