// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/copy_paths.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace gantry::cli {
namespace {

using Pair = std::pair<std::string, std::string>;

TEST(CopyPathsTest, Arguments) {
  EXPECT_EQ(SplitCopyArgument("c:/x:y").container, "c");
  EXPECT_EQ(SplitCopyArgument("c:/x:y").path, "/x:y");
  for (const char* local : {"/a:b", "./a:b", "a", "-"}) {
    EXPECT_EQ(SplitCopyArgument(local).container, "") << local;
    EXPECT_EQ(SplitCopyArgument(local).path, local);
  }
}

TEST(CopyPathsTest, KeepsWhatTheEndSays) {
  EXPECT_EQ(*LocalPath("/a/../b/"), "/b/");
  EXPECT_EQ(*LocalPath("/a/b/."), "/a/b/.");
  EXPECT_EQ(*LocalPath("/"), "/");
  EXPECT_EQ(SplitDirectory("/a/b"), Pair("/a", "b"));
  EXPECT_EQ(SplitDirectory("/a/b/"), Pair("/a", "b"));
  EXPECT_EQ(SplitDirectory("/a/b/."), Pair("/a/b", "."));
  EXPECT_EQ(SplitDirectory("/a"), Pair("/", "a"));
  EXPECT_EQ(SplitDirectory("/"), Pair("/", "/"));
  EXPECT_EQ(FollowOnce("/d/link", "a"), "/d/a");
  EXPECT_EQ(FollowOnce("/d/link", "/x"), "/x");
  EXPECT_EQ(KeepAskedName("/d/link", "/d/a").rename, "link");
  EXPECT_EQ(KeepAskedName("/d/link/", "/x").path, "/x/");
}

// docker's table of cases (docker cp --help, "cp" in its reference).
TEST(CopyPathsTest, Plans) {
  CopyPlace file{"/s/f", true, false, ""}, directory{"/s/d", true, true, ""};
  auto plan = [](const CopyPlace& from, const CopyPlace& to) {
    Result<CopyPlan> planned = PlanCopy(from, to);
    if (!planned.ok()) return "error: " + planned.error().message();
    return planned->directory + " " + planned->new_name;
  };
  EXPECT_EQ(plan(file, {"/t", true, true, ""}), "/t f");
  EXPECT_EQ(plan(file, {"/t/x", true, false, ""}), "/t x");
  EXPECT_EQ(plan(file, {"/t/x", false, false, ""}), "/t x");
  EXPECT_EQ(plan(file, {"/t/x/", false, false, ""}), "error: no such directory");
  EXPECT_EQ(plan(directory, {"/t", true, true, ""}), "/t d");
  EXPECT_EQ(plan(directory, {"/t/x", false, false, ""}), "/t x");
  EXPECT_EQ(plan(directory, {"/t/x", true, false, ""}), "error: cannot copy directory");
  EXPECT_EQ(plan({"/s/d/.", true, true, ""}, {"/t/x", false, false, ""}), "/t x");
}

TEST(CopyPathsTest, RenamesTheFirstPartOnly) {
  EXPECT_EQ(Renamed({"", "d", "x"}, "d/sub/d"), "x/sub/d");
  EXPECT_EQ(Renamed({"", "d", "x"}, "d"), "x");
  EXPECT_EQ(Renamed({"", "d", "x"}, "data/d"), "data/d");
  EXPECT_EQ(Renamed({"", ".", "x"}, "./f"), "x/f");
  EXPECT_EQ(Renamed({"", "/", "x"}, "/etc/f"), "x/etc/f");
  EXPECT_EQ(Renamed({"", "d", "d"}, "d/f"), "d/f");
}

TEST(CopyPathsTest, LooksAtTheHost) {
  char top[] = "/tmp/gantry-copy-XXXXXX";
  std::string path = std::filesystem::canonical(::mkdtemp(top));
  std::filesystem::create_directory(path + "/d");
  std::ofstream(path + "/f") << "x";
  std::filesystem::create_symlink("f", path + "/l");
  std::filesystem::create_symlink("new", path + "/broken");
  EXPECT_EQ(FindLocalSource(path + "/l", false)->path, path + "/l");
  CopyPlace followed = *FindLocalSource(path + "/l", true);
  EXPECT_EQ(followed.path, path + "/f");
  EXPECT_EQ(followed.rename, "l");
  EXPECT_EQ(FindLocalSource(path + "/no", false).error().message(),
            "lstat " + path + "/no: no such file or directory");
  EXPECT_EQ(FindLocalDestination(path + "/l")->path, path + "/f");
  EXPECT_EQ(FindLocalDestination(path + "/broken")->path, path + "/new");
  EXPECT_FALSE(FindLocalDestination(path + "/no/such").ok());
  EXPECT_EQ(CheckOutputPath(path + "/no/such").error().message(),
            "invalid output path: directory \"" + path + "/no\" does not exist");
  EXPECT_EQ(
      CheckOutputPath("/dev/null").error().message(),
      "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device");
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace gantry::cli
