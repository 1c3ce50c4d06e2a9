// SPDX-License-Identifier: Apache-2.0
#include "records/database.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/random.h"
#include "base/unique_fd.h"

namespace gantry::records {
namespace {

class DatabaseTest : public ::testing::Test {
 protected:
  DatabaseTest() { std::filesystem::create_directories(directory_); }
  ~DatabaseTest() override { std::filesystem::remove_all(directory_); }
  const std::string directory_ = ::testing::TempDir() + "/database-" + RandomHex(8);
  const std::string path_ = directory_ + "/meta.db";
  const std::vector<std::string_view> schema_ = {
      "CREATE TABLE t(k TEXT PRIMARY KEY, v INT) STRICT"};
};

TEST_F(DatabaseTest, KeepsWhatWasCommittedOnly) {
  {
    auto database = std::move(Database::Open(path_, schema_)).value();
    auto tx = std::move(database->Begin()).value();
    EXPECT_EQ(tx.Execute("INSERT INTO t VALUES(?, ?)", "a", 1).value(), 1);
    ASSERT_TRUE(tx.Commit().ok());
    auto lost = std::move(database->Begin()).value();
    EXPECT_TRUE(lost.Execute("INSERT INTO t VALUES(?, ?)", "b", 2).ok());
  }
  auto database = std::move(Database::Open(path_, schema_)).value();
  auto tx = std::move(database->Read()).value();
  auto rows = std::move(tx.Query("SELECT k, v FROM t")).value();
  ASSERT_TRUE(rows.Next().value());
  EXPECT_EQ(rows.Text(0), "a");
  EXPECT_EQ(rows.Int(1), 1);
  EXPECT_FALSE(rows.Next().value());
}

TEST_F(DatabaseTest, HasRoomOnAFullDisk) {
  auto database = std::move(Database::Open(path_, schema_)).value();
  UniqueFd probe(::open((directory_ + "/probe").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  if (::fallocate(probe.get(), FALLOC_FL_KEEP_SIZE, 0, 4096) < 0) {
    GTEST_SKIP() << "this file system sets nothing aside";
  }
  struct stat info{};
  ASSERT_EQ(::stat((path_ + "-wal").c_str(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 2 << 20);
}

TEST_F(DatabaseTest, ReportsATakenKey) {
  auto database = std::move(Database::Open(path_, schema_)).value();
  auto tx = std::move(database->Begin()).value();
  constexpr std::string_view kInsert = "INSERT INTO t VALUES(?, ?)";
  ASSERT_TRUE(tx.Execute(kInsert, "a", 1).ok());
  auto again = tx.Execute(kInsert, "a", 2);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().kind(), ErrorKind::kAlreadyExists);
}

TEST_F(DatabaseTest, MigratesOlderAndRefusesNewerFiles) {
  auto longer = schema_;
  longer.push_back("ALTER TABLE t ADD COLUMN w TEXT");
  {
    ASSERT_TRUE(Database::Open(path_, schema_).ok());
  }
  {
    ASSERT_TRUE(Database::Open(path_, longer).ok());
  }
  auto older = Database::Open(path_, schema_);
  ASSERT_FALSE(older.ok());
  EXPECT_EQ(older.error().kind(), ErrorKind::kFailedPrecondition);
}

TEST_F(DatabaseTest, WritesItsLogBack) {
  auto database = std::move(Database::Open(path_, schema_)).value();
  auto add = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      auto tx = std::move(database->Begin()).value();
      ASSERT_TRUE(tx.Execute("INSERT INTO t VALUES(?, ?)", std::to_string(i), i).ok());
      ASSERT_TRUE(tx.Commit().ok());
    }
  };
  add(0, 1000);  // two pages each
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::filesystem::file_size(path_) <= 4096) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "nothing is written back";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  add(1000, 8000);
  // 16 MiB of pages with their heads, and the last transaction.
  EXPECT_LT(std::filesystem::file_size(path_ + "-wal"), 4096u * 4120 + (64 << 10));
  auto tx = std::move(database->Read()).value();
  auto rows = std::move(tx.Query("SELECT count(*) FROM t")).value();
  ASSERT_TRUE(rows.Next().value());
  EXPECT_EQ(rows.Int(0), 8000);
}

}  // namespace
}  // namespace gantry::records
