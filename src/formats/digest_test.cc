// SPDX-License-Identifier: Apache-2.0
#include "formats/digest.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

// FIPS 180-4's test vector "abc".
constexpr char kAbc[] = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Digest, Computes) {
  EXPECT_EQ(Digest::Of("abc").text(), kAbc);
  EXPECT_EQ(Digest::Of("abc", DigestAlgorithm::kSha512).text().substr(0, 23),
            "sha512:ddaf35a193617aba");
  Hasher hasher;
  hasher.Update("a");
  Digest first = hasher.Current();
  hasher.Update("bc");
  EXPECT_EQ(first, Digest::Of("a"));
  EXPECT_EQ(hasher.Current().text(), kAbc);
  hasher.Reset();
  EXPECT_EQ(hasher.Current(), Digest::Of(""));
}

TEST(Digest, Parses) {
  EXPECT_EQ(*Digest::Parse(kAbc), Digest::Of("abc"));
  EXPECT_EQ(Digest::Parse(kAbc)->hex().size(), 64u);
  EXPECT_TRUE(Digest::Parse("sha512:" + std::string(128, '0')).ok());
  for (const std::string& bad :
       {std::string(), std::string("sha256"), std::string("sha256:"), std::string("md5:00"),
        "sha256:" + std::string(63, 'a'), "sha256:" + std::string(64, 'A'),
        "sha256:" + std::string(64, 'g'), "sha512:" + std::string(64, 'a'),
        "sha256:" + std::string(62, 'a') + "/.", std::string(kAbc) + "\n"}) {
    EXPECT_EQ(Digest::Parse(bad).error().kind(), ErrorKind::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace gantry::formats
