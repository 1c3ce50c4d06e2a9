// SPDX-License-Identifier: Apache-2.0
#include "containerd/filters.h"

#include <gtest/gtest.h>

namespace gantry::containerd {
namespace {

std::optional<std::string> Lookup(const FieldPath& path) {
  static const std::map<std::string, std::string> kLabels = {
      {"foo", "true"}, {"very complex label", "a b"}, {"a.b/c", "dotted"}};
  if (path[0] == "name") return "registry/image:tag";
  if (path[0] == "topic") return "/tasks/exit";
  if (path[0] == "namespace") return "moby";
  if (path[0] == "labels") return LabelOf(path, 1, kLabels);
  return std::nullopt;
}

bool Match(std::vector<std::string> texts) {
  auto filters = Filters::Parse(texts);
  EXPECT_TRUE(filters.ok()) << (filters.ok() ? "" : filters.error().message());
  return filters.ok() && filters->Matches(Lookup);
}

TEST(FiltersTest, Matches) {
  EXPECT_TRUE(Match({}));
  EXPECT_TRUE(Match({""}));
  EXPECT_TRUE(Match({"name==registry/image:tag"}));
  EXPECT_FALSE(Match({"name==other"}));
  EXPECT_TRUE(Match({"name!=other"}));
  EXPECT_TRUE(Match({"name~=image"}));
  EXPECT_TRUE(Match({"name==other", "labels.foo"}));
  EXPECT_FALSE(Match({"name==registry/image:tag,labels.bar"}));
  EXPECT_TRUE(Match({"labels.\"very complex label\"==\"a b\""}));
  EXPECT_TRUE(Match({"labels.\"a.b/c\"==dotted"}));
  EXPECT_TRUE(Match({"missing!=x"}));
  EXPECT_FALSE(Match({"missing"}));
}

TEST(FiltersTest, TakesTheFiltersOfDockerd) {
  EXPECT_TRUE(Match({"namespace==moby,topic~=|^/tasks/|"}));
  EXPECT_FALSE(Match({"namespace==other,topic~=|^/tasks/|"}));
  EXPECT_TRUE(Match({"topic~=/exit$/"}));
  EXPECT_TRUE(Match({"topic==\"/tasks/exit\""}));
  EXPECT_TRUE(Match({"topic~=\"^/tasks/\\x65xit\""}));
}

TEST(FiltersTest, SkipsSpaceWhereContainerdDoes) {
  EXPECT_TRUE(Match({"namespace==moby, topic == \"/tasks/exit\""}));
  EXPECT_TRUE(Match({" labels. foo,\tnamespace== moby"}));
  EXPECT_FALSE(Match({"namespace == moby, topic == x"}));
  for (const char* text : {"name==x ", "name ,name", "name .x", "name= =x"}) {
    EXPECT_FALSE(Filters::Parse({text}).ok()) << text;
  }
}

TEST(FiltersTest, RefusesWhatIsWrong) {
  for (const char* text :
       {"name=", "name==", "==x", "name~=|[|", "name==\"x", "a,", ",", "a..b",
        "name===", "name===x", "name~=\"\\q\"", "topic==/tasks/exit", "topic!=|x|", "/topic/==x"}) {
    auto filters = Filters::Parse({text});
    ASSERT_FALSE(filters.ok()) << text;
    EXPECT_EQ(filters.error().kind(), ErrorKind::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace gantry::containerd
