// SPDX-License-Identifier: Apache-2.0
#include "images/import_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::images {
namespace {

using formats::Digest;
using testing::ElementsAre;
using testing::IsEmpty;

const Digest kDigest = Digest::Of("x");
const std::string kText = kDigest.text();

TEST(ImportNames, APrefixTakesWhatIsBelowIt) {
  std::vector<NameRule> rules = {{.name = "r.io/a", .is_prefix = true}};
  EXPECT_THAT(ManifestNames(rules, {.full = "r.io/a:1"}, kDigest), ElementsAre("r.io/a:1"));
  EXPECT_THAT(ManifestNames(rules, {.full = "r.io/a/b:1"}, kDigest), ElementsAre("r.io/a/b:1"));
  EXPECT_THAT(ManifestNames(rules, {.full = "r.io/ab:1"}, kDigest), IsEmpty());
  EXPECT_THAT(ManifestNames(rules, {.ref = "latest"}, kDigest), ElementsAre("r.io/a:latest"));
  // A whole name is never made of a tag.
  EXPECT_THAT(ManifestNames(rules, {.full = "latest", .ref = "r.io/a:1"}, kDigest), IsEmpty());
  EXPECT_THAT(ManifestNames(rules, {}, kDigest), IsEmpty());
  EXPECT_THAT(ManifestNames({}, {.full = "r.io/a:1"}, kDigest), IsEmpty());
}

TEST(ImportNames, OverwritingTakesEveryWholeName) {
  std::vector<NameRule> rules = {{.name = "base", .is_prefix = true, .allow_overwrite = true}};
  EXPECT_THAT(ManifestNames(rules, {.full = "other/b:1"}, kDigest), ElementsAre("other/b:1"));
  EXPECT_THAT(ManifestNames(rules, {.ref = "1"}, kDigest), ElementsAre("base:1"));
}

TEST(ImportNames, DigestsAreAddedOrStandIn) {
  NameRule rule = {.name = "base", .is_prefix = true, .allow_overwrite = true, .add_digest = true};
  EXPECT_THAT(ManifestNames({rule}, {.full = "o/b:1"}, kDigest),
              ElementsAre("o/b:1", "base@" + kText));
  rule.skip_named_digest = true;
  EXPECT_THAT(ManifestNames({rule}, {.full = "o/b:1"}, kDigest), ElementsAre("o/b:1"));
  EXPECT_THAT(ManifestNames({rule}, {}, kDigest), ElementsAre("base@" + kText));
}

TEST(ImportNames, AnIndexHasItsOwn) {
  std::vector<NameRule> rules = {{.name = "p", .is_prefix = true},
                                 {.name = "d", .is_prefix = true, .add_digest = true},
                                 {.name = "r.io/a:2"}};
  EXPECT_THAT(IndexNames("r.io/a:1", rules, kDigest),
              ElementsAre("r.io/a:1", "d@" + kText, "r.io/a:2"));
  EXPECT_THAT(IndexNames("", {}, kDigest), IsEmpty());
}

}  // namespace
}  // namespace gantry::images
