// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/image_tree.h"

#include <gtest/gtest.h>

namespace gantry::cli {
namespace {

TEST(ImageTreeTest, PlatformsStandBelowTheirImage) {
  auto images = formats::Json::Parse(R"([
    {"Id": "sha256:0123456789abcdef", "RepoTags": ["a:1", "a:2"], "Created": 1, "Size": 2000000,
     "Manifests": [
       {"Kind": "attestation", "ID": "sha256:ff", "Size": {"Content": 5}},
       {"Kind": "image", "ID": "sha256:111111111111", "Size": {"Total": 1500000, "Content": 1000},
        "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}, "Containers": ["x"]}},
       {"Kind": "image", "ID": "sha256:222222222222", "Size": {"Total": 500000, "Content": 500},
        "ImageData": {"Platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}}]},
    {"Id": "sha256:fedcba9876543210", "RepoTags": [], "Created": 2, "Size": 7, "Manifests": []}])");
  ASSERT_TRUE(images.ok());
  EXPECT_EQ(ImageTree(*images),
            "IMAGE             ID             DISK USAGE   CONTENT SIZE   EXTRA\n"
            "<untagged>        fedcba987654           7B             0B\n"
            "\n"
            "a:1\n"
            "a:2               0123456789ab          2MB          1.5kB   U\n"
            "├─ linux/amd64    111111111111        1.5MB            1kB   U\n"
            "└─ linux/arm/v7   222222222222        500kB           500B\n"
            "\n");
}

}  // namespace
}  // namespace gantry::cli
