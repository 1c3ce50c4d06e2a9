// SPDX-License-Identifier: Apache-2.0
#include "formats/resolv_conf.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

TEST(ResolvConfTest, ReadsAndWrites) {
  ResolvConf conf = ParseResolvConf(
      "# made by hand\nnameserver 192.0.2.1 # first\n nameserver\t::1\r\ndomain a\nsearch b c\n"
      "options edns0 ndots:2\nsortlist 1\nnameserver\n; end");
  EXPECT_EQ(FormatResolvConf(conf),
            "nameserver 192.0.2.1\nnameserver ::1\nsearch b c\noptions edns0 ndots:2\n");
  EXPECT_EQ(FormatResolvConf(ParseResolvConf("")), "");
  EXPECT_TRUE(IsLoopbackServer("127.0.0.53"));
  EXPECT_FALSE(IsLoopbackServer("192.0.2.1"));
}

}  // namespace
}  // namespace gantry::formats
