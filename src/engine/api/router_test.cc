// SPDX-License-Identifier: Apache-2.0
#include "engine/api/router.h"

#include <gtest/gtest.h>

#include <array>

namespace gantry::engine::api {
namespace {

std::string PatternOf(std::string_view method, std::string_view path) {
  auto match = FindRoute(Routes(), method, path);
  return match ? std::string(match->route->pattern) : "";
}

TEST(Router, FindsByMethodAndParts) {
  EXPECT_EQ(PatternOf("GET", "/containers/json"), "/containers/json");
  EXPECT_EQ(PatternOf("GET", "/containers/abc/json"), "/containers/{*}/json");
  EXPECT_EQ(PatternOf("DELETE", "/containers/abc"), "/containers/{*}");
  EXPECT_EQ(PatternOf("DELETE", "/containers/abc/alias"), "/containers/{*}");
  EXPECT_EQ(PatternOf("DELETE", "/containers/abc/checkpoints/x"), "/containers/{*}/checkpoints/{}");
  EXPECT_EQ(PatternOf("HEAD", "/_ping"), "/_ping");
  EXPECT_EQ(PatternOf("GET", "/networks/"), "/networks");
}

TEST(Router, OtherMethodsAndPathsAreUnknown) {
  EXPECT_EQ(PatternOf("PUT", "/containers/json"), "");
  EXPECT_EQ(PatternOf("GET", "/containers"), "");
  EXPECT_EQ(PatternOf("GET", "/"), "");
  EXPECT_EQ(PatternOf("GET", "/containers/json/json/json/x"), "");
}

TEST(Router, NamesHaveSlashes) {
  // No container has such a name, and that is what is said.
  EXPECT_EQ(PatternOf("GET", "/containers/a/b/json"), "/containers/{*}/json");
  auto match = FindRoute(Routes(), "GET", "/images/localhost:5000/a/b:tag/json");
  ASSERT_TRUE(match);
  EXPECT_EQ(match->route->pattern, "/images/{*}/json");
  EXPECT_EQ(match->args, std::vector<std::string>{"localhost:5000/a/b:tag"});
  EXPECT_EQ(PatternOf("GET", "/images/json"), "/images/json");
  EXPECT_EQ(PatternOf("GET", "/images/json/json"), "/images/{*}/json");
  EXPECT_EQ(PatternOf("DELETE", "/images/a/b"), "/images/{*}");
}

TEST(Router, SplitsVersions) {
  auto versioned = SplitVersion("/v1.41/info");
  ASSERT_TRUE(versioned.ok());
  EXPECT_EQ(versioned->minor, 41);
  EXPECT_EQ(versioned->path, "/info");
  EXPECT_EQ(SplitVersion("/info")->minor, kMaxMinor);
  EXPECT_EQ(SplitVersion("/version")->path, "/version");
  EXPECT_EQ(SplitVersion("/volumes")->path, "/volumes");
}

TEST(Router, RefusesVersionsInDockersWords) {
  EXPECT_EQ(SplitVersion("/v1.12/info").error().message(),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please "
            "upgrade your client to a newer version");
  EXPECT_EQ(SplitVersion("/v1.99/info").error().message(),
            fmt::format("client version 1.99 is too new. Maximum supported API version is 1.{}",
                        kMaxMinor));
}

TEST(Api, StatusOfErrors) {
  EXPECT_EQ(StatusOf(NotFound("x")), 404);
  EXPECT_EQ(StatusOf(InvalidArgument("x")), 400);
  EXPECT_EQ(StatusOf(AlreadyExists("x")), 409);
  EXPECT_EQ(StatusOf(Conflict("x")), 409);
  EXPECT_EQ(StatusOf(Unimplemented("x")), 501);
  EXPECT_EQ(StatusOf(Internal("x")), 500);
}

}  // namespace
}  // namespace gantry::engine::api
