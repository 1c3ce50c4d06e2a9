// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/suggest.h"

#include <gtest/gtest.h>

#include "base/edit_distance.h"

namespace gantry::cli {
namespace {

TEST(SuggestTest, CountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("run", "run"), 0u);
  EXPECT_EQ(EditDistance("", "run"), 3u);
  EXPECT_EQ(EditDistance("rn", "run"), 1u);
  EXPECT_EQ(EditDistance("rrun", "run"), 1u);
  EXPECT_EQ(EditDistance("ran", "run"), 1u);
  EXPECT_EQ(EditDistance("urn", "run"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
}

TEST(SuggestTest, TakesTheNearest) {
  std::vector<std::string> words = {"ps", "images", "image", "network", "run", "rm"};
  EXPECT_EQ(Suggest("imagse", words), "images");
  EXPECT_EQ(Suggest("netwrok", words), "network");
  EXPECT_EQ(Suggest("rnu", words), "run");
  EXPECT_EQ(Suggest("xyz", words), "");
  EXPECT_EQ(Suggest("", words), "");
  EXPECT_EQ(Suggest(std::string(1 << 20, 'x'), words), "");
}

}  // namespace
}  // namespace gantry::cli
