// SPDX-License-Identifier: Apache-2.0
//
// A daemon's records: one SQLite file in WAL mode, synchronous=NORMAL, so that kill -9 loses
// nothing and a power cut at most the last seconds. The one wrapper of SQLite.
//
//   Transaction tx = TRY(database.Begin());
//   TRY(tx.Execute("DELETE FROM images WHERE ns = ? AND name = ?", ns, name));
//   TRY(tx.Commit());
//
// Any thread: a Transaction holds the database's lock, so it must be short and must not call
// another process. Checkpoints run on a thread of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"

struct sqlite3;
struct sqlite3_stmt;

namespace gantry::records {

class Database;

// The rows of a query, or nothing: Next() says whether there is one more. Lives inside its
// transaction.
class Rows {
 public:
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  ~Rows();

  Result<bool> Next();
  // Columns of the row, from 0. Bytes stay valid until the next call of Next().
  std::string Text(int column) const;
  std::string_view Bytes(int column) const;
  int64_t Int(int column) const;

 private:
  friend class Transaction;
  Rows(Database* database, std::string_view sql, sqlite3_stmt* statement)
      : database_(database), sql_(sql), statement_(statement) {}

  Database* database_;
  std::string_view sql_;
  sqlite3_stmt* statement_;
};

// Bytes that are stored as a blob instead of text.
struct Blob {
  std::string_view bytes;
};

// Rolled back unless Commit() was called.
class Transaction {
 public:
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // `sql` is a literal: prepared statements are kept by its address. Yields the number of rows that
  // were changed. A broken UNIQUE or PRIMARY KEY is kAlreadyExists.
  template <typename... Args>
  Result<int> Execute(std::string_view sql, const Args&... args) {
    auto statement = TRY(Prepare(sql));
    int index = 0;
    (Bind(statement, ++index, args), ...);
    return Run(sql, statement);
  }
  template <typename... Args>
  Result<Rows> Query(std::string_view sql, const Args&... args) {
    auto statement = TRY(Prepare(sql));
    int index = 0;
    (Bind(statement, ++index, args), ...);
    return MakeRows(sql, statement);
  }
  Result<> Commit();

 private:
  friend class Database;
  explicit Transaction(Database* database) : database_(database) {}
  Result<sqlite3_stmt*> Prepare(std::string_view sql);
  Result<int> Run(std::string_view sql, sqlite3_stmt* statement);
  Rows MakeRows(std::string_view sql, sqlite3_stmt* statement);
  static void Bind(sqlite3_stmt* statement, int index, std::string_view text);
  static void Bind(sqlite3_stmt* statement, int index, const std::string& text) {
    Bind(statement, index, std::string_view(text));
  }
  static void Bind(sqlite3_stmt* statement, int index, const char* text) {
    Bind(statement, index, std::string_view(text));
  }
  static void Bind(sqlite3_stmt* statement, int index, Blob blob);
  static void Bind(sqlite3_stmt* statement, int index, int64_t value);
  static void Bind(sqlite3_stmt* statement, int index, uint64_t value) {
    Bind(statement, index, static_cast<int64_t>(value));
  }
  static void Bind(sqlite3_stmt* statement, int index, int value) {
    Bind(statement, index, static_cast<int64_t>(value));
  }

  Database* database_;  // null: committed or moved from
};

class Database {
 public:
  // Schema step N takes a database from user_version N to N + 1. A file with a greater number than
  // there are steps was written by a newer version and is refused.
  static Result<std::unique_ptr<Database>> Open(const std::string& path,
                                                const std::vector<std::string_view>& schema);
  ~Database();

  // For writing.
  Result<Transaction> Begin();
  // For reading: the same lock, without the cost of a write transaction.
  Result<Transaction> Read();
  // Runs after each commit of a change, with the database's lock held: it must not use the
  // database. An empty one ends it.
  void SetCommitHook(std::function<void()> hook);

 private:
  friend class Rows;
  friend class Transaction;
  explicit Database(std::string path) : path_(std::move(path)) {}
  Result<> Migrate(const std::vector<std::string_view>& schema);
  Result<> ExecuteScript(std::string_view sql);
  Error LastError(std::string_view what) const;
  void GiveBack(std::string_view sql, sqlite3_stmt* statement);
  void CheckpointLoop();
  void WriteBack(sqlite3* connection);
  static int OnWalGrown(void* self, sqlite3* connection, const char* name, int pages);

  const std::string path_;
  sqlite3* connection_ = nullptr;  // used with mutex_ held only
  Mutex mutex_;
  std::function<void()> commit_hook_;  // as that
  // Prepared statements that nobody uses at the moment, by the address of their SQL literal.
  std::unordered_map<const char*, std::vector<sqlite3_stmt*>> idle_statements_;

  Mutex write_back_mutex_;
  Mutex checkpoint_mutex_;
  CondVar checkpoint_wanted_;
  bool checkpoint_due_ GUARDED_BY(checkpoint_mutex_) = false;
  bool stop_ GUARDED_BY(checkpoint_mutex_) = false;
  std::thread checkpoint_thread_;
};

}  // namespace gantry::records
