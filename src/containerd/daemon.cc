// SPDX-License-Identifier: Apache-2.0
#include "containerd/daemon.h"

#include <grpcpp/impl/service_type.h>

#include <algorithm>
#include <optional>

#include "base/io.h"
#include "base/log.h"
#include "base/pid_file.h"
#include "containerd/call_metrics.h"
#include "containerd/collector.h"
#include "containerd/config.h"
#include "containerd/event_exchange.h"
#include "containerd/event_listener.h"
#include "containerd/event_log.h"
#include "containerd/image_records.h"
#include "containerd/memory_trim.h"
#include "containerd/mount_store.h"
#include "containerd/parts.h"
#include "containerd/proxy_snapshotter.h"
#include "containerd/records.h"
#include "containerd/restart_monitor.h"
#include "containerd/server.h"
#include "containerd/shim_directory.h"
#include "containerd/snapshot_records.h"
#include "containerd/status_server.h"
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
  std::unique_ptr<EventLog> event_log;
  EventExchange events;
  std::unique_ptr<wire::LoopThread> loop;
  std::unique_ptr<MountStore> mounts;
  MemoryTrim memory;
  std::unique_ptr<Collector> collector;
  Streams streams;
  Parts parts{};
  // Its work may hold the shims, so these go first, and it waits for the last of them.
  wire::WorkerPool workers{kMaxWorkers};
  std::shared_ptr<ShimDirectory> shims;
  std::shared_ptr<ShimDirectory> sandboxes;
  std::unique_ptr<EventListener> event_listener;
  CallMetrics calls;
  std::unique_ptr<Server> server;
  std::unique_ptr<StatusServer> status_server;
  std::unique_ptr<RestartMonitor> restart_monitor;

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
  event_log = TRY(EventLog::Open(options.root + "/events"));
  events.SetLog(event_log.get());
  database = TRY(OpenRecords(options.root + "/meta.db"));
  blobs = TRY(content::BlobStore::Open(options.root + "/content"));
  TRY(blobs->RemoveBrokenIngests());
  trash = TRY(snapshots::Trash::Open(options.root + "/trash"));
  TRY(OpenSnapshotters(options));
  parts.root = options.root;
  parts.disabled_plugins = options.disabled_plugins;
  parts.uuid = TRY(ServerUuid(*database));
  parts.database = database.get();
  parts.events = &events;
  parts.workers = &workers;
  parts.streams = &streams;
  parts.blobs = blobs.get();
  mounts = TRY(MountStore::Open(database.get(), options.state + "/mounts", {options.root}));
  parts.mounts = mounts.get();
  parts.registries = options.registries;
  collector = std::make_unique<Collector>(database.get(), &events, blobs.get(), parts.snapshotters,
                                          options.collection);
  parts.collector = collector.get();
  // A collection comes after work, when nothing hurries.
  collector->AfterEach([this] {
    mounts->Collect();
    memory.AfterWork();
  });
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
    std::string uri = "io.containerd.snapshotter.v1." + std::string(snapshotter->name());
    TRY_WITH(snapshotter->Recover(), "recovering snapshotter '{}'", snapshotter->name());
    if (IsDisabled(options, uri)) continue;
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
                        .ttrpc_address = options.TtrpcAddress(),
                        .self = options.self,
                        .debug = options.debug(),
                        .runtimes = options.runtimes};
  shims = ShimDirectory::Create(ShimUse::kTask, roots, settings, &loop->loop(), &events, &workers);
  parts.shims = shims.get();
  roots.kind = kSandboxBundles;
  sandboxes =
      ShimDirectory::Create(ShimUse::kSandbox, roots, settings, &loop->loop(), &events, &workers);
  parts.sandboxes = sandboxes.get();
  event_listener = TRY(EventListener::Start(options.TtrpcAddress(), &loop->loop(), &events));
  TRY(sandboxes->AdoptAll());
  return shims->AdoptAll();
}

Result<> Daemon::State::Serve(const Options& options) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  auto add = [&](const char* name, auto make) {
    if (!IsDisabled(options, std::string("io.containerd.grpc.v1.") + name)) {
      services.push_back(make());
    }
  };
  add("containers", [&] { return MakeContainersService(&parts); });
  add("content", [&] { return MakeContentService(&parts); });
  add("diff", [&] { return MakeDiffService(&parts); });
  add("events", [&] { return MakeEventsService(&parts); });
  add("healthcheck", [&] { return MakeHealthService(); });
  add("images", [&] { return MakeImagesService(&parts); });
  add("introspection", [&] { return MakeIntrospectionService(&parts); });
  add("leases", [&] { return MakeLeasesService(&parts); });
  add("mounts", [&] { return MakeMountsService(&parts); });
  add("namespaces", [&] { return MakeNamespacesService(&parts); });
  add("sandbox-controllers", [&] { return MakeSandboxControllerService(&parts); });
  add("sandboxes", [&] { return MakeSandboxStoreService(&parts); });
  add("snapshots", [&] { return MakeSnapshotsService(&parts); });
  add("streaming", [&] { return MakeStreamingService(&parts); });
  add("tasks", [&] { return MakeTasksService(&parts); });
  add("transfer", [&] { return MakeTransferService(&parts); });
  add("version", [&] { return MakeVersionService(); });
  server = TRY(Server::Start(options, &calls, std::move(services)));
  status_server = TRY(StatusServer::Start(options, &parts, &calls));
  if (!IsDisabled(options, kRestartPlugin)) {
    restart_monitor = RestartMonitor::Start(
        database.get(), [this] { return server->OwnChannel(); }, options.restart_interval);
  }
  return {};
}

Daemon::Daemon(std::unique_ptr<State> state) : state_(std::move(state)) {}
Daemon::~Daemon() = default;

Result<std::unique_ptr<Daemon>> Daemon::Start(const Options& options) {
  auto state = std::make_unique<State>();
  TRY(state->OpenStores(options));
  TRY(state->FindShims(options));
  TRY(state->Serve(options));
  state->memory.AfterWork();
  return std::unique_ptr<Daemon>(new Daemon(std::move(state)));
}

bool Daemon::Stop() {
  state_->restart_monitor.reset();
  return state_->server->Stop();
}

}  // namespace gantry::containerd
