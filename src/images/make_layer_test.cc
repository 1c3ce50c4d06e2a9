// SPDX-License-Identifier: Apache-2.0
//
// A tree is changed, the layer of its changes is applied to a copy of what it was: both must be
// the same then. With overlay's upper directory, with a comparison of overlays, and of directories.
// Needs root.
#include "images/make_layer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "base/io.h"
#include "formats/tar.h"
#include "images/apply_layer.h"

namespace gantry::images {
namespace {

namespace fs = std::filesystem;
using formats::compression::Kind;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;

enum class Trees { kUpperDirectory, kOverlays, kDirectories };

void SetTime(const std::string& path, time_t seconds, long nanos = 0) {
  timespec times[2] = {{seconds, nanos}, {seconds, nanos}};
  EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
}
void Put(const std::string& path, std::string_view data, mode_t mode = 0644,
         time_t seconds = 1'500'000'000) {
  EXPECT_TRUE(CreateFile(path, data, mode).ok()) << path;
  EXPECT_EQ(::chmod(path.c_str(), mode), 0);
  SetTime(path, seconds);
}

// What a layer can say of each file; names of one file have the same number.
std::map<std::string, std::string> Describe(const std::string& root) {
  std::map<std::string, std::string> all;
  std::map<ino_t, size_t> links;
  for (const auto& item : fs::recursive_directory_iterator(root)) {
    all[item.path().string().substr(root.size())];
  }
  for (auto& [name, text] : all) {
    std::string path = root + name;
    struct stat status;
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    text = fmt::format("mode {:o} owner {}:{} device {}", status.st_mode, status.st_uid,
                       status.st_gid, status.st_rdev);
    if (!S_ISDIR(status.st_mode)) {
      text += fmt::format(" time {} links {} file {}", status.st_mtim.tv_sec, status.st_nlink,
                          links.try_emplace(status.st_ino, links.size()).first->second);
    }
    if (S_ISREG(status.st_mode)) text += " data " + *ReadFile(path);
    if (S_ISLNK(status.st_mode)) text += " to " + fs::read_symlink(path).string();
    char names[4096];
    ssize_t size = ::llistxattr(path.c_str(), names, sizeof names);
    std::map<std::string, std::string> xattrs;
    for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(strlen(names + at)) + 1) {
      char value[4096];
      ssize_t length = ::lgetxattr(path.c_str(), names + at, value, sizeof value);
      xattrs[names + at] = std::string(value, static_cast<size_t>(std::max<ssize_t>(length, 0)));
    }
    for (const auto& [key, value] : xattrs) text += fmt::format(" {}={}", key, value);
  }
  return all;
}

class MakeLayerTest : public testing::TestWithParam<Trees> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for mounts";
    char path[] = "/tmp/gantry-layer-XXXXXX";
    top_ = ::mkdtemp(path);
    for (const char* name : {"/old", "/new", "/upper", "/work", "/copy"}) {
      fs::create_directory(top_ + name);
    }
    MakeOld(top_ + "/old");
    ASSERT_EQ(::system(fmt::format("cp -a {0}/old/. {0}/copy", top_).c_str()), 0);
    if (GetParam() == Trees::kDirectories) {
      ASSERT_EQ(::system(fmt::format("cp -a {0}/old/. {0}/new", top_).c_str()), 0);
      return;
    }
    std::string options = fmt::format(
        "index=off,redirect_dir=off,metacopy=off,lowerdir={0}/old,upperdir={0}/upper,workdir={0}/"
        "work",
        top_);
    if (::mount("overlay", (top_ + "/new").c_str(), "overlay", 0, options.c_str()) != 0) {
      GTEST_SKIP() << "no overlay on this file system";
    }
  }
  void TearDown() override {
    if (top_.empty()) return;
    ::umount2((top_ + "/new").c_str(), MNT_DETACH);
    fs::remove_all(top_);
  }

  static void MakeOld(const std::string& root) {
    for (const char* name : {"same", "gone", "opaque", "replaced", "mode", "merged", "merged/in"}) {
      fs::create_directory(root + "/" + name);
    }
    Put(root + "/same/file", "same");
    Put(root + "/gone/file", "gone");
    Put(root + "/opaque/old", "old");
    Put(root + "/replaced/file", "file");
    Put(root + "/file", "file");
    Put(root + "/contents", "one");
    Put(root + "/deleted", "deleted");
    Put(root + "/merged/in/old", "old");
    Put(root + "/first", "linked");
    fs::create_hard_link(root + "/first", root + "/second");
    fs::create_symlink("same", root + "/link");
    SetTime(root + "/link", 1'500'000'000);
    ASSERT_EQ(::mkfifo((root + "/pipe").c_str(), 0600), 0);
    SetTime(root + "/pipe", 1'500'000'000);
  }

  static void Change(const std::string& root) {
    fs::remove_all(root + "/gone");
    fs::remove_all(root + "/opaque");
    fs::create_directory(root + "/opaque");
    Put(root + "/opaque/new", "new");
    fs::remove_all(root + "/replaced");
    Put(root + "/replaced", "a file now");
    fs::remove(root + "/file");
    fs::create_directory(root + "/file");
    Put(root + "/file/inside", "x");
    Put(root + "/contents", "two");  // the same size and time
    fs::remove(root + "/deleted");
    Put(root + "/merged/in/new", std::string(1 << 20, 'n'), 04755);
    ASSERT_EQ(::chmod((root + "/mode").c_str(), 01777), 0);
    ASSERT_EQ(::chown((root + "/mode").c_str(), 12, 34), 0);
    fs::remove(root + "/link");
    fs::create_symlink("../../outside", root + "/link");
    SetTime(root + "/link", 1'500'000'001, 5);
    Put(root + "/linked-a", "l", 0640);
    fs::create_hard_link(root + "/linked-a", root + "/merged/linked-b");
    ASSERT_EQ(::mknod((root + "/device").c_str(), S_IFCHR | 0620, makedev(1, 3)), 0);
    ASSERT_EQ(::mkfifo((root + "/pipe2").c_str(), 0600), 0);
    const char capability[] = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0";
    Put(root + "/capable", "c", 0755);
    ASSERT_EQ(::setxattr((root + "/capable").c_str(), "security.capability", capability, 20, 0), 0);
    ASSERT_EQ(::setxattr((root + "/capable").c_str(), "user.key", "value", 5, 0), 0);
    Put(root + "/" + std::string(200, 'n'), "long name");
  }

  Result<MadeLayer> Make(ByteSink& sink, Kind compression = Kind::kNone) {
    LayerRequest request{.compression = compression};
    // A path that is written in another way hides that the upper mount lies on the lower one.
    bool hide = GetParam() == Trees::kOverlays;
    request.lower = {{"bind", "bind", "", {"rbind", "ro"}}};
    request.lower[0].source = top_ + (hide ? "/./old" : "/old");
    request.upper = {{"bind", top_ + "/new", "", {"rbind", "ro"}}};
    if (GetParam() != Trees::kDirectories) {
      request.upper = {{"overlay",
                        "overlay",
                        "",
                        {"index=off", "workdir=" + top_ + "/work", "upperdir=" + top_ + "/upper",
                         "lowerdir=" + top_ + "/old"}}};
    }
    return MakeLayer(request, sink, {});
  }
  std::vector<std::string> Names() {
    StringSink sink;
    auto made = Make(sink);
    EXPECT_TRUE(made.ok()) << made.error().message();
    StringSource source(sink.text);
    formats::TarReader reader(source);
    std::vector<std::string> names;
    formats::TarEntry entry;
    while (*reader.NextEntry(&entry)) {
      std::string link = entry.type == formats::TarType::kHardLink ? " = " + entry.link_name : "";
      names.push_back(entry.name + link);
    }
    return names;
  }

  std::string top_;
};

INSTANTIATE_TEST_SUITE_P(Trees, MakeLayerTest,
                         testing::Values(Trees::kUpperDirectory, Trees::kOverlays,
                                         Trees::kDirectories));

TEST_P(MakeLayerTest, GoesRound) {
  Change(top_ + "/new");
  for (Kind kind : {Kind::kNone, Kind::kGzip, Kind::kZstd}) {
    SCOPED_TRACE(formats::compression::KindName(kind));
    StringSink sink;
    auto made = Make(sink, kind);
    ASSERT_TRUE(made.ok()) << made.error().message();
    EXPECT_EQ(formats::compression::Detect(sink.text), kind);
    std::string copy = top_ + "/copy-" + std::string(formats::compression::KindName(kind));
    ASSERT_EQ(::system(fmt::format("cp -a {}/copy {}", top_, copy).c_str()), 0);
    StringSource source(sink.text);
    auto applied = ApplyLayer({copy, {}, Whiteouts::kDelete}, source, {});
    ASSERT_TRUE(applied.ok()) << applied.error().message();
    EXPECT_EQ(applied->diff_id, made->diff_id);
    EXPECT_EQ(applied->size, made->size);
    auto ours = Describe(copy);
    auto expected = Describe(top_ + "/new");
    for (const auto& [name, text] : expected) EXPECT_EQ(ours[name], text) << name;
    EXPECT_EQ(ours.size(), expected.size());
  }
}

TEST_P(MakeLayerTest, NothingChangedIsAnEmptyArchive) { EXPECT_THAT(Names(), ElementsAre()); }

TEST_P(MakeLayerTest, ParentsComeBeforeTheirContents) {
  Put(top_ + "/new/merged/in/new", "x");
  EXPECT_THAT(Names(), ElementsAre("merged/", "merged/in/", "merged/in/new"));
}

TEST_P(MakeLayerTest, WhiteoutsAndNamesLikeThem) {
  fs::remove(top_ + "/new/same/file");
  Put(top_ + "/new/.wh.file", "would delete");
  EXPECT_THAT(Names(), ElementsAre("same/", "same/.wh.file"));
}

TEST_P(MakeLayerTest, SocketsAreLeftOut) {
  int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (top_ + "/new/socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(listener);
  EXPECT_THAT(Names(), ElementsAre());
}

TEST_P(MakeLayerTest, ANewNameOfAnOldFile) {
  fs::create_hard_link(top_ + "/new/first", top_ + "/new/third");
  std::vector<std::string> names = Names();
  // Overlay makes a copy for the two that were linked; directories keep all three.
  EXPECT_THAT(names, Contains(testing::StartsWith("third")));
  EXPECT_THAT(names, Not(Contains("second")));
  StringSink sink;
  ASSERT_TRUE(Make(sink).ok());
  StringSource source(sink.text);
  ASSERT_TRUE(ApplyLayer({top_ + "/copy", {}, Whiteouts::kDelete}, source, {}).ok());
  EXPECT_TRUE(fs::equivalent(top_ + "/copy/first", top_ + "/copy/third"));
}

TEST_P(MakeLayerTest, TimesNeverPassTheEpoch) {
  Put(top_ + "/new/late", "x", 0644, 2'000'000'000);
  LayerRequest request{.lower = {},
                       .upper = {{"bind", top_ + "/new", "", {"rbind"}}},
                       .compression = Kind::kNone,
                       .newest_seconds = 1'600'000'000};
  StringSink sink;
  ASSERT_TRUE(MakeLayer(request, sink, {}).ok());
  StringSource source(sink.text);
  formats::TarReader reader(source);
  formats::TarEntry entry;
  size_t entries = 0;
  for (; *reader.NextEntry(&entry); ++entries) EXPECT_LE(entry.mtime_seconds, 1'600'000'000);
  EXPECT_GT(entries, 10u);
}

TEST_P(MakeLayerTest, TooDeepIsRefused) {
  std::string path = top_ + "/new/same";
  for (int i = 0; i < 300; ++i) path += "/d";
  fs::create_directories(path);
  StringSink sink;
  auto made = Make(sink);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().kind(), ErrorKind::kResourceExhausted);
}

// Directories that overlay renamed, by a mark in an attribute: only the kernel can read that.
TEST_P(MakeLayerTest, RenamedDirectoriesAreCompared) {
  if (GetParam() != Trees::kUpperDirectory) GTEST_SKIP() << "only of overlays";
  ASSERT_EQ(::umount((top_ + "/new").c_str()), 0);
  std::string options = fmt::format(
      "index=off,redirect_dir=on,lowerdir={0}/old,upperdir={0}/upper,workdir={0}/work", top_);
  ASSERT_EQ(::mount("overlay", (top_ + "/new").c_str(), "overlay", 0, options.c_str()), 0);
  fs::rename(top_ + "/new/same", top_ + "/new/renamed");
  EXPECT_THAT(Names(), ElementsAre("renamed/", "renamed/file", ".wh.same"));
}

}  // namespace
}  // namespace gantry::images
