// SPDX-License-Identifier: Apache-2.0
#include "formats/base64.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

// RFC 4648 section 10.
TEST(Base64, RfcVectors) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(EncodeBase64(plain), encoded);
    EXPECT_EQ(*DecodeBase64(encoded), plain);
  }
}

TEST(Base64, BothAlphabetsAndNoPadding) {
  EXPECT_EQ(*DecodeBase64("-_8"), "\xfb\xff");
  EXPECT_EQ(*DecodeBase64("+/8="), "\xfb\xff");
}

TEST(Base64, RefusesWhatItIsNot) {
  EXPECT_FALSE(DecodeBase64("a").ok());
  EXPECT_FALSE(DecodeBase64("ab!d").ok());
}

}  // namespace
}  // namespace gantry::formats
