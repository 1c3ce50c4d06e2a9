// SPDX-License-Identifier: Apache-2.0
#include "engine/accounts.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/io.h"
#include "kernel/paths.h"

namespace gantry::engine {
namespace {

const Accounts kAccounts = {
    "root:x:0:0:root:/root:/bin/sh\n# comment\nweb:x:33:44::/var/www:/bin/false\n"
    "1000:x:0:0::/evil:/bin/sh\nbad line\n",
    "root:x:0:\nwheel:x:10:root,web\nwww:x:44:\naudio:x:29:web\n"};

ResolvedUser Resolve(std::string_view user, const std::vector<std::string>& groups = {}) {
  Result<ResolvedUser> resolved = ResolveUser(user, groups, kAccounts);
  EXPECT_TRUE(resolved.ok()) << resolved.error().message();
  return *std::move(resolved);
}

TEST(AccountsTest, LooksUpNamesAndGroups) {
  ResolvedUser root = Resolve("");
  EXPECT_EQ(root.uid, 0u);
  EXPECT_EQ(root.home, "/root");
  EXPECT_EQ(root.additional_gids, (std::vector<uint32_t>{0, 10}));
  ResolvedUser web = Resolve("web");
  EXPECT_EQ(web.uid, 33u);
  EXPECT_EQ(web.gid, 44u);
  EXPECT_EQ(web.additional_gids, (std::vector<uint32_t>{44, 10, 29}));
  EXPECT_EQ(Resolve("33").home, "/var/www");
  EXPECT_EQ(Resolve("web:audio").additional_gids, std::vector<uint32_t>{29});
  EXPECT_EQ(Resolve("web:7").gid, 7u);
  EXPECT_EQ(Resolve("5", {"audio", "77"}).additional_gids, (std::vector<uint32_t>{0, 29, 77}));
}

TEST(AccountsTest, ANumberIsNeverAName) {
  EXPECT_EQ(Resolve("1000").uid, 1000u);
  EXPECT_EQ(Resolve("1000").home, "/");
}

TEST(AccountsTest, RefusesWhatIsUnknownOrOutOfRange) {
  auto error = [](std::string_view user) {
    return ResolveUser(user, {}, kAccounts).error().message();
  };
  EXPECT_EQ(error("nobody"), "unable to find user nobody: no matching entries in passwd file");
  EXPECT_EQ(error("web:none"), "unable to find group none: no matching entries in group file");
  EXPECT_EQ(error("4294967296"), "uids and gids must be in range 0-2147483647: '4294967296'");
  EXPECT_EQ(error("2147483648"), "uids and gids must be in range 0-2147483647: '2147483648'");
}

class ReadAccountsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-accounts-XXXXXX";
    root_ = ::mkdtemp(name);
    std::filesystem::create_directory(root_ + "/etc");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  Result<Accounts> Read() {
    UniqueFd root = *kernel::OpenRoot(root_);
    return ReadAccounts(root);
  }
  std::string root_;
};

TEST_F(ReadAccountsTest, MissingFilesAreEmpty) {
  EXPECT_EQ(Read()->passwd, "");
  ASSERT_TRUE(CreateFile(root_ + "/etc/group", "g:x:1:\n", 0644).ok());
  EXPECT_EQ(Read()->group, "g:x:1:\n");
}

TEST_F(ReadAccountsTest, AFifoOrAHugeFileIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((root_ + "/etc/passwd").c_str(), 0600), 0);
  EXPECT_EQ(Read().error().message(), "reading '/etc/passwd' of the image: not a regular file");
  std::filesystem::remove(root_ + "/etc/passwd");
  ASSERT_TRUE(CreateFile(root_ + "/etc/passwd", std::string(2 << 20, 'x'), 0644).ok());
  EXPECT_EQ(Read().error().kind(), ErrorKind::kResourceExhausted);
}

TEST_F(ReadAccountsTest, AnAbsoluteLinkStaysInTheRoot) {
  std::filesystem::create_symlink("/etc/other", root_ + "/etc/passwd");
  EXPECT_EQ(Read()->passwd, "");
  ASSERT_TRUE(CreateFile(root_ + "/etc/other", "mine", 0644).ok());
  EXPECT_EQ(Read()->passwd, "mine");
}

}  // namespace
}  // namespace gantry::engine
