// SPDX-License-Identifier: Apache-2.0
#include "volumes/volumes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/io.h"
#include "volumes/local_driver.h"

namespace gantry::volumes {
namespace {

class VolumesTest : public testing::Test {
 protected:
  VolumesTest() : records_(MakeMemoryRecordStore()) {
    char directory[] = "/tmp/gantry-volumes-XXXXXX";
    top_ = ::mkdtemp(directory);
    Open();
  }
  ~VolumesTest() override { std::filesystem::remove_all(top_); }

  void Open() {
    Options options;
    options.root = top_ + "/volumes";
    options.run = top_ + "/run";
    options.records = records_.get();
    options.discard = [](const std::string& path) -> Result<> {
      std::filesystem::remove_all(path);
      return {};
    };
    volumes_ = std::move(*Volumes::Open(std::move(options)));
  }
  std::string Data(const std::string& name) { return volumes_->DataPath(*volumes_->Get(name)); }
  static Result<> MakeFile(BorrowedFd directory) {
    UniqueFd file(::openat(directory.get(), "f", O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (!file.valid()) return ErrnoError("making it");
    return {};
  }

  std::string top_;
  std::unique_ptr<RecordStore> records_;
  std::unique_ptr<Volumes> volumes_;
};

TEST_F(VolumesTest, IsMadeOnce) {
  auto first = *volumes_->Create({.name = "vol", .labels = {{"a", "b"}}});
  EXPECT_TRUE(first.is_new);
  auto again = *volumes_->Create({.name = "vol", .labels = {{"c", "d"}}});
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(again.volume, first.volume);
  EXPECT_TRUE(PathExists(Data("vol")));
  EXPECT_EQ(*DecodeVolume(EncodeVolume(first.volume)), first.volume);
}

TEST_F(VolumesTest, IsKeptWhileUsed) {
  ASSERT_TRUE(volumes_->Create({.name = "vol", .user = "c1"}).ok());
  volumes_->AddUser("vol", "c2");
  Result<> removed = volumes_->Remove("vol");
  EXPECT_EQ(removed.error().message(), "remove vol: volume is in use - [c1, c2]");
  EXPECT_EQ(removed.error().kind(), ErrorKind::kAborted);
  volumes_->RemoveUser("vol", "c1");
  volumes_->RemoveUser("vol", "c2");
  EXPECT_TRUE(volumes_->Remove("vol").ok());
  EXPECT_EQ(volumes_->Remove("vol").error().message(), "get vol: no such volume");
  EXPECT_FALSE(PathExists(top_ + "/volumes/vol"));
}

TEST_F(VolumesTest, RepairsWhatACrashLeaves) {
  ASSERT_TRUE(volumes_->Create({.name = "gone"}).ok());
  std::filesystem::remove_all(top_ + "/volumes/gone");                // killed within Remove
  std::filesystem::create_directories(top_ + "/volumes/mine/_data");  // put there by a person
  std::filesystem::create_directories(top_ + "/volumes/.new/half/_data");
  Open();
  EXPECT_FALSE(volumes_->Get("gone").ok());
  EXPECT_TRUE(volumes_->Get("mine").ok());
  EXPECT_FALSE(PathExists(top_ + "/volumes/.new/half"));
  EXPECT_EQ(records_->ListVolumes()->size(), 1u);
}

TEST_F(VolumesTest, IsFilledOnce) {
  ASSERT_TRUE(volumes_->Create({.name = "vol", .user = "c1"}).ok());
  ASSERT_TRUE(volumes_->Populate("vol", "c1", "", MakeFile).ok());
  EXPECT_TRUE(PathExists(Data("vol") + "/f"));
  bool called = false;
  auto never = [&](BorrowedFd) -> Result<> {
    called = true;
    return {};
  };
  ASSERT_TRUE(volumes_->Populate("vol", "c1", "", never).ok());
  EXPECT_FALSE(called);
  EXPECT_EQ(*volumes_->SizeOf("vol"), 0);
}

TEST_F(VolumesTest, AFillThatFailsLeavesNothing) {
  ASSERT_TRUE(volumes_->Create({.name = "vol", .user = "c1"}).ok());
  auto half = [](BorrowedFd directory) -> Result<> {
    TRY(MakeFile(directory));
    return Internal("no more");
  };
  EXPECT_FALSE(volumes_->Populate("vol", "c1", "", half).ok());
  EXPECT_TRUE(std::filesystem::is_empty(Data("vol")));
  EXPECT_TRUE(std::filesystem::is_empty(top_ + "/volumes/.new"));
}

TEST_F(VolumesTest, APartIsFilledInPlaceAndNeverOutside) {
  ASSERT_TRUE(volumes_->Create({.name = "vol", .user = "c1"}).ok());
  std::filesystem::create_directories(Data("vol") + "/part");
  std::filesystem::create_directories(top_ + "/outside");
  std::filesystem::create_directory_symlink(top_ + "/outside", Data("vol") + "/link");
  ASSERT_TRUE(volumes_->Populate("vol", "c1", "part", MakeFile).ok());
  EXPECT_TRUE(PathExists(Data("vol") + "/part/f"));
  ASSERT_TRUE(volumes_->Populate("vol", "c1", "link", MakeFile).ok());
  EXPECT_TRUE(std::filesystem::is_empty(top_ + "/outside"));
}

TEST(LocalDriverTest, RefusesInDockersWords) {
  EXPECT_TRUE(CheckVolumeName("a.b-c_d").ok());
  for (const char* bad : {"", "a", ".x", "a/b", "a b", "ä1"}) {
    EXPECT_FALSE(CheckVolumeName(bad).ok()) << bad;
  }
  EXPECT_FALSE(CheckVolumeName(std::string(256, 'a')).ok());
  EXPECT_TRUE(
      CheckLocalOptions({{"type", "tmpfs"}, {"device", "x"}, {"o", "size=1m"}}, /*quotas=*/false)
          .ok());
  EXPECT_EQ(CheckLocalOptions({{"foo", ""}}, /*quotas=*/false).error().message(),
            "invalid option: \"foo\"");
  EXPECT_EQ(CheckLocalOptions({{"o", "bind"}}, /*quotas=*/false).error().message(),
            "missing required option: \"device\"");
  EXPECT_EQ(CheckLocalOptions({{"size", "1g"}}, /*quotas=*/false).error().message(),
            "quota size requested but no quota support");
  EXPECT_TRUE(CheckLocalOptions({{"size", "1g"}}, /*quotas=*/true).ok());
  EXPECT_FALSE(CheckLocalOptions({{"size", "much"}}, /*quotas=*/true).ok());
  std::string text =
      MountLocal({{"type", "nosuchfs"}, {"device", "/x"}, {"o", "password=secret"}}, "/v")
          .error()
          .message();
  EXPECT_NE(text.find("failed to mount local volume: mount /x:/v, data: password=********"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("secret"), std::string::npos) << text;
}

}  // namespace
}  // namespace gantry::volumes
