// SPDX-License-Identifier: Apache-2.0
#include "engine/store.h"

#include <utility>

namespace gantry::engine {
namespace {

// Step N takes user_version N to N + 1; steps are only ever added.
const std::vector<std::string_view> kSchema = {
    R"(
      CREATE TABLE containers (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE networks (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE endpoints (container TEXT NOT NULL, network TEXT NOT NULL, record TEXT NOT NULL,
                              PRIMARY KEY (container, network)) WITHOUT ROWID;
      CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    )",
    R"(
      CREATE TABLE volumes (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
    )",
    R"(
      CREATE TABLE build_steps (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
    )",
    R"(
      CREATE TABLE image_uses (image TEXT PRIMARY KEY, used_at INTEGER NOT NULL) WITHOUT ROWID;
    )",
    R"(
      CREATE TABLE untold_events (key TEXT PRIMARY KEY, event TEXT NOT NULL,
                                  subject TEXT NOT NULL) WITHOUT ROWID;
    )",
};

Result<> NoteImageUse(records::Transaction& transaction, const std::string& image_id,
                      WallTime when) {
  TRY(transaction.Execute("INSERT OR REPLACE INTO image_uses (image, used_at) VALUES (?, ?)",
                          image_id, UnixNanos(when)));
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::string& path) {
  return std::unique_ptr<Store>(new Store(TRY(records::Database::Open(path, kSchema))));
}

Result<> Store::PutContainer(const ContainerRecord& record, const Event* untold,
                             const std::string& subject) {
  std::string text = ToJson(record).Dump();
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("INSERT OR REPLACE INTO containers (id, record) VALUES (?, ?)", record.id,
                          text));
  if (untold != nullptr) TRY(untold_.Put(*untold, subject, transaction));
  return transaction.Commit();
}

Result<> Store::EraseContainer(const std::string& id, const std::string& image_id) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("DELETE FROM containers WHERE id = ?", id));
  if (!image_id.empty()) TRY(NoteImageUse(transaction, image_id, WallClock::now()));
  return transaction.Commit();
}

Result<> Store::PutImageUse(const std::string& image_id, WallTime when) {
  auto transaction = TRY(database_->Begin());
  TRY(NoteImageUse(transaction, image_id, when));
  return transaction.Commit();
}

Result<> Store::EraseImageUse(const std::string& image_id) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("DELETE FROM image_uses WHERE image = ?", image_id));
  return transaction.Commit();
}

Result<std::map<std::string, WallTime>> Store::ListImageUses() {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT image, used_at FROM image_uses"));
  std::map<std::string, WallTime> uses;
  while (TRY(rows.Next())) uses.emplace(rows.Text(0), FromUnixNanos(rows.Int(1)));
  return uses;
}

Result<std::vector<ContainerRecord>> Store::ListContainers() {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT id, record FROM containers"));
  std::vector<ContainerRecord> out;
  while (TRY(rows.Next())) {
    std::string id = rows.Text(0);
    formats::Json json =
        TRY_WITH(formats::Json::Parse(rows.Bytes(1)), "reading the record of container '{}'", id);
    out.push_back(TRY_WITH(ParseContainerRecord(json), "reading the record of container '{}'", id));
  }
  return out;
}

Result<std::string> Store::GetSetting(const std::string& name) {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT value FROM settings WHERE name = ?", name));
  if (!TRY(rows.Next())) return std::string();
  return rows.Text(0);
}

Result<> Store::PutSetting(const std::string& name, const std::string& value) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", name,
                          value));
  return transaction.Commit();
}

Result<> Store::PutBuildStep(const std::string& key, const std::string& record) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("INSERT OR REPLACE INTO build_steps (key, record) VALUES (?, ?)", key,
                          record));
  return transaction.Commit();
}

Result<> Store::EraseBuildSteps(const std::vector<std::string>& keys) {
  auto transaction = TRY(database_->Begin());
  for (const std::string& key : keys) {
    TRY(transaction.Execute("DELETE FROM build_steps WHERE key = ?", key));
  }
  return transaction.Commit();
}

Result<std::vector<std::pair<std::string, std::string>>> Store::ListBuildSteps() {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT key, record FROM build_steps"));
  std::vector<std::pair<std::string, std::string>> out;
  while (TRY(rows.Next())) {
    std::string key = rows.Text(0);
    out.emplace_back(std::move(key), std::string(rows.Bytes(1)));
  }
  return out;
}

Result<> Store::PutEndpoint(const networks::Endpoint& endpoint) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute(
      "INSERT OR REPLACE INTO endpoints (container, network, record) VALUES (?, ?, ?)",
      endpoint.container_id, endpoint.network_id, networks::EncodeEndpoint(endpoint)));
  return transaction.Commit();
}

Result<> Store::EraseEndpoint(const std::string& container_id, const std::string& network_id) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("DELETE FROM endpoints WHERE container = ? AND network = ?", container_id,
                          network_id));
  return transaction.Commit();
}

Result<std::vector<networks::Endpoint>> Store::ListEndpoints() {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT record FROM endpoints"));
  std::vector<networks::Endpoint> out;
  while (TRY(rows.Next())) out.push_back(TRY(networks::DecodeEndpoint(rows.Bytes(0))));
  return out;
}

Result<> Store::PutNetwork(const networks::Network& network) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("INSERT OR REPLACE INTO networks (id, record) VALUES (?, ?)", network.id,
                          networks::EncodeNetwork(network)));
  return transaction.Commit();
}

Result<> Store::EraseNetwork(const std::string& network_id) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("DELETE FROM networks WHERE id = ?", network_id));
  return transaction.Commit();
}

Result<std::vector<networks::Network>> Store::ListNetworks() {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT record FROM networks"));
  std::vector<networks::Network> out;
  while (TRY(rows.Next())) out.push_back(TRY(networks::DecodeNetwork(rows.Bytes(0))));
  return out;
}

Result<> Store::PutVolume(const volumes::Volume& volume) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("INSERT OR REPLACE INTO volumes (name, record) VALUES (?, ?)",
                          volume.name, volumes::EncodeVolume(volume)));
  return transaction.Commit();
}

Result<> Store::EraseVolume(const std::string& name) {
  auto transaction = TRY(database_->Begin());
  TRY(transaction.Execute("DELETE FROM volumes WHERE name = ?", name));
  return transaction.Commit();
}

Result<std::vector<volumes::Volume>> Store::ListVolumes() {
  auto transaction = TRY(database_->Read());
  auto rows = TRY(transaction.Query("SELECT record FROM volumes"));
  std::vector<volumes::Volume> out;
  while (TRY(rows.Next())) out.push_back(TRY(volumes::DecodeVolume(rows.Bytes(0))));
  return out;
}

}  // namespace gantry::engine
