// SPDX-License-Identifier: Apache-2.0
#include "containerd/daemon.h"

#include <grpcpp/impl/service_type.h>

#include <algorithm>
#include <optional>

#include "base/io.h"
#include "base/log.h"
#include "base/pid_file.h"
#include "containerd/collector.h"
#include "containerd/event_exchange.h"
#include "containerd/event_listener.h"
#include "containerd/image_records.h"
#include "containerd/parts.h"
#include "containerd/proxy_snapshotter.h"
#include "containerd/records.h"
#include "containerd/server.h"
#include "containerd/shim_directory.h"
#include "containerd/snapshot_records.h"
#include "containerd/streams.h"
#include "images/import.h"
#include "kernel/btrfs.h"
#include "records/database.h"
#include "snapshots/btrfs_snapshotter.h"
#include "snapshots/native_snapshotter.h"
#include "snapshots/overlayfs_snapshotter.h"
#include "snapshots/trash.h"
#include "wire/loop_thread.h"
#include "wire/worker_pool.h"

namespace gantry::containerd {
namespace {

constexpr size_t kMaxWorkers = 512;

}  // namespace

// Members are destroyed last first: the server before everything that it uses.
struct Daemon::State {
  std::optional<PidFile> pid_file;
  std::optional<PidFile> root_lock;
  std::unique_ptr<Database> database;
  std::unique_ptr<content::BlobStore> blobs;
  std::unique_ptr<snapshots::Trash> trash;
  std::unique_ptr<snapshots::Trash> state_trash;
  std::unique_ptr<snapshots::Trash> btrfs_trash;
  std::vector<std::unique_ptr<snapshots::SnapshotRecords>> snapshot_records;
  std::vector<std::unique_ptr<snapshots::Snapshotter>> snapshotters;
  EventExchange events;
  std::unique_ptr<wire::LoopThread> loop;
  std::unique_ptr<Collector> collector;
  Streams streams;
  Parts parts{};
  // Its work may hold the shims, so these go first, and it waits for the last of them.
  wire::WorkerPool workers{kMaxWorkers};
  std::shared_ptr<ShimDirectory> shims;
  std::unique_ptr<EventListener> event_listener;
  std::unique_ptr<Server> server;

  Result<> OpenStores(const Options& options);
  Result<> OpenSnapshotters(const Options& options);
  Result<> FindShims(const Options& options);
  Result<> Serve(const Options& options);
};

Result<> Daemon::State::OpenStores(const Options& options) {
  TRY(MakeDirectories(options.root, 0700));
  // Containers with a user namespace pass through it to their root.
  TRY(MakeDirectories(options.state, 0711));
  pid_file.emplace(TRY(PidFile::Lock(options.pid_file)));
  // Two daemons with different run directories must not share the data either.
  root_lock.emplace(TRY(PidFile::Lock(options.root + "/lock")));
  database = TRY(OpenRecords(options.root + "/meta.db"));
  blobs = TRY(content::BlobStore::Open(options.root + "/content"));
  trash = TRY(snapshots::Trash::Open(options.root + "/trash"));
  TRY(OpenSnapshotters(options));
  parts.root = options.root;
  parts.uuid = TRY(ServerUuid(*database));
  parts.database = database.get();
  parts.events = &events;
  parts.workers = &workers;
  parts.streams = &streams;
  parts.blobs = blobs.get();
  parts.registries = options.registries;
  collector = std::make_unique<Collector>(database.get(), &events, blobs.get(), parts.snapshotters,
                                          options.collection);
  parts.collector = collector.get();
  TRY(collector->RemoveOrphans());
  // An import that was cut off is never resumed, a pull is: its half layers stay for a day.
  for (const content::IngestStatus& ingest : TRY(blobs->Ingests(""))) {
    if (ingest.ref.starts_with(images::kImportRefPrefix)) {
      TRY(blobs->Abort(ingest.ns, ingest.ref));
    }
  }
  if (TRY(WorkLease::RemoveLeftOver(&parts))) collector->Schedule();
  return {};
}

Result<> Daemon::State::OpenSnapshotters(const Options& options) {
  const std::string root = options.root + "/snapshots";
  auto records = [&](const char* name) {
    return snapshot_records.emplace_back(MakeSnapshotRecords(database.get(), name)).get();
  };
  snapshotters.push_back(TRY(
      snapshots::MakeOverlayfsSnapshotter(root + "/overlayfs", records("overlayfs"), trash.get())));
  snapshotters.push_back(
      TRY(snapshots::MakeNativeSnapshotter(root + "/native", records("native"), trash.get())));
  // Its directory is meant to be a mount of its own, so its trash is in it.
  std::string btrfs = root + "/btrfs";
  TRY(MakeDirectories(btrfs, 0700));
  if (TRY(kernel::IsBtrfs(btrfs))) {
    btrfs_trash = TRY(snapshots::Trash::Open(btrfs + "/trash"));
    snapshotters.push_back(TRY(snapshots::MakeBtrfsSnapshotter(
        btrfs + "/snapshots", records("btrfs"), btrfs_trash.get())));
  }
  for (const ProxySettings& proxy : options.proxy_snapshotters) {
    bool taken = std::any_of(snapshotters.begin(), snapshotters.end(),
                             [&](const auto& other) { return other->name() == proxy.name; });
    if (taken)
      return AlreadyExists("opening proxy snapshotter '{}': the name is taken", proxy.name);
    snapshotters.push_back(MakeProxySnapshotter(proxy, records(proxy.name.c_str())));
  }
  for (auto& snapshotter : snapshotters) {
    TRY_WITH(snapshotter->Recover(), "recovering snapshotter '{}'", snapshotter->name());
    parts.snapshotters.emplace(snapshotter->name(), snapshotter.get());
  }
  return {};
}

Result<> Daemon::State::FindShims(const Options& options) {
  loop = TRY(wire::LoopThread::Start());
  state_trash = TRY(snapshots::Trash::Open(options.state + "/trash"));
  BundleRoots roots{.state = options.state,
                    .root = options.root,
                    .state_trash = state_trash.get(),
                    .root_trash = trash.get()};
  ShimSettings settings{.runtime_dir = options.runtime_dir,
                        .address = options.address,
                        .self = options.self,
                        .debug = options.debug(),
                        .runtimes = options.runtimes};
  shims = ShimDirectory::Create(roots, settings, &loop->loop(), &events, &workers);
  parts.shims = shims.get();
  event_listener = TRY(EventListener::Start(options.address + ".ttrpc", &loop->loop(), &events));
  return shims->AdoptAll();
}

Result<> Daemon::State::Serve(const Options& options) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(MakeContainersService(&parts));
  services.push_back(MakeContentService(&parts));
  services.push_back(MakeDiffService(&parts));
  services.push_back(MakeEventsService(&parts));
  services.push_back(MakeHealthService());
  services.push_back(MakeImagesService(&parts));
  services.push_back(MakeIntrospectionService(&parts));
  services.push_back(MakeLeasesService(&parts));
  services.push_back(MakeNamespacesService(&parts));
  services.push_back(MakeSnapshotsService(&parts));
  services.push_back(MakeStreamingService(&parts));
  services.push_back(MakeTasksService(&parts));
  services.push_back(MakeTransferService(&parts));
  services.push_back(MakeVersionService());
  server = TRY(Server::Start(options.address, std::move(services)));
  return {};
}

Daemon::Daemon(std::unique_ptr<State> state) : state_(std::move(state)) {}
Daemon::~Daemon() = default;

Result<std::unique_ptr<Daemon>> Daemon::Start(const Options& options) {
  auto state = std::make_unique<State>();
  TRY(state->OpenStores(options));
  TRY(state->FindShims(options));
  TRY(state->Serve(options));
  return std::unique_ptr<Daemon>(new Daemon(std::move(state)));
}

bool Daemon::Stop() { return state_->server->Stop(); }

}  // namespace gantry::containerd
