// SPDX-License-Identifier: Apache-2.0
//
// Garbage collection: content and snapshots that nothing refers to are removed. Roots are images,
// leases that have not expired, containers' snapshots, and whatever is labelled
// containerd.io/gc.root; from there on it follows containerd.io/gc.ref.* labels, the parents of
// snapshots, and containerd.io/gc.bref.* labels backwards: what has one is kept with what it names.
// An image whose containerd.io/gc.expire has passed is no root and goes away.
//
// With a policy, images go as well when the store grows over its high water mark: those that were
// pulled or updated longest ago first, until it is below the low one. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/mutex.h"
#include "containerd/collection_schedule.h"
#include "content/blob_store.h"
#include "records/database.h"
#include "snapshots/snapshotter.h"

namespace gantry::containerd {

using records::Blob;
using records::Database;
using records::Rows;
using records::Transaction;

class EventExchange;

struct Collected {
  size_t blobs = 0;
  size_t snapshots = 0;
  size_t leases = 0;
  size_t images = 0;
};

// When images that nobody removed are removed.
struct CollectionPolicy {
  uint64_t high_bytes = 0;  // of blobs and committed snapshots together; 0: never
  uint64_t low_bytes = 0;
  // Not before an image has this age. Images that a container names, that are pinned here by name,
  // or that have CRI's label io.cri-containerd.pinned=pinned, stay in any case.
  std::chrono::seconds keep_for{0};
  std::set<std::string> pins;
  ScheduleSettings schedule;
};

class Collector {
 public:
  Collector(Database* database, EventExchange* events, content::BlobStore* blobs,
            std::map<std::string, snapshots::Snapshotter*> snapshotters,
            CollectionPolicy policy = {});
  ~Collector();

  // While it is held nothing is collected. Whoever makes something that only becomes reachable by
  // what comes next (a blob and its record, a container and the snapshot that it names) holds it
  // over both.
  std::shared_lock<std::shared_mutex> Hold() { return std::shared_lock<std::shared_mutex>(lock_); }
  // Something was deleted: collects soon, in the background.
  void Schedule();
  // Collects now. Blocks.
  Result<Collected> Collect();
  // `hook` runs after each collection, with nothing held. Set once, before the first one.
  void AfterEach(std::function<void()> hook) { hook_ = std::move(hook); }
  // Deletes the blob's file unless a record names it or it is borrowed. Blocks.
  Result<> DeleteBlobUnlessNamed(const formats::Digest& digest);

  // A blob that somebody is going to record, and that is therefore not deleted though the last
  // record of another goes meanwhile. Its end deletes it when no record came after all; blocks.
  class BorrowedBlob {
   public:
    BorrowedBlob(Collector* collector, content::BlobInfo info)
        : collector_(collector), info_(std::move(info)) {}
    ~BorrowedBlob();
    BorrowedBlob(const BorrowedBlob&) = delete;
    BorrowedBlob& operator=(const BorrowedBlob&) = delete;
    const content::BlobInfo& info() const { return info_; }

   private:
    Collector* const collector_;
    const content::BlobInfo info_;
  };
  // Null when there is no such blob on disk.
  Result<std::shared_ptr<BorrowedBlob>> Borrow(const formats::Digest& digest);

  // Once at start: removes blobs that no record names, left by a crash.
  Result<> RemoveOrphans();

 private:
  struct Graph;
  Result<Collected> CollectOnce();
  Result<> ApplyPolicy(Collected* collected);
  Result<uint64_t> StoredBytes();
  void PublishImageDelete(const std::string& ns, const std::string& name);
  Result<> DeleteContent(const Graph& graph, Collected* collected);
  Result<> DeleteSnapshots(const Graph& graph, Collected* collected);
  Result<Collected> CollectLocked();
  // A lease holds it, however long nobody goes on with it.
  Result<bool> IsLeasedIngest(const content::IngestStatus& ingest);
  void DeleteOldIngests();
  bool IsBorrowed(const std::string& digest);
  void OnCommit();
  void Loop();

  Database* database_;
  EventExchange* events_;
  content::BlobStore* blobs_;
  const std::map<std::string, snapshots::Snapshotter*> snapshotters_;
  const CollectionPolicy policy_;
  std::function<void()> hook_;
  std::shared_mutex lock_;

  Mutex mutex_;
  std::multiset<std::string> borrowed_ GUARDED_BY(mutex_);
  CondVar wanted_;
  CollectionSchedule schedule_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace gantry::containerd
