// SPDX-License-Identifier: Apache-2.0
#include "engine/attach.h"

#include <gtest/gtest.h>

namespace gantry::engine {
namespace {

TEST(DetachKeys, DefaultAndForms) {
  EXPECT_EQ(*ParseDetachKeys(""), "\x10\x11");
  EXPECT_EQ(*ParseDetachKeys("ctrl-a,d"),
            "\x01"
            "d");
  EXPECT_EQ(*ParseDetachKeys("ctrl-@"), std::string(1, '\0'));
  EXPECT_FALSE(ParseDetachKeys("ctrl-").ok());
  EXPECT_FALSE(ParseDetachKeys("shift-a").ok());
}

}  // namespace
}  // namespace gantry::engine
