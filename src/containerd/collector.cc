// SPDX-License-Identifier: Apache-2.0
#include "containerd/collector.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "containerd/event_exchange.h"
#include "containerd/events/content.pb.h"
#include "containerd/events/image.pb.h"
#include "containerd/events/snapshot.pb.h"
#include "containerd/names.h"
#include "containerd/records.h"
#include "containerd/rpc.h"

namespace gantry::containerd {

// A blob (snapshotter ""), a snapshot, an image or a container, in a namespace.
struct Node {
  std::string ns;
  std::string snapshotter;  // or one of the two below, which no snapshotter can be named
  std::string key;
  auto operator<=>(const Node&) const = default;
};

namespace {

constexpr auto kIngestLifetime = std::chrono::hours(24);
constexpr std::string_view kRootLabel = "containerd.io/gc.root";
constexpr std::string_view kExpireLabel = "containerd.io/gc.expire";
constexpr std::string_view kFlatLabel = "containerd.io/gc.flat";
constexpr std::string_view kContentReference = "containerd.io/gc.ref.content";
constexpr std::string_view kSnapshotReference = "containerd.io/gc.ref.snapshot.";
constexpr std::string_view kBackReference = "containerd.io/gc.bref.";
constexpr std::string_view kImage = "/image";
constexpr std::string_view kContainer = "/container";
constexpr std::string_view kPinnedLabel = "io.cri-containerd.pinned";
// Deleting an image may free nothing, for a long list of names of one image.
constexpr size_t kMaxPolicyRounds = 10'000;

// This thread's commits are a collection's own, and call for no other one.
thread_local bool collecting = false;

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

// What a label "containerd.io/gc.bref.KIND[.x]" of something names.
std::optional<Node> BackReferenceOf(const std::string& ns, std::string_view name,
                                    const std::string& value) {
  if (!name.starts_with(kBackReference)) return std::nullopt;
  name.remove_prefix(kBackReference.size());
  std::string_view kind = name.substr(0, name.find_first_of("./"));
  if (kind == "content") return Node{ns, "", value};
  if (kind == "image") return Node{ns, std::string(kImage), value};
  if (kind == "container") return Node{ns, std::string(kContainer), value};
  if (kind == "snapshot" && name.size() > kind.size() + 1) {
    name.remove_prefix(kind.size() + 1);
    return Node{ns, std::string(name.substr(0, name.find('/'))), value};
  }
  return std::nullopt;
}

bool CanBeCollected(const Node& node) {
  return node.snapshotter != kImage && node.snapshotter != kContainer;
}

}  // namespace

// Everything that can be collected, with what it refers to, and what must stay.
struct Collector::Graph {
  std::map<Node, std::vector<Node>> nodes;
  std::set<Node> kept;
  size_t expired_leases = 0;
  std::vector<std::pair<std::string, std::string>> expired_images;  // namespace, name

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
      if (found == nodes.end() || !kept.insert(node).second) continue;
      roots.insert(roots.end(), found->second.begin(), found->second.end());
      auto with_it = kept_with.find(node);
      if (with_it == kept_with.end()) continue;
      roots.insert(roots.end(), with_it->second.begin(), with_it->second.end());
    }
    TRY(DeleteExpiredImages(tx));
    kept.insert(flat.begin(), flat.end());
    return {};
  }

 private:
  void AddLabels(const Node& node, const Labels& labels, std::vector<Node>* roots) {
    if (labels.contains(std::string(kRootLabel))) roots->push_back(node);
    AddReferences(node.ns, labels, &nodes[node]);
    for (const auto& [key, value] : labels) {
      if (auto target = BackReferenceOf(node.ns, key, value)) {
        kept_with[*std::move(target)].push_back(node);
      }
    }
  }

  // One that something else keeps, a lease or a back reference, stays.
  Result<> DeleteExpiredImages(Transaction& tx) {
    std::erase_if(expired_images, [&](const auto& image) {
      return kept.contains({image.first, std::string(kImage), image.second});
    });
    for (const auto& [ns, name] : expired_images) {
      TRY(tx.Execute("DELETE FROM images WHERE ns = ? AND name = ?", ns, name));
    }
    return {};
  }

  Result<> LoadContent(Transaction& tx, std::vector<Node>* roots) {
    auto rows = TRY(tx.Query("SELECT ns, digest, labels FROM content"));
    while (TRY(rows.Next())) {
      Node node{rows.Text(0), "", rows.Text(1)};
      AddLabels(node, TRY(DecodeLabels(rows.Bytes(2))), roots);
    }
    return {};
  }

  Result<> LoadSnapshots(Transaction& tx, std::vector<Node>* roots) {
    auto rows = TRY(tx.Query("SELECT ns, snapshotter, key, parent, labels FROM snapshots"));
    while (TRY(rows.Next())) {
      Node node{rows.Text(0), rows.Text(1), rows.Text(2)};
      std::string parent = rows.Text(3);
      if (!parent.empty()) nodes[node].push_back({node.ns, node.snapshotter, parent});
      AddLabels(node, TRY(DecodeLabels(rows.Bytes(4))), roots);
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
      Node node{rows.Text(0), std::string(kImage), image.name()};
      Labels labels = ToLabels(image.labels());
      if (HasExpired(labels)) {
        expired_images.emplace_back(node.ns, node.key);
      } else {
        roots->push_back(node);
      }
      AddLabels(node, labels, roots);
      nodes[node].push_back({node.ns, "", image.target().digest()});
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
      Node node{rows.Text(0), std::string(kContainer), container.id()};
      roots->push_back(node);
      AddLabels(node, ToLabels(container.labels()), roots);
      nodes[node].push_back({node.ns, rows.Text(1), rows.Text(2)});
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
      } else if (type == "images") {
        node.snapshotter = kImage;
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
  // What labels itself as kept while the key is.
  std::map<Node, std::vector<Node>> kept_with;
};

Collector::Collector(Database* database, EventExchange* events, content::BlobStore* blobs,
                     std::map<std::string, snapshots::Snapshotter*> snapshotters,
                     CollectionPolicy policy)
    : database_(database),
      events_(events),
      blobs_(blobs),
      snapshotters_(std::move(snapshotters)),
      policy_(std::move(policy)),
      schedule_(policy_.schedule, SteadyClock::now()),
      thread_([this] { Loop(); }) {
  database_->SetCommitHook([this] { OnCommit(); });
}

Collector::~Collector() {
  database_->SetCommitHook(nullptr);
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wanted_.NotifyAll();
  thread_.join();
}

void Collector::Schedule() {
  MutexLock lock(mutex_);
  if (schedule_.Deleted(SteadyClock::now())) wanted_.NotifyOne();
}

void Collector::OnCommit() {
  if (collecting) return;
  MutexLock lock(mutex_);
  if (schedule_.Changed(SteadyClock::now())) wanted_.NotifyOne();
}

void Collector::Loop() NO_THREAD_SAFETY_ANALYSIS {
  MutexLock lock(mutex_);
  while (!stop_) {
    auto due = schedule_.due();
    auto now = SteadyClock::now();
    if (!due.has_value()) {
      wanted_.Wait(mutex_);
    } else if (now < *due) {
      wanted_.WaitFor(mutex_, *due - now);
    } else {
      mutex_.Unlock();
      auto collected = Collect();
      if (!collected.ok()) {
        log::Failure("collecting garbage: {}", collected.error().message());
      }
      mutex_.Lock();
    }
  }
}

Result<Collected> Collector::Collect() {
  {
    MutexLock lock(mutex_);
    schedule_.Begun();
  }
  auto begin = SteadyClock::now();
  collecting = true;
  auto collected = CollectLocked();
  if (collected.ok() && hook_) hook_();
  collecting = false;
  MutexLock lock(mutex_);
  schedule_.Ended(begin, SteadyClock::now());
  return collected;
}

Result<Collected> Collector::CollectLocked() {
  std::unique_lock<std::shared_mutex> exclusive(lock_);
  Collected collected = TRY(CollectOnce());
  if (policy_.high_bytes > 0) TRY(ApplyPolicy(&collected));
  if (collected.blobs + collected.snapshots + collected.leases + collected.images > 0) {
    log::Debug("collected {} blobs, {} snapshots, {} leases, {} images", collected.blobs,
               collected.snapshots, collected.leases, collected.images);
  }
  return collected;
}

Result<uint64_t> Collector::StoredBytes() {
  auto tx = TRY(database_->Read());
  uint64_t bytes = 0;
  auto blobs =
      TRY(tx.Query("SELECT coalesce(sum(size), 0) FROM (SELECT digest, max(size) AS size "
                   "FROM content GROUP BY digest)"));
  if (TRY(blobs.Next())) bytes += static_cast<uint64_t>(blobs.Int(0));
  auto layers = TRY(tx.Query("SELECT coalesce(sum(bytes), 0) FROM snapshots"));
  if (TRY(layers.Next())) bytes += static_cast<uint64_t>(layers.Int(0));
  return bytes;
}

// The caller holds the lock: what an image loses with its name goes at once, and counts.
Result<> Collector::ApplyPolicy(Collected* collected) {
  if (TRY(StoredBytes()) <= policy_.high_bytes) return {};
  struct Candidate {
    WallTime used_at;
    std::string ns;
    std::string name;
  };
  std::vector<Candidate> candidates;
  {
    auto tx = TRY(database_->Read());
    std::set<std::pair<std::string, std::string>> used;
    auto containers = TRY(tx.Query("SELECT ns, record FROM containers"));
    while (TRY(containers.Next())) {
      containers_api::Container container;
      std::string_view bytes = containers.Bytes(1);
      if (container.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        used.emplace(containers.Text(0), container.image());
      }
    }
    auto rows = TRY(tx.Query("SELECT ns, record FROM images"));
    while (TRY(rows.Next())) {
      images_api::Image image;
      std::string_view bytes = rows.Bytes(1);
      if (!image.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) continue;
      std::string ns = rows.Text(0);
      auto pinned = image.labels().find(std::string(kPinnedLabel));
      bool stays = used.contains({ns, image.name()}) || policy_.pins.contains(image.name()) ||
                   (pinned != image.labels().end() && pinned->second == "pinned");
      WallTime used_at = FromProto(image.updated_at());
      if (!stays && Now() - used_at >= policy_.keep_for) {
        candidates.push_back({used_at, std::move(ns), image.name()});
      }
    }
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.used_at < b.used_at; });
  if (candidates.size() > kMaxPolicyRounds) candidates.resize(kMaxPolicyRounds);
  for (const Candidate& image : candidates) {
    {
      auto tx = TRY(database_->Begin());
      TRY(tx.Execute("DELETE FROM images WHERE ns = ? AND name = ?", image.ns, image.name));
      TRY(tx.Commit());
    }
    log::Info("removed image '{}' of namespace '{}': the store is over its high water mark",
              image.name, image.ns);
    PublishImageDelete(image.ns, image.name);
    ++collected->images;
    Collected more = TRY(CollectOnce());
    collected->blobs += more.blobs;
    collected->snapshots += more.snapshots;
    if (TRY(StoredBytes()) <= policy_.low_bytes) break;
  }
  return {};
}

void Collector::PublishImageDelete(const std::string& ns, const std::string& name) {
  images_api::ImageDelete event;
  event.set_name(name);
  events_->Publish(ns, "/images/delete", event);
}

Result<Collected> Collector::CollectOnce() {
  Graph graph;
  Collected collected;
  {
    auto tx = TRY(database_->Begin());
    TRY(graph.Load(tx));
    TRY(tx.Commit());
  }
  collected.leases = graph.expired_leases;
  collected.images = graph.expired_images.size();
  for (const auto& [ns, name] : graph.expired_images) PublishImageDelete(ns, name);
  TRY(DeleteSnapshots(graph, &collected));
  TRY(DeleteContent(graph, &collected));
  DeleteOldIngests();
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
      if (!TRY(rows.Next()) && !IsBorrowed(node.key)) unlinked.push_back(node);
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
    if (node.snapshotter.empty() || !CanBeCollected(node) || graph.kept.contains(node)) continue;
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

Result<bool> Collector::IsLeasedIngest(const content::IngestStatus& ingest) {
  auto tx = TRY(database_->Read());
  auto rows = TRY(
      tx.Query("SELECT 1 FROM lease_resources WHERE ns = ? AND type = 'ingests' AND id = ? LIMIT 1",
               ingest.ns, ingest.ref));
  return TRY(rows.Next());
}

void Collector::DeleteOldIngests() {
  auto ingests = blobs_->Ingests("");
  if (!ingests.ok()) {
    log::Warning("collecting garbage: {}", ingests.error().message());
    return;
  }
  for (const auto& ingest : *ingests) {
    if (Now() - ingest.updated_at < kIngestLifetime) continue;
    auto leased = IsLeasedIngest(ingest);
    if (!leased.ok()) log::Warning("collecting garbage: {}", leased.error().message());
    if (!leased.ok() || *leased) continue;
    // One that is open right now is refused, and is in use after all.
    auto aborted = blobs_->AbortUnlessOpen(ingest.ns, ingest.ref);
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
    if (TRY(rows.Next()) || IsBorrowed(digest.text())) return {};
  }
  return blobs_->Delete(digest);
}

Result<std::shared_ptr<Collector::BorrowedBlob>> Collector::Borrow(const formats::Digest& digest) {
  auto guard = Hold();
  auto found = blobs_->Stat(digest);
  if (!found.ok() && found.error().kind() == ErrorKind::kNotFound) {
    return std::shared_ptr<BorrowedBlob>();
  }
  content::BlobInfo info = TRY(std::move(found));
  MutexLock lock(mutex_);
  borrowed_.insert(digest.text());
  return std::make_shared<BorrowedBlob>(this, std::move(info));
}

Collector::BorrowedBlob::~BorrowedBlob() {
  {
    MutexLock lock(collector_->mutex_);
    collector_->borrowed_.erase(collector_->borrowed_.find(info_.digest.text()));
  }
  auto deleted = collector_->DeleteBlobUnlessNamed(info_.digest);
  if (!deleted.ok() && deleted.error().kind() != ErrorKind::kNotFound) {
    log::Warning("giving a borrowed blob back: {}", deleted.error().message());
  }
}

bool Collector::IsBorrowed(const std::string& digest) {
  MutexLock lock(mutex_);
  return borrowed_.contains(digest);
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
