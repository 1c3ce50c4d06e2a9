// SPDX-License-Identifier: Apache-2.0
#include "engine/fsck.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "engine/container.h"
#include "engine/event.h"
#include "engine/store.h"
#include "formats/json.h"
#include "kernel/paths.h"
#include "networks/records.h"
#include "volumes/records.h"

namespace gantry::engine {
namespace {

using formats::Json;
using records::Fault;

constexpr size_t kMaxInventoryBytes = size_t{256} << 20;
constexpr size_t kMaxLogBytes = size_t{16} << 20;

// A line of the events' log that no reader would take; the last one may be torn.
bool IsEvent(std::string_view line) {
  auto json = Json::Parse(line);
  return json.ok() && json->is_object() && json->Find("number") != nullptr;
}

class Checker {
 public:
  Checker(const FsckOptions& options, records::Database& database)
      : options_(options), root_(options.root), database_(database) {}

  // Everything that is wrong now.
  Result<std::vector<Fault>> Look() {
    faults_.clear();
    containers_.clear();
    volumes_.clear();
    networks_.clear();
    TRY(CheckTop());
    TRY(CheckVolumes());
    TRY(CheckContainers());
    TRY(CheckContainerDirectories());
    TRY(CheckNetworks());
    TRY(CheckEndpoints());
    TRY(CheckUntoldEvents());
    TRY(CheckEventLog());
    if (options_.more) TRY(options_.more(database_, &faults_));
    return std::move(faults_);
  }
  size_t containers() const { return containers_.size(); }
  size_t volumes() const { return volumes_.size(); }
  size_t networks() const { return networks_.size(); }

 private:
  void Add(std::string text, std::string remedy = {}, std::function<Result<>()> repair = {}) {
    faults_.push_back({std::move(text), std::move(remedy), std::move(repair)});
  }
  void AddTree(std::string text, const std::string& path) {
    Add(std::move(text), "it is removed", [path] { return kernel::RemoveTree(path); });
  }
  template <typename... Values>
  std::function<Result<>()> Deletion(std::string_view sql, Values... values) {
    return [this, sql, values...]() -> Result<> {
      auto transaction = TRY(database_.Begin());
      TRY(transaction.Execute(sql, values...));
      return transaction.Commit();
    };
  }

  Result<> CheckTop() {
    static const std::set<std::string> kTop = {"engine", "containers", "volumes", "containerd",
                                               "engine-id"};
    static const std::set<std::string> kEngine = {
        "engine.db",    "engine.db-wal",  "engine.db-shm", "lock",   "events.log",
        "events.log.1", "trash",          "build-caches",  "builds", "runtimes",
        "image-list",   "fsck-inventory", "build-history"};
    for (const auto& [directory, known] :
         {std::pair(root_, &kTop), std::pair(root_ + "/engine", &kEngine)}) {
      for (const std::string& name : TRY(ListDirectoryIfThere(directory))) {
        if (!known->contains(name)) Add(fmt::format("'{}/{}' is nothing of ours", directory, name));
      }
    }
    std::string path = root_ + "/engine-id";
    if (PathExists(path) && TRY(ReadFile(path, 4096)).empty()) {
      AddTree(fmt::format("'{}' has no id in it", path), path);
    }
    auto transaction = TRY(database_.Read());
    auto rows = TRY(transaction.Query("PRAGMA integrity_check"));
    while (TRY(rows.Next())) {
      if (rows.Text(0) != "ok") Add(fmt::format("engine.db: {}", rows.Text(0)));
    }
    return {};
  }

  Result<> CheckVolumes() {
    auto transaction = TRY(database_.Read());
    auto rows = TRY(transaction.Query("SELECT name, record FROM volumes"));
    while (TRY(rows.Next())) {
      std::string name = rows.Text(0);
      auto forget = Deletion("DELETE FROM volumes WHERE name = ?", name);
      auto volume = volumes::DecodeVolume(rows.Bytes(1));
      if (!volume.ok()) {
        Add(fmt::format("volume '{}': its record is damaged: {}", name, volume.error().message()),
            "its record is removed; its files become a volume without options at the next start",
            forget);
        continue;
      }
      bool local = volume->driver == "local";
      std::string data = fmt::format("{}/volumes/{}/_data", root_, name);
      if (local && !PathExists(data)) {
        Add(fmt::format("volume '{}': '{}' is missing", name, data), "its record is removed",
            forget);
        continue;
      }
      volumes_.insert(name);
    }
    for (const std::string& name : TRY(ListDirectoryIfThere(root_ + "/volumes"))) {
      // What a start makes a volume of is somebody's; what is being made is discarded by it.
      std::string path = root_ + "/volumes/" + name;
      if (name == ".new" || volumes_.contains(name) || PathExists(path + "/_data")) continue;
      Add(fmt::format("'{}' is nothing of ours", path));
    }
    return {};
  }

  Result<> CheckContainers() {
    std::map<std::string, std::string> names;  // name: id
    auto transaction = TRY(database_.Read());
    auto rows = TRY(transaction.Query("SELECT id, record FROM containers"));
    while (TRY(rows.Next())) {
      std::string id = rows.Text(0);
      containers_.insert(id);
      auto read = [&]() -> Result<ContainerRecord> {
        return ParseContainerRecord(TRY(Json::Parse(rows.Bytes(1))));
      };
      auto record = read();
      if (!record.ok()) {
        Add(fmt::format("container {}: its record is damaged: {}", id, record.error().message()));
        continue;
      }
      auto [first, fresh] = names.try_emplace(record->name, id);
      if (!fresh) {
        Add(fmt::format("containers {} and {} are both called '{}'", first->second, id,
                        record->name));
      }
      if (record->state.phase != Phase::kRemoving) CheckNeeds(*record);
    }
    return {};
  }

  // What a container can't start without. It is never removed here.
  void CheckNeeds(const ContainerRecord& record) {
    for (const MountPoint& point : record.mounts) {
      bool local = point.type == "volume" && (point.driver.empty() || point.driver == "local");
      if (!local || volumes_.contains(point.name)) continue;
      Add(fmt::format("container '{}': its volume '{}' is missing", record.name, point.name));
    }
    if (!options_.inventory) return;
    if (!options_.inventory->snapshots.contains(record.id)) {
      Add(fmt::format("container '{}': its layer, snapshot {}, is missing", record.name,
                      record.id));
    }
    if (!record.image_id.empty() && !options_.inventory->content.contains(record.image_id)) {
      Add(fmt::format("container '{}': its image {} is missing", record.name, record.image_id));
    }
  }

  Result<> CheckContainerDirectories() {
    std::set<std::string> found;
    for (const std::string& id : TRY(ListDirectoryIfThere(root_ + "/containers"))) {
      found.insert(id);
      if (containers_.contains(id)) continue;
      AddTree(fmt::format("directory of container {}: no record names it", id),
              root_ + "/containers/" + id);
    }
    for (const std::string& id : containers_) {
      if (found.contains(id)) continue;
      std::string path = root_ + "/containers/" + id;
      Add(fmt::format("container {}: its directory '{}' is missing", id, path),
          "an empty one is made; its log is lost", [path] { return MakeDirectories(path, 0700); });
    }
    return {};
  }

  Result<> CheckNetworks() {
    auto transaction = TRY(database_.Read());
    auto rows = TRY(transaction.Query("SELECT id, record FROM networks"));
    while (TRY(rows.Next())) {
      std::string id = rows.Text(0);
      auto network = networks::DecodeNetwork(rows.Bytes(1));
      if (network.ok()) {
        networks_.insert(id);
        continue;
      }
      Add(fmt::format("network {}: its record is damaged: {}", id, network.error().message()),
          "its record is removed", Deletion("DELETE FROM networks WHERE id = ?", id));
    }
    return {};
  }

  Result<> CheckEndpoints() {
    auto transaction = TRY(database_.Read());
    auto rows = TRY(transaction.Query("SELECT container, network, record FROM endpoints"));
    while (TRY(rows.Next())) {
      std::string container = rows.Text(0);
      std::string network = rows.Text(1);
      std::string wrong;
      auto endpoint = networks::DecodeEndpoint(rows.Bytes(2));
      if (!endpoint.ok()) {
        wrong = "its record is damaged: " + endpoint.error().message();
      } else if (!networks_.contains(network)) {
        wrong = "there is no such network";
      } else if (!containers_.contains(container)) {
        wrong = "there is no such container";
      }
      if (wrong.empty()) continue;
      Add(fmt::format("endpoint of container {} on network {}: {}", container, network, wrong),
          "its record is removed; a container that runs joins again at the next start",
          Deletion("DELETE FROM endpoints WHERE container = ? AND network = ?", container,
                   network));
    }
    return {};
  }

  Result<> CheckUntoldEvents() {
    auto transaction = TRY(database_.Read());
    auto rows = TRY(transaction.Query("SELECT key, event FROM untold_events"));
    while (TRY(rows.Next())) {
      std::string key = rows.Text(0);
      auto read = [&]() -> Result<> {
        Json json = TRY(Json::Parse(rows.Bytes(1)));
        Event event;
        formats::JsonReader reader(json, "event");
        ReadEvent(reader, &event);
        return reader.Finish();
      };
      auto event = read();
      if (event.ok()) continue;
      Add(fmt::format("event '{}' that was not told: its record is damaged: {}", key,
                      event.error().message()),
          "its record is removed", Deletion("DELETE FROM untold_events WHERE key = ?", key));
    }
    return {};
  }

  Result<> CheckEventLog() {
    for (const char* name : {"/engine/events.log", "/engine/events.log.1"}) {
      std::string path = root_ + name;
      if (!PathExists(path)) continue;
      std::string text = TRY(ReadFile(path, kMaxLogBytes));
      size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
      std::string good;
      size_t bad = 0;
      for (const std::string& line : Split(text.substr(0, whole), '\n')) {
        if (line.empty()) continue;
        if (IsEvent(line)) {
          good += line + "\n";
        } else {
          ++bad;
        }
      }
      if (bad == 0) continue;
      Add(fmt::format("'{}': {} lines are no events", path, bad), "they are cut out",
          [path, good] { return ReplaceFile(path, good, 0600); });
    }
    return {};
  }

  const FsckOptions& options_;
  const std::string root_;
  records::Database& database_;
  std::vector<Fault> faults_;
  std::set<std::string> containers_;  // ids
  std::set<std::string> volumes_;     // names
  std::set<std::string> networks_;    // ids
};

}  // namespace

std::string EngineLock(const std::string& root) { return root + "/engine/lock"; }
std::string ImageListFile(const std::string& root) { return root + "/engine/image-list"; }

Result<Inventory> ReadInventory(const std::string& path, const std::string& ns) {
  Json json = TRY(Json::Parse(TRY(ReadFile(path, kMaxInventoryBytes))));
  const Json& own = json[ns];
  Inventory inventory;
  auto read = [&](const char* kind, std::set<std::string>* names) {
    for (const Json& name : own[kind].items()) names->insert(name.AsString());
  };
  read("snapshots", &inventory.snapshots);
  read("content", &inventory.content);
  read("leases", &inventory.leases);
  return inventory;
}

Result<FsckResult> Fsck(const FsckOptions& options,
                        const std::function<void(const std::string&)>& report) {
  std::string path = options.root + "/engine/engine.db";
  // Nothing is made where nothing is.
  if (!PathExists(path)) return NotFound("checking '{}': there is no engine.db", options.root);
  // What it tells of may be what is repaired; it is made again.
  if (options.repair) ::unlink(ImageListFile(options.root).c_str());
  auto store = TRY_WITH(Store::Open(path), "checking '{}'", options.root);
  Checker checker(options, store->database());
  auto count =
      TRY(records::ReportAndRepair([&] { return checker.Look(); }, options.repair, report));
  return FsckResult{checker.containers(), checker.volumes(), checker.networks(), count};
}

}  // namespace gantry::engine
