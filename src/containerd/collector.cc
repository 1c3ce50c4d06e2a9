// SPDX-License-Identifier: Apache-2.0
#include "containerd/collector.h"

#include <set>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "containerd/event_exchange.h"
#include "containerd/events/content.pb.h"
#include "containerd/events/snapshot.pb.h"
#include "containerd/names.h"
#include "containerd/records.h"
#include "containerd/rpc.h"

namespace gantry::containerd {

// A blob (snapshotter "") or a snapshot, in a namespace.
struct Node {
  std::string ns;
  std::string snapshotter;
  std::string key;
  auto operator<=>(const Node&) const = default;
};

namespace {

// Deletes come in groups; one collection serves them all.
constexpr auto kDelay = std::chrono::milliseconds(500);
constexpr auto kIngestLifetime = std::chrono::hours(24);
constexpr std::string_view kRootLabel = "containerd.io/gc.root";
constexpr std::string_view kExpireLabel = "containerd.io/gc.expire";
constexpr std::string_view kFlatLabel = "containerd.io/gc.flat";
constexpr std::string_view kContentReference = "containerd.io/gc.ref.content";
constexpr std::string_view kSnapshotReference = "containerd.io/gc.ref.snapshot.";

bool HasExpired(const Labels& labels) {
  auto found = labels.find(std::string(kExpireLabel));
  if (found == labels.end()) return false;
  auto time = ParseRfc3339(found->second);
  // One that cannot be read keeps what it names.
  return time.ok() && *time < Now();
}

void AddReferences(const std::string& ns, const Labels& labels, std::vector<Node>* nodes) {
  for (const auto& [key, value] : labels) {
    std::string_view name = key;
    if (name.starts_with(kContentReference)) {
      char next = name.size() > kContentReference.size() ? name[kContentReference.size()] : '.';
      if (next == '.' || next == '/') nodes->push_back({ns, "", value});
    } else if (name.starts_with(kSnapshotReference)) {
      name.remove_prefix(kSnapshotReference.size());
      nodes->push_back({ns, std::string(name.substr(0, name.find('/'))), value});
    }
  }
}

}  // namespace

// Everything that can be collected, with what it refers to, and what must stay.
struct Collector::Graph {
  std::map<Node, std::vector<Node>> nodes;
  std::set<Node> kept;
  size_t expired_leases = 0;

  Result<> Load(Transaction& tx) {
    std::vector<Node> roots;
    TRY(LoadContent(tx, &roots));
    TRY(LoadSnapshots(tx, &roots));
    TRY(LoadImages(tx, &roots));
    TRY(LoadContainers(tx, &roots));
    TRY(LoadLeases(tx, &roots));
    while (!roots.empty()) {
      Node node = std::move(roots.back());
      roots.pop_back();
      auto found = nodes.find(node);
      if (found == nodes.end() || !kept.insert(std::move(node)).second) continue;
      roots.insert(roots.end(), found->second.begin(), found->second.end());
    }
    kept.insert(flat.begin(), flat.end());
    return {};
  }

 private:
  Result<> LoadContent(Transaction& tx, std::vector<Node>* roots) {
    auto rows = TRY(tx.Query("SELECT ns, digest, labels FROM content"));
    while (TRY(rows.Next())) {
      Node node{rows.Text(0), "", rows.Text(1)};
      Labels labels = TRY(DecodeLabels(rows.Bytes(2)));
      if (labels.contains(std::string(kRootLabel))) roots->push_back(node);
      AddReferences(node.ns, labels, &nodes[node]);
    }
    return {};
  }

  Result<> LoadSnapshots(Transaction& tx, std::vector<Node>* roots) {
    auto rows = TRY(tx.Query("SELECT ns, snapshotter, key, parent, labels FROM snapshots"));
    while (TRY(rows.Next())) {
      Node node{rows.Text(0), rows.Text(1), rows.Text(2)};
      Labels labels = TRY(DecodeLabels(rows.Bytes(4)));
      if (labels.contains(std::string(kRootLabel))) roots->push_back(node);
      auto& references = nodes[node];
      std::string parent = rows.Text(3);
      if (!parent.empty()) references.push_back({node.ns, node.snapshotter, parent});
      AddReferences(node.ns, labels, &references);
    }
    return {};
  }

  Result<> LoadImages(Transaction& tx, std::vector<Node>* roots) {
    auto rows = TRY(tx.Query("SELECT ns, record FROM images"));
    while (TRY(rows.Next())) {
      images_api::Image image;
      std::string_view bytes = rows.Bytes(1);
      if (!image.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return MakeError(ErrorKind::kDataLoss, "collecting garbage: an image's record is damaged");
      }
      roots->push_back({rows.Text(0), "", image.target().digest()});
      AddReferences(rows.Text(0), ToLabels(image.labels()), roots);
    }
    return {};
  }

  Result<> LoadContainers(Transaction& tx, std::vector<Node>* roots) {
    auto rows = TRY(tx.Query("SELECT ns, snapshotter, snapshot_key, record FROM containers"));
    while (TRY(rows.Next())) {
      containers_api::Container container;
      std::string_view bytes = rows.Bytes(3);
      if (!container.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return MakeError(ErrorKind::kDataLoss,
                         "collecting garbage: a container's record is damaged");
      }
      roots->push_back({rows.Text(0), rows.Text(1), rows.Text(2)});
      AddReferences(rows.Text(0), ToLabels(container.labels()), roots);
    }
    return {};
  }

  // Removes the leases that have expired.
  Result<> LoadLeases(Transaction& tx, std::vector<Node>* roots) {
    std::vector<std::pair<std::string, std::string>> expired;
    std::set<std::pair<std::string, std::string>> flat_leases;
    {
      auto rows = TRY(tx.Query("SELECT ns, id, labels FROM leases"));
      while (TRY(rows.Next())) {
        Labels labels = TRY(DecodeLabels(rows.Bytes(2)));
        if (HasExpired(labels)) expired.emplace_back(rows.Text(0), rows.Text(1));
        if (labels.contains(std::string(kFlatLabel))) {
          flat_leases.emplace(rows.Text(0), rows.Text(1));
        }
      }
    }
    for (const auto& [ns, id] : expired) {
      TRY(tx.Execute("DELETE FROM leases WHERE ns = ? AND id = ?", ns, id));
      TRY(tx.Execute("DELETE FROM lease_resources WHERE ns = ? AND lease = ?", ns, id));
    }
    expired_leases = expired.size();
    auto rows = TRY(tx.Query("SELECT ns, lease, type, id FROM lease_resources"));
    while (TRY(rows.Next())) {
      std::string type = rows.Text(2);
      Node node{rows.Text(0), "", rows.Text(3)};
      if (type.starts_with("snapshots/")) {
        node.snapshotter = type.substr(10);
      } else if (type != "content") {
        continue;
      }
      if (flat_leases.contains({node.ns, rows.Text(1)})) {
        flat.push_back(std::move(node));
      } else {
        roots->push_back(std::move(node));
      }
    }
    return {};
  }

  // Kept without what they refer to.
  std::vector<Node> flat;
};

Collector::Collector(Database* database, EventExchange* events, content::BlobStore* blobs,
                     std::map<std::string, snapshots::Snapshotter*> snapshotters)
    : database_(database),
      events_(events),
      blobs_(blobs),
      snapshotters_(std::move(snapshotters)),
      thread_([this] { Loop(); }) {}

Collector::~Collector() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wanted_.NotifyAll();
  thread_.join();
}

void Collector::Schedule() {
  {
    MutexLock lock(mutex_);
    due_ = true;
  }
  wanted_.NotifyOne();
}

void Collector::Loop() NO_THREAD_SAFETY_ANALYSIS {
  MutexLock lock(mutex_);
  while (!stop_) {
    if (!due_) {
      wanted_.Wait(mutex_);
      continue;
    }
    auto until = SteadyClock::now() + kDelay;
    while (!stop_ && SteadyClock::now() < until) {
      wanted_.WaitFor(mutex_, until - SteadyClock::now());
    }
    if (stop_) break;
    due_ = false;
    mutex_.Unlock();
    auto collected = Collect();
    if (!collected.ok()) {
      log::Failure("collecting garbage: {}", collected.error().message());
    }
    mutex_.Lock();
  }
}

Result<Collected> Collector::Collect() {
  Collected collected = TRY(CollectLocked());
  if (hook_) hook_();
  return collected;
}

Result<Collected> Collector::CollectLocked() {
  std::unique_lock<std::shared_mutex> exclusive(lock_);
  Graph graph;
  Collected collected;
  {
    auto tx = TRY(database_->Begin());
    TRY(graph.Load(tx));
    TRY(tx.Commit());
  }
  collected.leases = graph.expired_leases;
  TRY(DeleteSnapshots(graph, &collected));
  TRY(DeleteContent(graph, &collected));
  DeleteOldIngests();
  if (collected.blobs + collected.snapshots + collected.leases > 0) {
    log::Debug("collected {} blobs, {} snapshots, {} leases", collected.blobs, collected.snapshots,
               collected.leases);
  }
  return collected;
}

Result<> Collector::DeleteContent(const Graph& graph, Collected* collected) {
  std::vector<Node> unlinked;
  {
    auto tx = TRY(database_->Begin());
    for (const auto& [node, references] : graph.nodes) {
      if (!node.snapshotter.empty() || graph.kept.contains(node)) continue;
      TRY(tx.Execute("DELETE FROM content WHERE ns = ? AND digest = ?", node.ns, node.key));
      ++collected->blobs;
      auto rows = TRY(tx.Query("SELECT 1 FROM content WHERE digest = ? LIMIT 1", node.key));
      if (!TRY(rows.Next())) unlinked.push_back(node);
    }
    TRY(tx.Commit());
  }
  for (const Node& node : unlinked) {
    auto digest = formats::Digest::Parse(node.key);
    if (!digest.ok()) continue;
    auto deleted = blobs_->Delete(*digest);
    if (!deleted.ok() && deleted.error().kind() != ErrorKind::kNotFound) {
      log::Warning("collecting garbage: {}", deleted.error().message());
    }
  }
  for (const auto& [node, references] : graph.nodes) {
    if (!node.snapshotter.empty() || graph.kept.contains(node)) continue;
    ::containerd::events::ContentDelete event;
    event.set_digest(node.key);
    events_->Publish(node.ns, "/content/delete", event);
  }
  return {};
}

Result<> Collector::DeleteSnapshots(const Graph& graph, Collected* collected) {
  // Children first: a snapshot goes when nothing that is left refers to it as its parent.
  std::map<Node, std::vector<Node>> doomed;
  std::map<Node, int> children;
  for (const auto& [node, references] : graph.nodes) {
    if (node.snapshotter.empty() || graph.kept.contains(node)) continue;
    doomed.emplace(node, references);
    for (const Node& reference : references) ++children[reference];
  }
  std::vector<Node> ready;
  for (const auto& [node, references] : doomed) {
    if (children[node] == 0) ready.push_back(node);
  }
  while (!ready.empty()) {
    Node node = std::move(ready.back());
    ready.pop_back();
    for (const Node& reference : doomed[node]) {
      if (--children[reference] == 0 && doomed.contains(reference)) ready.push_back(reference);
    }
    auto snapshotter = snapshotters_.find(node.snapshotter);
    if (snapshotter == snapshotters_.end()) continue;
    auto removed = snapshotter->second->Remove(node.ns, node.key);
    if (!removed.ok()) {
      log::Warning("collecting garbage: {}", removed.error().message());
      continue;
    }
    ++collected->snapshots;
    ::containerd::events::SnapshotRemove event;
    event.set_key(node.key);
    event.set_snapshotter(node.snapshotter);
    events_->Publish(node.ns, "/snapshot/remove", event);
  }
  return {};
}

void Collector::DeleteOldIngests() {
  auto ingests = blobs_->Ingests("");
  if (!ingests.ok()) {
    log::Warning("collecting garbage: {}", ingests.error().message());
    return;
  }
  for (const auto& ingest : *ingests) {
    if (Now() - ingest.updated_at < kIngestLifetime) continue;
    // One that is open right now is refused, and is in use after all.
    auto aborted = blobs_->Abort(ingest.ns, ingest.ref);
    if (!aborted.ok() && aborted.error().kind() != ErrorKind::kUnavailable) {
      log::Warning("collecting garbage: {}", aborted.error().message());
    }
  }
}

Result<> Collector::DeleteBlobUnlessNamed(const formats::Digest& digest) {
  std::unique_lock<std::shared_mutex> exclusive(lock_);
  {
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("SELECT 1 FROM content WHERE digest = ? LIMIT 1", digest.text()));
    if (TRY(rows.Next())) return {};
  }
  return blobs_->Delete(digest);
}

Result<> Collector::RemoveOrphans() {
  std::vector<formats::Digest> orphans;
  {
    auto tx = TRY(database_->Read());
    TRY(blobs_->Walk([&](const content::BlobInfo& blob) -> Result<> {
      auto rows =
          TRY(tx.Query("SELECT 1 FROM content WHERE digest = ? LIMIT 1", blob.digest.text()));
      if (!TRY(rows.Next())) orphans.push_back(blob.digest);
      return {};
    }));
  }
  for (const auto& digest : orphans) TRY(blobs_->Delete(digest));
  return {};
}

}  // namespace gantry::containerd
