// SPDX-License-Identifier: Apache-2.0
//
// Hostile and ordinary layers, each into both kinds of snapshot. Needs root.
#include "images/apply_layer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "base/io.h"
#include "formats/compression/compression.h"
#include "formats/tar.h"
#include "images/layer_directory.h"

namespace gantry::images {
namespace {

namespace fs = std::filesystem;
using formats::TarEntry;
using formats::TarType;

struct Item {
  TarEntry entry;
  std::string data;
};
Item File(std::string name, std::string data, uint32_t mode = 0644) {
  return {{.name = std::move(name), .mode = mode}, std::move(data)};
}
Item Directory(std::string name, uint32_t mode = 0755, uint32_t uid = 0) {
  return {{.type = TarType::kDirectory, .name = std::move(name), .mode = mode, .uid = uid}, ""};
}
Item Symlink(std::string name, std::string target) {
  return {{.type = TarType::kSymlink, .name = std::move(name), .link_name = std::move(target)}, ""};
}
Item HardLink(std::string name, std::string target) {
  return {{.type = TarType::kHardLink, .name = std::move(name), .link_name = std::move(target)},
          ""};
}

std::string Tar(const std::vector<Item>& items) {
  StringSink sink;
  formats::TarWriter writer(sink);
  for (const Item& item : items) EXPECT_TRUE(writer.WriteFile(item.entry, item.data).ok());
  EXPECT_TRUE(writer.Finish().ok());
  return sink.text;
}

class ApplyLayerTest : public testing::TestWithParam<Whiteouts> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for owners and devices";
    char path[] = "/tmp/gantry-apply-XXXXXX";
    top_ = ::mkdtemp(path);
    root_ = top_ + "/root";
    fs::create_directory(root_);
    EXPECT_TRUE(CreateFile(top_ + "/secret", "secret", 0600).ok());
  }
  void TearDown() override {
    if (top_.empty()) return;
    EXPECT_EQ(*ReadFile(top_ + "/secret"), "secret") << "a layer got out of its directory";
    EXPECT_EQ(fs::status(top_ + "/secret").permissions(), fs::perms(0600));
    size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(top_)) ++entries;
    EXPECT_LE(entries, 3u) << "a layer got out of its directory";
    fs::remove_all(top_);
  }
  Result<AppliedLayer> Apply(const std::vector<Item>& items) { return ApplyBytes(Tar(items)); }
  Result<AppliedLayer> ApplyBytes(const std::string& bytes) {
    StringSource source(bytes, 777);
    return ApplyLayer({root_, lowers_, GetParam()}, source, {});
  }
  struct stat Stat(const std::string& name) {
    struct stat status = {};
    EXPECT_EQ(::lstat((root_ + "/" + name).c_str(), &status), 0) << name;
    return status;
  }
  bool Overlay() const { return GetParam() == Whiteouts::kOverlay; }

  std::string top_;
  std::string root_;
  std::vector<std::string> lowers_;
};

TEST_P(ApplyLayerTest, ExtractsEverythingAndComputesTheDiffId) {
  Item full = File("d/file", "contents", 04755);
  full.entry.uid = 12;
  full.entry.gid = 34;
  full.entry.mtime_seconds = 1000;
  full.entry.mtime_nanos = 5;
  full.entry.xattrs = {{"user.k", "v"}, {"trusted.overlay.redirect", "/etc"}};
  // As every archiver writes it: a link repeats the attributes.
  Item hard = HardLink("hard", "d/file");
  hard.entry.mode = full.entry.mode;
  hard.entry.uid = full.entry.uid;
  hard.entry.gid = full.entry.gid;
  Item device{{.type = TarType::kCharDevice,
               .name = "null",
               .mode = 0666,
               .device_major = 1,
               .device_minor = 3},
              ""};
  Item pipe{{.type = TarType::kFifo, .name = "pipe", .mode = 0622}, ""};
  Item directory = Directory("d/", 01777, 7);
  directory.entry.mtime_seconds = 2000;
  std::string bytes = Tar({Directory("./"), directory, full, hard, Symlink("link", "/d/file"),
                           device, pipe, File("big", std::string(1 << 20, 'x'))});
  StringSink gzip;
  formats::compression::GzipSink compressor(gzip);
  ASSERT_TRUE(compressor.Write(bytes).ok());
  ASSERT_TRUE(compressor.Finish().ok());
  auto applied = ApplyBytes(gzip.text);
  ASSERT_TRUE(applied.ok()) << applied.error().message();
  EXPECT_EQ(applied->diff_id, formats::Digest::Of(bytes));
  EXPECT_EQ(applied->size, bytes.size());
  EXPECT_EQ(Stat("d/file").st_mode & 07777, 04755u);
  EXPECT_EQ(Stat("d/file").st_uid, 12u);
  EXPECT_EQ(Stat("d/file").st_gid, 34u);
  EXPECT_EQ(Stat("d/file").st_nlink, 2u);
  EXPECT_EQ(Stat("d").st_mode & 07777, 01777u);
  EXPECT_EQ(Stat("d").st_uid, 7u);
  EXPECT_EQ(Stat("d").st_mtim.tv_sec, 2000);
  EXPECT_EQ(Stat("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(Stat("null").st_mode, S_IFCHR | 0666u);
  EXPECT_EQ(Stat("pipe").st_mode, S_IFIFO | 0622u);
  EXPECT_EQ(fs::read_symlink(root_ + "/link"), "/d/file");
  char value[8];
  EXPECT_EQ(::getxattr((root_ + "/d/file").c_str(), "user.k", value, sizeof value), 1);
  EXPECT_LT(::getxattr((root_ + "/d/file").c_str(), "trusted.overlay.redirect", value, 8), 0);
}

TEST_P(ApplyLayerTest, NamesAndLinksStayInside) {
  for (const std::vector<Item>& items : std::vector<std::vector<Item>>{
           {File("../secret", "evil")},
           {File("/../../secret", "evil")},
           {File("a/../../secret", "evil")},
           {Symlink("up", ".."), File("up/secret", "evil")},
           {Symlink("up", "../.."), File("up/secret", "evil")},
           {Symlink("abs", top_), File("abs/secret", "evil")},
           {Symlink("l1", ".."), Symlink("l2", "l1/.."), File("l2/secret", "evil")},
           {Symlink("secret", "../secret"), File("secret", "evil")},
           {Symlink("s", top_ + "/secret"), HardLink("h", "s"), File("h", "evil")},
           {Symlink("self", "self"), File("self", "x")},
           {Symlink("dir", top_), Directory("dir/", 0777)},
       }) {
    auto applied = Apply(items);
    ASSERT_TRUE(applied.ok()) << applied.error().message();
    fs::remove_all(root_);
    fs::create_directory(root_);
  }
}

TEST_P(ApplyLayerTest, RefusesWhatCannotBe) {
  for (const std::vector<Item>& items : std::vector<std::vector<Item>>{
           {HardLink("h", "../secret")},
           {HardLink("h", top_ + "/secret")},
           {Symlink("up", ".."), HardLink("h", "up/missing")},
           {Directory("d"), HardLink("h", "d")},
           {HardLink("h", "h")},
           {HardLink("h", "/")},
           {File("f", "x"), File("f/below", "x")},
           {Symlink("a", "b"), Symlink("b", "a"), File("a/f", "x")},
           {File(".wh.", "")},
           {File("d/.wh...", "")},
           {File("d/.wh..", "")},
       }) {
    EXPECT_FALSE(Apply(items).ok()) << items.back().entry.name;
    fs::remove_all(root_);
    fs::create_directory(root_);
  }
}

TEST_P(ApplyLayerTest, LaterEntriesReplaceEarlierOnes) {
  auto applied = Apply({Directory("d"), File("d/f", "old"), File("d/f", "new"), File("d/g", "g"),
                        Symlink("to", "d"), File("to/h", "through the link"), File("x", "x"),
                        Directory("x"), File("x/y", "y"), Directory("z"), File("z/1", "1"),
                        Symlink("z", "d"), File("z/2", "2")});
  ASSERT_TRUE(applied.ok()) << applied.error().message();
  EXPECT_EQ(*ReadFile(root_ + "/d/f"), "new");
  EXPECT_EQ(*ReadFile(root_ + "/d/h"), "through the link");
  EXPECT_EQ(*ReadFile(root_ + "/x/y"), "y");
  EXPECT_EQ(*ReadFile(root_ + "/d/2"), "2");
  EXPECT_TRUE(fs::is_symlink(root_ + "/z"));
}

TEST_P(ApplyLayerTest, Whiteouts) {
  fs::create_directories(root_ + "/opaque/old/deep");
  fs::create_directories(root_ + "/gone");
  ASSERT_TRUE(CreateFile(root_ + "/gone/f", "x", 0600).ok());
  ASSERT_TRUE(CreateFile(root_ + "/file", "x", 0600).ok());
  auto applied =
      Apply({Directory("opaque"), File("opaque/new", "n"), File("opaque/.wh..wh..opq", ""),
             File("opaque/sub/newer", "n"), File(".wh.gone", ""), File(".wh.file", ""),
             File(".wh..wh.plnk", ""), File(".wh.missing", "")});
  ASSERT_TRUE(applied.ok()) << applied.error().message();
  EXPECT_TRUE(fs::exists(root_ + "/opaque/new"));
  EXPECT_TRUE(fs::exists(root_ + "/opaque/sub/newer"));
  EXPECT_FALSE(fs::exists(root_ + "/.wh..wh.plnk"));
  char value = 0;
  bool opaque = ::getxattr((root_ + "/opaque").c_str(), "trusted.overlay.opaque", &value, 1) == 1;
  EXPECT_EQ(opaque, Overlay());
  if (Overlay()) {
    for (const char* name : {"gone", "file", "missing"}) {
      EXPECT_TRUE(S_ISCHR(Stat(name).st_mode)) << name;
      EXPECT_EQ(Stat(name).st_rdev, 0u);
    }
  } else {
    for (const char* name : {"gone", "file", "missing", "opaque/old"}) {
      EXPECT_FALSE(fs::exists(root_ + "/" + name)) << name;
    }
  }
}

TEST_P(ApplyLayerTest, ParentsKeepTheAttributesOfLowerLayers) {
  if (!Overlay()) GTEST_SKIP() << "a copy has them already";
  lowers_ = {top_ + "/lowers/near", top_ + "/lowers/far"};
  fs::create_directories(lowers_[0] + "/opaque");
  fs::create_directories(lowers_[1] + "/sticky/owned");
  fs::create_directories(lowers_[1] + "/hidden/deep");
  fs::create_directories(lowers_[1] + "/opaque/below");
  fs::create_directories(lowers_[1] + "/run");
  ASSERT_EQ(::chmod((lowers_[1] + "/sticky").c_str(), 01777), 0);
  ASSERT_EQ(::chmod((lowers_[1] + "/run").c_str(), 0711), 0);
  ASSERT_EQ(::chmod((lowers_[1] + "/sticky/owned").c_str(), 02750), 0);
  ASSERT_EQ(::chown((lowers_[1] + "/sticky/owned").c_str(), 33, 44), 0);
  ASSERT_EQ(::chmod((lowers_[1] + "/sticky/owned").c_str(), 02750), 0);
  ASSERT_EQ(::setxattr((lowers_[1] + "/sticky/owned").c_str(), "user.k", "v", 1, 0), 0);
  ASSERT_EQ(::chmod((lowers_[1] + "/hidden").c_str(), 0700), 0);
  ASSERT_EQ(::chmod((lowers_[1] + "/opaque/below").c_str(), 0700), 0);
  ASSERT_EQ(::mknod((lowers_[0] + "/hidden").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(::setxattr((lowers_[0] + "/opaque").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  auto applied =
      Apply({File("sticky/owned/f", "x"), File("hidden/deep/f", "x"), File("opaque/below/f", "x"),
             File("new/f", "x"), Symlink("var", "/run"), File("var/pid", "1")});
  ASSERT_TRUE(applied.ok()) << applied.error().message();
  EXPECT_EQ(Stat("sticky").st_mode & 07777, 01777u);
  EXPECT_EQ(Stat("sticky/owned").st_mode & 07777, 02750u);
  EXPECT_EQ(Stat("sticky/owned").st_uid, 33u);
  EXPECT_EQ(Stat("sticky/owned").st_gid, 44u);
  char value[8];
  EXPECT_EQ(::getxattr((root_ + "/sticky/owned").c_str(), "user.k", value, sizeof value), 1);
  EXPECT_EQ(Stat("hidden").st_mode & 07777, 0755u) << "a whiteout hides the lower one";
  EXPECT_EQ(Stat("opaque/below").st_mode & 07777, 0755u) << "an opaque directory hides it";
  EXPECT_EQ(Stat("new").st_mode & 07777, 0755u);
  EXPECT_EQ(Stat("run").st_mode & 07777, 0711u) << "through a link of this layer";
  EXPECT_EQ(*ReadFile(root_ + "/run/pid"), "1");
}

// What is extracted without the layers below gets from them afterwards what it would have got.
TEST_P(ApplyLayerTest, AttributesOfLowerLayersAreTakenLater) {
  if (!Overlay()) GTEST_SKIP() << "only overlay's directories are extracted that way";
  std::string lower = top_ + "/lowers";
  fs::create_directories(lower + "/sticky/owned");
  fs::create_directories(lower + "/named");
  fs::create_directories(lower + "/replaced/deep");
  for (const char* name : {"/sticky", "/sticky/owned", "/named", "/replaced", "/replaced/deep"}) {
    ASSERT_EQ(::chmod((lower + name).c_str(), 01771), 0);
  }
  ASSERT_EQ(::chown((lower + "/sticky/owned").c_str(), 33, 44), 0);
  ASSERT_EQ(::chmod((lower + "/sticky/owned").c_str(), 01771), 0);
  ASSERT_EQ(::setxattr((lower + "/sticky/owned").c_str(), "user.k", "v", 1, 0), 0);
  timespec times[2] = {{1000, 0}, {2000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (lower + "/sticky/owned").c_str(), times, 0), 0);
  ASSERT_EQ(::chown(lower.c_str(), 7, 8), 0);
  ASSERT_EQ(::chmod(lower.c_str(), 0711), 0);
  auto applied =
      Apply({File("sticky/owned/f", "x"), File("named/f", "x"), Directory("named"),
             File("replaced/deep/f", "x"), Symlink("replaced", "sticky"), File("new/f", "x"),
             Symlink("to", "sticky"), Directory("to/owned2"), File("to/owned2/f", "x")});
  ASSERT_TRUE(applied.ok()) << applied.error().message();
  EXPECT_THAT(applied->unnamed,
              testing::ElementsAre("new", "replaced", "replaced/deep", "sticky", "sticky/owned"));
  EXPECT_EQ(Stat("sticky/owned").st_mode & 07777, 0755u);
  const mode_t named = Stat("named").st_mode;
  std::vector<snapshots::Mount> mounts = {
      {"overlay", "overlay", "", {"upperdir=" + root_, "lowerdir=" + lower}}};
  Result<> taken = TakeLowerAttributes(mounts, applied->unnamed);
  ASSERT_TRUE(taken.ok()) << taken.error().message();
  EXPECT_EQ(Stat("").st_mode & 07777, 0711u);
  EXPECT_EQ(Stat("").st_uid, 7u);
  EXPECT_EQ(Stat("sticky").st_mode & 07777, 01771u);
  EXPECT_EQ(Stat("sticky/owned").st_uid, 33u);
  EXPECT_EQ(Stat("sticky/owned").st_mtim.tv_sec, 2000);
  char value[8];
  EXPECT_EQ(::getxattr((root_ + "/sticky/owned").c_str(), "user.k", value, sizeof value), 1);
  EXPECT_EQ(Stat("named").st_mode, named) << "the layer names it itself";
  EXPECT_EQ(Stat("new").st_mode & 07777, 0755u);
  EXPECT_TRUE(S_ISLNK(Stat("replaced").st_mode));
}

TEST_P(ApplyLayerTest, WhatIsHashedAlreadyIsNotHashedAgain) {
  std::string bytes = Tar({File("a", std::string(100000, 'x'))});
  StringSource source(bytes, 777);
  auto applied = ApplyLayer({root_, lowers_, GetParam()}, source, {}, {.hashing = Hashing::kNone});
  ASSERT_TRUE(applied.ok()) << applied.error().message();
  EXPECT_TRUE(applied->diff_id.empty());
  EXPECT_EQ(applied->size, bytes.size());
  EXPECT_EQ(ReadFile(root_ + "/a")->size(), 100000u);
}

TEST_P(ApplyLayerTest, DamagedLayersAreErrors) {
  std::string bytes = Tar({File("a", std::string(100000, 'x'))});
  EXPECT_FALSE(ApplyBytes(bytes.substr(0, 50000)).ok());
  StringSink gzip;
  formats::compression::GzipSink compressor(gzip);
  ASSERT_TRUE(compressor.Write(bytes).ok());
  ASSERT_TRUE(compressor.Finish().ok());
  EXPECT_FALSE(ApplyBytes(gzip.text.substr(0, gzip.text.size() - 3)).ok());
  EXPECT_FALSE(
      ApplyBytes("this is no archive at all, but it is longer than a block" + std::string(600, 'x'))
          .ok());
}

INSTANTIATE_TEST_SUITE_P(Both, ApplyLayerTest,
                         testing::Values(Whiteouts::kOverlay, Whiteouts::kDelete),
                         [](const auto& info) {
                           return info.param == Whiteouts::kOverlay ? "overlay" : "delete";
                         });

TEST(CleanName, Cleans) {
  EXPECT_EQ(CleanName("/a/./b/../c//"), "a/c");
  EXPECT_EQ(CleanName("../../a"), "a");
  EXPECT_EQ(CleanName("./"), "");
  EXPECT_EQ(CleanName(".."), "");
}

TEST(TargetOfMounts, ReadsOverlaysAndBinds) {
  auto overlay = TargetOfMounts(
      {{"overlay", "overlay", "", {"index=off", "workdir=/w", "upperdir=/u", "lowerdir=/1:/2"}}});
  ASSERT_TRUE(overlay.ok());
  EXPECT_EQ(overlay->directory, "/u");
  EXPECT_EQ(overlay->lowers, (std::vector<std::string>{"/1", "/2"}));
  EXPECT_EQ(TargetOfMounts({{"bind", "/b", "", {"rw", "rbind"}}})->directory, "/b");
  EXPECT_FALSE(TargetOfMounts({{"overlay", "overlay", "", {"lowerdir=/1:/2"}}}).ok());
  EXPECT_FALSE(TargetOfMounts({{"ext4", "/dev/x", "", {}}}).ok());
  EXPECT_FALSE(TargetOfMounts({}).ok());
}

}  // namespace
}  // namespace gantry::images
