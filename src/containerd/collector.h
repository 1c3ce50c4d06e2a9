// SPDX-License-Identifier: Apache-2.0
//
// Garbage collection: content and snapshots that nothing refers to are removed. Roots are images,
// leases that have not expired, containers' snapshots, and whatever is labelled
// containerd.io/gc.root; from there on it follows containerd.io/gc.ref.* labels and the parents of
// snapshots. Any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/mutex.h"
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
};

class Collector {
 public:
  Collector(Database* database, EventExchange* events, content::BlobStore* blobs,
            std::map<std::string, snapshots::Snapshotter*> snapshotters);
  ~Collector();

  // While it is held nothing is collected. Whoever makes something that only becomes reachable by
  // what comes next (a blob and its record, a container and the snapshot that it names) holds it
  // over both.
  std::shared_lock<std::shared_mutex> Hold() { return std::shared_lock<std::shared_mutex>(lock_); }
  // Collects soon, in the background.
  void Schedule();
  // Collects now. Blocks.
  Result<Collected> Collect();
  // `hook` runs after each collection, with nothing held. Set once, before the first one.
  void AfterEach(std::function<void()> hook) { hook_ = std::move(hook); }
  // Deletes the blob's file unless a record names it. Blocks.
  Result<> DeleteBlobUnlessNamed(const formats::Digest& digest);
  // Once at start: removes blobs that no record names, left by a crash.
  Result<> RemoveOrphans();

 private:
  struct Graph;
  Result<> DeleteContent(const Graph& graph, Collected* collected);
  Result<> DeleteSnapshots(const Graph& graph, Collected* collected);
  Result<Collected> CollectLocked();
  void DeleteOldIngests();
  void Loop();

  Database* database_;
  EventExchange* events_;
  content::BlobStore* blobs_;
  const std::map<std::string, snapshots::Snapshotter*> snapshotters_;
  std::function<void()> hook_;
  std::shared_mutex lock_;

  Mutex mutex_;
  CondVar wanted_;
  bool due_ GUARDED_BY(mutex_) = false;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace gantry::containerd
