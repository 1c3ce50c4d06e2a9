// SPDX-License-Identifier: Apache-2.0
//
// The same image unpacked by Debian's containerd and by us: every file of every layer must be the
// same. Needs root, containerd and ctr.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "base/io.h"
#include "formats/tar.h"
#include "images/import.h"
#include "images/memory_image_records.h"
#include "images/unpack.h"
#include "snapshots/overlayfs_snapshotter.h"

namespace gantry::images {
namespace {

namespace fs = std::filesystem;
using formats::Digest;
using formats::TarEntry;
using formats::TarType;

struct Item {
  TarEntry entry;
  std::string data;
};

TarEntry Entry(TarType type, std::string name, uint32_t mode, uint32_t uid = 0, uint32_t gid = 0) {
  TarEntry entry{.type = type, .name = std::move(name), .mode = mode, .uid = uid, .gid = gid};
  entry.mtime_seconds = 1'500'000'000;
  return entry;
}
Item Dir(std::string name, uint32_t mode, uint32_t uid = 0, uint32_t gid = 0) {
  return {Entry(TarType::kDirectory, std::move(name), mode, uid, gid), ""};
}
Item File(std::string name, uint32_t mode = 0644, uint32_t uid = 0, uint32_t gid = 0) {
  return {Entry(TarType::kFile, std::move(name), mode, uid, gid), "x"};
}
Item Link(TarType type, std::string name, std::string target) {
  TarEntry entry = Entry(type, std::move(name), 0777);
  entry.link_name = std::move(target);
  return {entry, ""};
}

std::string Tar(const std::vector<Item>& items) {
  StringSink sink;
  formats::TarWriter writer(sink);
  for (const Item& item : items) EXPECT_TRUE(writer.WriteFile(item.entry, item.data).ok());
  EXPECT_TRUE(writer.Finish().ok());
  return sink.text;
}

std::vector<std::string> Layers() {
  Item attributed = Dir("owned/deep/", 02770, 33, 44);
  attributed.entry.xattrs = {{"user.key", "value"}};
  Item device{Entry(TarType::kCharDevice, "device", 0660, 0, 5), ""};
  device.entry.device_major = 1;
  device.entry.device_minor = 3;
  Item capable = File("capable", 04711, 9, 9);
  capable.entry.xattrs = {
      {"security.capability", std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)}};
  Item odd = File("./odd//./name/../file", 0600);
  return {
      Tar({Dir("./", 0700, 7, 7), Dir("sticky/", 01777), Dir("owned/", 0711, 12, 34), attributed,
           File("owned/deep/f", 0640, 1, 2), Dir("run/", 0750, 3, 3), Dir("gone/", 0755),
           File("gone/f"), Dir("opaque/", 0700, 5, 5), File("opaque/old"), File("replaced"),
           Dir("becomes-file/", 0755), capable, device, odd, File("no/parent/here", 0604),
           Link(TarType::kSymlink, "link", "/sticky")}),
      Tar({File("sticky/f", 0600, 8, 8), File("owned/deep/new"), File("owned/deep/er/new"),
           File("run/sub/pid"), File(".wh.gone", 0), File("opaque/.wh..wh..opq", 0),
           File("opaque/new"), Dir("replaced/", 0755), File("replaced/f"), File("becomes-file")}),
      Tar({File("sticky/g"), File("gone/again"), File("opaque/newer"), File("opaque/a/b"),
           Link(TarType::kSymlink, "var", "/run"), File("var/through"),
           Link(TarType::kHardLink, "hard", "sticky/g"), File("../outside"), File("/absolute")}),
  };
}

// What can be seen of each file below a directory, but not when it was made.
std::map<std::string, std::string> Describe(const std::string& root) {
  std::map<std::string, std::string> all;
  for (const auto& item : fs::recursive_directory_iterator(root)) {
    std::string path = item.path();
    struct stat status;
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    std::string text =
        fmt::format("mode {:o} owner {}:{} links {} device {}", status.st_mode, status.st_uid,
                    status.st_gid, S_ISDIR(status.st_mode) ? 0 : status.st_nlink, status.st_rdev);
    // Directories that a layer does not name get the time at which they were filled.
    if (S_ISREG(status.st_mode)) text += fmt::format(" size {}", status.st_size);
    if (!S_ISDIR(status.st_mode) && !S_ISCHR(status.st_mode)) {
      text += fmt::format(" time {}", status.st_mtim.tv_sec);
    }
    if (S_ISLNK(status.st_mode)) text += " to " + fs::read_symlink(item.path()).string();
    char names[4096];
    ssize_t size = ::llistxattr(path.c_str(), names, sizeof names);
    std::map<std::string, std::string> xattrs;
    for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(strlen(names + at)) + 1) {
      char value[4096];
      ssize_t length = ::lgetxattr(path.c_str(), names + at, value, sizeof value);
      xattrs[names + at] = std::string(value, static_cast<size_t>(std::max<ssize_t>(length, 0)));
    }
    for (const auto& [name, value] : xattrs) text += fmt::format(" {}={}", name, value.size());
    all[path.substr(root.size())] = text;
  }
  return all;
}

TEST(ContainerdCompare, UnpacksTheSame) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  if (::system("command -v containerd >/dev/null && command -v ctr >/dev/null") != 0) {
    GTEST_SKIP() << "no containerd";
  }
  char path[] = "/tmp/gantry-compare-XXXXXX";
  std::string top = ::mkdtemp(path);
  std::vector<std::string> layers = Layers();
  std::string diff_ids;
  std::string names;
  StringSink archive;
  formats::TarWriter writer(archive);
  for (size_t i = 0; i < layers.size(); ++i) {
    diff_ids += fmt::format(R"({}"{}")", i > 0 ? "," : "", Digest::Of(layers[i]).text());
    names += fmt::format(R"({}"{}/layer.tar")", i > 0 ? "," : "", i);
    ASSERT_TRUE(writer.WriteFile({.name = fmt::format("{}/layer.tar", i)}, layers[i]).ok());
  }
  std::string config = fmt::format(R"({{"architecture":"{}","os":"linux","config":{{}},)"
                                   R"("rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
                                   oci::HostPlatform().architecture, diff_ids);
  ASSERT_TRUE(writer.WriteFile({.name = "config.json"}, config).ok());
  ASSERT_TRUE(writer
                  .WriteFile({.name = "manifest.json"},
                             fmt::format(R"([{{"Config":"config.json","RepoTags":["compare:1"],)"
                                         R"("Layers":[{}]}}])",
                                         names))
                  .ok());
  ASSERT_TRUE(writer.Finish().ok());
  ASSERT_TRUE(CreateFile(top + "/image.tar", archive.text, 0600).ok());

  // Ours.
  auto blobs = std::move(*content::BlobStore::Open(top + "/content"));
  Library library{.blobs = blobs.get(), .ns = "ns"};
  MemoryImageRecords records(&library.blobs);
  library.records = &records;
  auto snapshot_records = snapshots::MakeMemoryRecords();
  auto trash = std::move(*snapshots::Trash::Open(top + "/trash"));
  auto overlay = std::move(
      *snapshots::MakeOverlayfsSnapshotter(top + "/ours", snapshot_records.get(), trash.get()));
  StringSource source(archive.text);
  auto images =
      Import(library, source,
             {.rules = {{.name = "imported", .is_prefix = true, .allow_overwrite = true}}});
  ASSERT_TRUE(images.ok()) << images.error().message();
  auto unpacked = Unpack(library, *overlay, (*images)[0].target, oci::HostPlatform());
  ASSERT_TRUE(unpacked.ok()) << unpacked.error().message();

  // Debian's.
  ASSERT_TRUE(CreateFile(top + "/config.toml",
                         fmt::format(R"(version = 2
root = "{0}/theirs"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{0}/c.sock"
)",
                                     top),
                         0600)
                  .ok());
  std::string config_path = top + "/config.toml";
  std::string log = top + "/log";
  char program[] = "containerd";
  char flag[] = "--config";
  char* argv[] = {program, flag, config_path.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = -1;
  ASSERT_EQ(::posix_spawnp(&pid, program, &actions, nullptr, argv, environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  std::string ctr = "ctr -a " + top + "/c.sock -n t ";
  for (int i = 0; i < 100 && ::system((ctr + "version >/dev/null 2>&1").c_str()) != 0; ++i) {
    ::usleep(50000);
  }
  int imported = ::system((ctr + "images import " + top + "/image.tar >>" + log + " 2>&1").c_str());
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  ASSERT_EQ(imported, 0) << *ReadFile(log);

  std::vector<Digest> diffs;
  for (size_t i = 1; i <= layers.size(); ++i) {
    diffs.push_back(Digest::Of(layers[i - 1]));
    auto layer = overlay->Stat("ns", oci::ChainIds(diffs).back().text());
    ASSERT_TRUE(layer.ok()) << layer.error().message();
    auto ours = Describe(fmt::format("{}/ours/{}/fs", top, layer->number));
    auto theirs = Describe(
        fmt::format("{}/theirs/io.containerd.snapshotter.v1.overlayfs/snapshots/{}/fs", top, i));
    EXPECT_GE(ours.size(), 5u);
    for (const auto& [name, text] : theirs) EXPECT_EQ(ours[name], text) << "layer " << i << name;
    for (const auto& [name, text] : ours) {
      EXPECT_EQ(theirs.count(name), 1u) << "layer " << i << name << " " << text;
    }
  }
  overlay.reset();
  trash.reset();
  fs::remove_all(top);
}

}  // namespace
}  // namespace gantry::images
