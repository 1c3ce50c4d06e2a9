// SPDX-License-Identifier: Apache-2.0
#include "engine/api/version_shape.h"

#include <gtest/gtest.h>

namespace gantry::engine::api {
namespace {

using formats::Json;

Json Shaped(AnswerForm form, int minor, std::string_view text) {
  Json json = *Json::Parse(text);
  Shape(form, minor, &json);
  return json;
}

std::string Text(AnswerForm form, int minor, std::string_view text) {
  return Shaped(form, minor, text).Dump();
}

TEST(VersionShape, FieldsComeAndGo) {
  std::string_view info = R"({"Containerd":{},"BridgeNfIptables":false,"ID":"x"})";
  EXPECT_EQ(Text(AnswerForm::kInfo, 45, info), R"({"BridgeNfIptables":false,"ID":"x"})");
  EXPECT_EQ(Text(AnswerForm::kInfo, 46, info), info);
  EXPECT_EQ(Text(AnswerForm::kInfo, 50, info), R"({"Containerd":{},"ID":"x"})");
}

TEST(VersionShape, PathsGoThroughArraysAndObjects) {
  std::string_view list =
      R"([{"NetworkSettings":{"Networks":{"a":{"GwPriority":0,"I":1},"b":{"GwPriority":0}}}}])";
  EXPECT_EQ(Text(AnswerForm::kContainerList, 47, list),
            R"([{"NetworkSettings":{"Networks":{"a":{"I":1},"b":{}}}}])");
  EXPECT_EQ(Text(AnswerForm::kContainerList, 48, list), list);
}

TEST(VersionShape, SomeGoOnlyWhereTheyAreEmpty) {
  std::string_view image = R"({"Author":"","Comment":"word","Config":{"Cmd":null,"Env":["a"]}})";
  EXPECT_EQ(Text(AnswerForm::kImage, 51, image), image);
  EXPECT_EQ(Text(AnswerForm::kImage, 52, image), R"({"Comment":"word","Config":{"Env":["a"]}})");
}

TEST(VersionShape, OldFormsComeBack) {
  EXPECT_EQ(Text(AnswerForm::kImageList, 42, R"([{"RepoTags":[],"RepoDigests":[]}])"),
            R"([{"RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"],"Containers":-1}])");
  EXPECT_EQ(Text(AnswerForm::kImageList, 51, R"([{"RepoTags":[],"Containers":2}])"),
            R"([{"RepoTags":[],"Containers":2}])");
  Json info =
      Shaped(AnswerForm::kInfo, 24, R"({"SecurityOptions":["name=seccomp,profile=builtin"]})");
  EXPECT_EQ(info["SecurityOptions"].at(0).AsString(), "seccomp");
  EXPECT_EQ(info["ExecutionDriver"].AsString(), "<not supported>");
}

TEST(VersionShape, OtherDocumentsStay) {
  std::string_view text = R"({"Containerd":{},"VirtualSize":1})";
  EXPECT_EQ(Text(AnswerForm::kNone, 24, text), text);
  EXPECT_EQ(Text(AnswerForm::kContainer, 24, text), text);
}

}  // namespace
}  // namespace gantry::engine::api
