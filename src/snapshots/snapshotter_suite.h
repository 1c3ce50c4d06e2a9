// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite that every snapshotter passes: a test program includes it and instantiates
// SnapshotterTest with its implementations. It mounts, so it needs root.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/io.h"
#include "snapshots/snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::snapshots {
namespace fs = std::filesystem;
using Factory = Result<std::unique_ptr<Snapshotter>> (*)(const std::string&, SnapshotRecords*,
                                                         Trash*);

struct Implementation {
  const char* name;
  Factory make;
  // Makes the empty directory ready and takes that back, where a snapshotter needs more than it; ""
  // is success, and anything else the reason to skip.
  std::function<std::string(const std::string& top)> prepare = {};
  std::function<void(const std::string& top)> clean_up = {};
  // Whether snapshots are the directories of ROOT.
  bool directories = true;
};

// One mount, undone at the end of the scope.
class Mounted {
 public:
  Mounted(const std::vector<Mount>& mounts, std::string where) : where_(std::move(where)) {
    fs::create_directories(where_);
    EXPECT_EQ(mounts.size(), 1u);
    const Mount& mount = mounts[0];
    unsigned long flags = 0;
    std::string data;
    for (const std::string& option : mount.options) {
      if (option == "ro") {
        flags |= MS_RDONLY;
      } else if (option == "rbind") {
        flags |= MS_BIND | MS_REC;
      } else if (option != "rw") {
        data += (data.empty() ? "" : ",") + option;
      }
    }
    EXPECT_EQ(
        ::mount(mount.source.c_str(), where_.c_str(), mount.type.c_str(), flags, data.c_str()), 0)
        << strerror(errno) << " " << data;
    if ((flags & MS_BIND) != 0 && (flags & MS_RDONLY) != 0) {
      EXPECT_EQ(::mount("", where_.c_str(), "", MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
    }
  }
  ~Mounted() { EXPECT_EQ(::umount2(where_.c_str(), MNT_DETACH), 0); }
  std::string operator/(const std::string& path) const { return where_ + "/" + path; }

 private:
  std::string where_;
};

class SnapshotterTest : public testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
    char path[] = "/tmp/gantry-snapshots-XXXXXX";
    top_ = ::mkdtemp(path);
    if (GetParam().prepare) {
      std::string reason = GetParam().prepare(top_);
      if (!reason.empty()) GTEST_SKIP() << reason;
      prepared_ = true;
    }
    trash_ = std::move(*Trash::Open(top_ + "/trash"));
    records_ = MakeMemoryRecords();
    Reopen();
  }
  void TearDown() override {
    snapshotter_.reset();
    trash_.reset();
    if (prepared_ && GetParam().clean_up) GetParam().clean_up(top_);
    if (!top_.empty()) fs::remove_all(top_);
  }
  void Reopen() {
    snapshotter_ = std::move(*GetParam().make(top_ + "/root", records_.get(), trash_.get()));
    ASSERT_TRUE(snapshotter_->Recover().ok());
  }
  std::vector<Mount> Prepare(const std::string& key, const std::string& parent) {
    auto mounts = snapshotter_->Prepare("ns", key, parent, {{"a", "b"}});
    EXPECT_TRUE(mounts.ok()) << mounts.error().message();
    return mounts.ok() ? *mounts : std::vector<Mount>{};
  }
  // A committed layer with one file named after it.
  void Layer(const std::string& name, const std::string& parent) {
    {
      Mounted root(Prepare("key-" + name, parent), top_ + "/mnt");
      ASSERT_TRUE(CreateFile(root / name, name, 0640).ok());
    }
    ASSERT_TRUE(snapshotter_->Commit("ns", name, "key-" + name, {{"l", name}}).ok());
  }
  size_t Directories() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(top_ + "/root")) ++count;
    return count;
  }

  std::string top_;
  bool prepared_ = false;
  std::unique_ptr<Trash> trash_;
  std::unique_ptr<SnapshotRecords> records_;
  std::unique_ptr<Snapshotter> snapshotter_;
};

TEST_P(SnapshotterTest, LayersStackAndStayApart) {
  Layer("one", "");
  Layer("two", "one");
  Layer("three", "two");
  auto write = Prepare("container", "three");
  {
    Mounted root(write, top_ + "/mnt");
    for (const char* name : {"one", "two", "three"}) EXPECT_EQ(*ReadFile(root / name), name);
    ASSERT_TRUE(WriteFile(root / "one", "changed").ok());
    fs::remove(root / "two");
    fs::create_directory(root / "directory");
  }
  EXPECT_EQ(*snapshotter_->Mounts("ns", "container"), write);
  {
    Mounted root(*snapshotter_->View("ns", "view", "three", {}), top_ + "/mnt");
    EXPECT_EQ(*ReadFile(root / "one"), "one");
    EXPECT_TRUE(fs::exists(root / "two"));
    EXPECT_FALSE(CreateFile(root / "new", "", 0600).ok());
  }
  ASSERT_TRUE(snapshotter_->Commit("ns", "four", "container", {}).ok());
  Mounted root(*snapshotter_->View("ns", "view4", "four", {}), top_ + "/mnt");
  EXPECT_EQ(*ReadFile(root / "one"), "changed");
  EXPECT_FALSE(fs::exists(root / "two"));
  EXPECT_TRUE(fs::is_directory(root / "directory"));
}

TEST_P(SnapshotterTest, RecordsFollow) {
  Layer("base", "");
  auto stat = snapshotter_->Stat("ns", "base");
  ASSERT_TRUE(stat.ok());
  EXPECT_EQ(stat->kind, Kind::kCommitted);
  EXPECT_EQ(stat->labels, (Labels{{"l", "base"}}));
  EXPECT_GT(stat->usage.inodes, 1u);
  EXPECT_EQ(snapshotter_->GetUsage("ns", "base")->inodes, stat->usage.inodes);
  EXPECT_EQ(snapshotter_->Stat("ns", "key-base").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(snapshotter_->Stat("other", "base").error().kind(), ErrorKind::kNotFound);
  Prepare("active", "base");
  EXPECT_EQ(snapshotter_->Stat("ns", "active")->parent, "base");
  EXPECT_EQ(snapshotter_->Stat("ns", "active")->kind, Kind::kActive);
  EXPECT_TRUE(snapshotter_->GetUsage("ns", "active").ok());
}

TEST_P(SnapshotterTest, RefusesWhatMakesNoSense) {
  Layer("base", "");
  Prepare("active", "base");
  auto kind = [](const auto& result) { return result.error().kind(); };
  EXPECT_EQ(kind(snapshotter_->Prepare("ns", "active", "base", {})), ErrorKind::kAlreadyExists);
  EXPECT_EQ(kind(snapshotter_->Prepare("ns", "base", "", {})), ErrorKind::kAlreadyExists);
  EXPECT_EQ(kind(snapshotter_->Prepare("ns", "x", "missing", {})), ErrorKind::kNotFound);
  EXPECT_EQ(kind(snapshotter_->Prepare("ns", "x", "active", {})), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind(snapshotter_->Prepare("ns", "", "base", {})), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind(snapshotter_->Mounts("ns", "base")), ErrorKind::kFailedPrecondition);
  EXPECT_EQ(kind(snapshotter_->Mounts("ns", "missing")), ErrorKind::kNotFound);
  EXPECT_EQ(kind(snapshotter_->Commit("ns", "base", "active", {})), ErrorKind::kAlreadyExists);
  EXPECT_EQ(kind(snapshotter_->Commit("ns", "new", "base", {})), ErrorKind::kFailedPrecondition);
  EXPECT_EQ(kind(snapshotter_->Commit("ns", "new", "missing", {})), ErrorKind::kNotFound);
  EXPECT_EQ(kind(snapshotter_->Remove("ns", "base")), ErrorKind::kFailedPrecondition);
  EXPECT_EQ(kind(snapshotter_->Remove("ns", "missing")), ErrorKind::kNotFound);
  ASSERT_TRUE(snapshotter_->View("ns", "view", "base", {}).ok());
  EXPECT_EQ(kind(snapshotter_->Commit("ns", "new", "view", {})), ErrorKind::kFailedPrecondition);
  if (!GetParam().directories) return;
  EXPECT_EQ(Directories(), snapshotter_->name() == "native" ? 2u : 3u) << "failures left nothing";
}

TEST_P(SnapshotterTest, IsPutOnAParentLater) {
  auto kind = [](const auto& result) { return result.error().kind(); };
  Layer("base", "");
  {
    Mounted root(Prepare("active", ""), top_ + "/mnt");
    ASSERT_TRUE(CreateFile(root / "own", "own", 0640).ok());
  }
  auto mounts = snapshotter_->Rebase("ns", "active", "base");
  if (!snapshotter_->CanRebase()) {
    EXPECT_EQ(kind(mounts), ErrorKind::kUnimplemented);
    EXPECT_EQ(snapshotter_->Stat("ns", "active")->parent, "");
    return;
  }
  ASSERT_TRUE(mounts.ok()) << mounts.error().message();
  EXPECT_EQ(*snapshotter_->Mounts("ns", "active"), *mounts);
  EXPECT_EQ(snapshotter_->Stat("ns", "active")->parent, "base");
  {
    Mounted root(*mounts, top_ + "/mnt");
    for (const char* name : {"own", "base"}) EXPECT_TRUE(fs::exists(root / name)) << name;
  }
  Prepare("other", "");
  EXPECT_EQ(kind(snapshotter_->Rebase("ns", "active", "base")), ErrorKind::kFailedPrecondition);
  EXPECT_EQ(kind(snapshotter_->Rebase("ns", "base", "base")), ErrorKind::kFailedPrecondition);
  EXPECT_EQ(kind(snapshotter_->Rebase("ns", "other", "active")), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind(snapshotter_->Rebase("ns", "other", "missing")), ErrorKind::kNotFound);
  EXPECT_EQ(kind(snapshotter_->Rebase("ns", "missing", "base")), ErrorKind::kNotFound);
  EXPECT_EQ(kind(snapshotter_->Remove("ns", "base")), ErrorKind::kFailedPrecondition)
      << "has a child";
}

TEST_P(SnapshotterTest, RemovesAndNeverReusesNumbers) {
  Layer("base", "");
  Prepare("active", "base");
  uint64_t number = snapshotter_->Stat("ns", "active")->number;
  ASSERT_TRUE(snapshotter_->Remove("ns", "active").ok());
  ASSERT_TRUE(snapshotter_->Remove("ns", "base").ok());
  if (GetParam().directories) {
    EXPECT_EQ(Directories(), 0u);
  }
  trash_->WaitUntilEmpty();
  EXPECT_TRUE(fs::is_empty(top_ + "/trash"));
  Prepare("active", "");
  EXPECT_GT(snapshotter_->Stat("ns", "active")->number, number);
}

TEST_P(SnapshotterTest, RecoversFromDirectoriesWithoutARecord) {
  if (!GetParam().directories) GTEST_SKIP() << "its snapshots are somebody else's";
  Layer("base", "");
  fs::create_directories(top_ + "/root/77/fs/deep");
  Reopen();
  EXPECT_FALSE(fs::exists(top_ + "/root/77"));
  Prepare("active", "base");
  EXPECT_GT(snapshotter_->Stat("ns", "active")->number, 77u);
}

TEST_P(SnapshotterTest, KeepsAttributes) {
  {
    Mounted root(Prepare("key", ""), top_ + "/mnt");
    ASSERT_EQ(::chmod((root / "").c_str(), 01777), 0);
    ASSERT_EQ(::chown((root / "").c_str(), 12, 34), 0);
    ASSERT_TRUE(CreateFile(root / "file", "x", 0600).ok());
    ASSERT_EQ(::chown((root / "file").c_str(), 5, 6), 0);
    ASSERT_EQ(::chmod((root / "file").c_str(), 04755), 0);
    ASSERT_EQ(::setxattr((root / "file").c_str(), "user.k", "v", 1, 0), 0);
    ASSERT_EQ(::link((root / "file").c_str(), (root / "hard").c_str()), 0);
    ASSERT_EQ(::symlink("/nowhere", (root / "soft").c_str()), 0);
    ASSERT_EQ(::mkfifo((root / "pipe").c_str(), 0622), 0);
    timespec times[2] = {{1000, 1}, {2000, 2}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (root / "file").c_str(), times, 0), 0);
  }
  ASSERT_TRUE(snapshotter_->Commit("ns", "base", "key", {}).ok());
  Mounted root(Prepare("upper", "base"), top_ + "/mnt");
  struct stat status;
  ASSERT_EQ(::stat((root / "").c_str(), &status), 0);
  // containerd 1.6's overlayfs copies the owner of a root, not its mode.
  if (GetParam().directories) {
    EXPECT_EQ(status.st_mode & 07777, 01777u);
  }
  EXPECT_EQ(status.st_uid, 12u);
  EXPECT_EQ(status.st_gid, 34u);
  ASSERT_EQ(::lstat((root / "file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 04755u);
  EXPECT_EQ(status.st_uid, 5u);
  EXPECT_EQ(status.st_nlink, 2u);
  EXPECT_EQ(status.st_mtim.tv_sec, 2000);
  char value[8];
  EXPECT_EQ(::getxattr((root / "file").c_str(), "user.k", value, sizeof value), 1);
  EXPECT_EQ(fs::read_symlink(root / "soft"), "/nowhere");
  ASSERT_EQ(::lstat((root / "pipe").c_str(), &status), 0);
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
}

}  // namespace gantry::snapshots
