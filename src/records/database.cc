// SPDX-License-Identifier: Apache-2.0
#include "records/database.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "base/io.h"
#include "base/log.h"

namespace gantry::records {
namespace {

// The log is written back once it has grown beyond 2 MiB.
constexpr int kCheckpointPages = 512;
// Beyond 16 MiB whoever commits does it: it begins anew only when all of it is written back, which
// one thread may never see while others go on writing.
constexpr int kMostLogPages = 4096;
// What is set aside on disk for the log, so that on a full disk containers and images can still be
// removed, which is what makes room. The log is reused from its start after each write-back.
constexpr off_t kLogReserveBytes = off_t{5} << 19;
// The database grows by so much at a time: a write-back seldom needs more disk.
constexpr int kGrowthBytes = 1 << 18;

// Only for the log: closing a file drops the locks that SQLite holds on it, and on the log it holds
// none.
void ReserveLog(const std::string& path) {
  auto file = OpenFile(path, O_WRONLY);
  if (!file.ok()) return log::Warning("setting disk space aside: {}", file.error().message());
  // Not every file system can.
  if (::fallocate(file->get(), FALLOC_FL_KEEP_SIZE, 0, kLogReserveBytes) < 0 &&
      errno != EOPNOTSUPP) {
    log::Warning("setting disk space aside for '{}': {}", path, std::strerror(errno));
  }
}

}  // namespace

Rows::Rows(Rows&& other) noexcept
    : database_(other.database_),
      sql_(other.sql_),
      statement_(std::exchange(other.statement_, nullptr)) {}

Rows::~Rows() {
  if (statement_ != nullptr) database_->GiveBack(sql_, statement_);
}

Result<bool> Rows::Next() {
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->LastError("reading records");
}

std::string_view Rows::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  int size = sqlite3_column_bytes(statement_, column);
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

std::string Rows::Text(int column) const { return std::string(Bytes(column)); }

int64_t Rows::Int(int column) const { return sqlite3_column_int64(statement_, column); }

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

Transaction::~Transaction() NO_THREAD_SAFETY_ANALYSIS {
  if (database_ == nullptr) return;
  if (sqlite3_get_autocommit(database_->connection_) == 0) {
    sqlite3_exec(database_->connection_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  database_->mutex_.Unlock();
}

Result<sqlite3_stmt*> Transaction::Prepare(std::string_view sql) {
  CHECK(database_ != nullptr);
  auto& idle = database_->idle_statements_[sql.data()];
  if (!idle.empty()) {
    sqlite3_stmt* statement = idle.back();
    idle.pop_back();
    return statement;
  }
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v3(database_->connection_, sql.data(), static_cast<int>(sql.size()),
                                SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return database_->LastError(fmt::format("preparing '{}'", sql));
  return statement;
}

Result<int> Transaction::Run(std::string_view sql, sqlite3_stmt* statement) {
  int code = sqlite3_step(statement);
  Result<int> result = sqlite3_changes(database_->connection_);
  if (code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_UNIQUE) {
    result = AlreadyExists("already exists");
  } else if (code != SQLITE_DONE && code != SQLITE_ROW) {
    result = database_->LastError("writing records");
  }
  database_->GiveBack(sql, statement);
  return result;
}

Rows Transaction::MakeRows(std::string_view sql, sqlite3_stmt* statement) {
  return Rows(database_, sql, statement);
}

void Transaction::Bind(sqlite3_stmt* statement, int index, std::string_view text) {
  // A null pointer would be stored as NULL.
  const char* data = text.data() == nullptr ? "" : text.data();
  sqlite3_bind_text64(statement, index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void Transaction::Bind(sqlite3_stmt* statement, int index, Blob blob) {
  const char* data = blob.bytes.data() == nullptr ? "" : blob.bytes.data();
  sqlite3_bind_blob64(statement, index, data, blob.bytes.size(), SQLITE_TRANSIENT);
}

void Transaction::Bind(sqlite3_stmt* statement, int index, int64_t value) {
  sqlite3_bind_int64(statement, index, value);
}

Result<> Transaction::Commit() NO_THREAD_SAFETY_ANALYSIS {
  CHECK(database_ != nullptr);
  if (sqlite3_get_autocommit(database_->connection_) == 0) {
    if (sqlite3_exec(database_->connection_, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) {
      return database_->LastError("committing records");
    }
    if (database_->commit_hook_) database_->commit_hook_();
  }
  std::exchange(database_, nullptr)->mutex_.Unlock();
  return {};
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                 const std::vector<std::string_view>& schema) {
  std::unique_ptr<Database> database(new Database(path));
  int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  if (sqlite3_open_v2(path.c_str(), &database->connection_, flags, nullptr) != SQLITE_OK) {
    return database->LastError(fmt::format("opening '{}'", path));
  }
  sqlite3_extended_result_codes(database->connection_, 1);
  sqlite3_busy_timeout(database->connection_, 10'000);
  TRY(
      database->ExecuteScript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                              "PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-1024;"
                              "PRAGMA temp_store=MEMORY;"));
  TRY(database->Migrate(schema));
  ReserveLog(path + "-wal");
  sqlite3_wal_hook(database->connection_, OnWalGrown, database.get());
  database->checkpoint_thread_ = std::thread([self = database.get()] { self->CheckpointLoop(); });
  return database;
}

Database::~Database() {
  if (checkpoint_thread_.joinable()) {
    {
      MutexLock lock(checkpoint_mutex_);
      stop_ = true;
    }
    checkpoint_wanted_.NotifyAll();
    checkpoint_thread_.join();
  }
  for (auto& [sql, statements] : idle_statements_) {
    for (sqlite3_stmt* statement : statements) sqlite3_finalize(statement);
  }
  // Closing the last connection writes the log back and removes it.
  sqlite3_close(connection_);
}

Result<Transaction> Database::Begin() NO_THREAD_SAFETY_ANALYSIS {
  mutex_.Lock();
  Transaction transaction(this);
  if (sqlite3_exec(connection_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) {
    return LastError("beginning a transaction");
  }
  return transaction;
}

void Database::SetCommitHook(std::function<void()> hook) {
  MutexLock lock(mutex_);
  commit_hook_ = std::move(hook);
}

Result<Transaction> Database::Read() NO_THREAD_SAFETY_ANALYSIS {
  mutex_.Lock();
  return Transaction(this);
}

Result<> Database::Migrate(const std::vector<std::string_view>& schema) {
  auto tx = TRY(Begin());
  int64_t version = 0;
  {
    auto rows = TRY(tx.Query("PRAGMA user_version"));
    if (TRY(rows.Next())) version = rows.Int(0);
  }
  if (version > static_cast<int64_t>(schema.size())) {
    return FailedPrecondition(
        "opening '{}': schema {} was written by a newer version, this one "
        "knows {}",
        path_, version, schema.size());
  }
  for (size_t step = static_cast<size_t>(version); step < schema.size(); ++step) {
    TRY_WITH(ExecuteScript(schema[step]), "schema step {}", step + 1);
  }
  TRY(ExecuteScript(fmt::format("PRAGMA user_version = {}", schema.size())));
  return tx.Commit();
}

Result<> Database::ExecuteScript(std::string_view sql) {
  if (sqlite3_exec(connection_, std::string(sql).c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return LastError("executing schema");
  }
  return {};
}

Error Database::LastError(std::string_view what) const {
  int code = sqlite3_errcode(connection_) & 0xff;
  ErrorKind kind = ErrorKind::kInternal;
  if (code == SQLITE_FULL) kind = ErrorKind::kResourceExhausted;
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) kind = ErrorKind::kDataLoss;
  if (code == SQLITE_BUSY) kind = ErrorKind::kUnavailable;
  return MakeError(kind, "{}: {}", what, sqlite3_errmsg(connection_));
}

void Database::GiveBack(std::string_view sql, sqlite3_stmt* statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  idle_statements_[sql.data()].push_back(statement);
}

int Database::OnWalGrown(void* self, sqlite3* connection, const char*, int pages) {
  if (pages < kCheckpointPages) return SQLITE_OK;
  auto* database = static_cast<Database*>(self);
  if (pages >= kMostLogPages) {
    database->WriteBack(connection);
    return SQLITE_OK;
  }
  {
    MutexLock lock(database->checkpoint_mutex_);
    database->checkpoint_due_ = true;
  }
  database->checkpoint_wanted_.NotifyOne();
  return SQLITE_OK;
}

void Database::WriteBack(sqlite3* connection) {
  // One after the other: SQLite lets the second one go away with nothing done.
  MutexLock lock(write_back_mutex_);
  int code =
      sqlite3_wal_checkpoint_v2(connection, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code == SQLITE_OK || code == SQLITE_BUSY) return;
  log::Warning("writing back the log of '{}': {}", path_, sqlite3_errmsg(connection));
}

// A connection of its own, so that nobody waits while the log is synced and written back.
void Database::CheckpointLoop() NO_THREAD_SAFETY_ANALYSIS {
  sqlite3* connection = nullptr;
  if (sqlite3_open_v2(path_.c_str(), &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK) {
    log::Failure("opening '{}' for checkpoints: {}", path_, sqlite3_errmsg(connection));
  }
  int growth = kGrowthBytes;
  sqlite3_file_control(connection, "main", SQLITE_FCNTL_CHUNK_SIZE, &growth);
  // A connection that has read nothing does not know that there is a log: it would write back none.
  if (sqlite3_exec(connection, "PRAGMA schema_version", nullptr, nullptr, nullptr) != SQLITE_OK) {
    log::Failure("opening '{}' for checkpoints: {}", path_, sqlite3_errmsg(connection));
  }
  MutexLock lock(checkpoint_mutex_);
  while (true) {
    while (!checkpoint_due_ && !stop_) checkpoint_wanted_.Wait(checkpoint_mutex_);
    if (stop_) break;
    checkpoint_due_ = false;
    checkpoint_mutex_.Unlock();
    WriteBack(connection);
    checkpoint_mutex_.Lock();
  }
  sqlite3_close(connection);
}

}  // namespace gantry::records
