// SPDX-License-Identifier: Apache-2.0
//
// What the services share, wired by main.cc, and the services themselves: one file each, made by
// one function each. All outlive the gRPC server. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "content/blob_store.h"
#include "images/apply_layer.h"
#include "snapshots/snapshotter.h"

namespace grpc {
class Service;
}
namespace gantry::records {
class Database;
}
namespace gantry::wire {
class WorkerPool;
}

namespace gantry::containerd {

class Collector;
class EventExchange;
class MountStore;
class ShimDirectory;
class Streams;

// How registries are asked, and what is taken from them.
struct RegistrySettings {
  std::string hosts_directory = "/etc/containerd/certs.d:/etc/docker/certs.d";
  std::chrono::seconds stall_timeout{60};
  int parallel_layers = 3;
  int parallel_parts = 2;  // connections for one large layer
  uint64_t max_layer_bytes = images::kMaxLayerBytes;
};

struct Parts {
  std::string root;  // data of this daemon
  std::string uuid;
  std::vector<std::string> disabled_plugins;
  records::Database* database;
  EventExchange* events;
  wire::WorkerPool* workers;
  content::BlobStore* blobs;
  // By name; the first one is the default.
  std::map<std::string, snapshots::Snapshotter*> snapshotters;
  Collector* collector;
  ShimDirectory* shims;      // of tasks
  ShimDirectory* sandboxes;  // of sandboxes
  MountStore* mounts;
  Streams* streams;
  RegistrySettings registries;
};

inline constexpr const char* kDefaultSnapshotter = "overlayfs";
// kInvalidArgument for a name that is not there; "" is the default.
Result<snapshots::Snapshotter*> FindSnapshotter(const Parts& parts, const std::string& name);

std::unique_ptr<grpc::Service> MakeContainersService(Parts* parts);
std::unique_ptr<grpc::Service> MakeContentService(Parts* parts);
std::unique_ptr<grpc::Service> MakeDiffService(Parts* parts);
std::unique_ptr<grpc::Service> MakeEventsService(Parts* parts);
std::unique_ptr<grpc::Service> MakeHealthService();
std::unique_ptr<grpc::Service> MakeImagesService(Parts* parts);
std::unique_ptr<grpc::Service> MakeIntrospectionService(Parts* parts);
std::unique_ptr<grpc::Service> MakeLeasesService(Parts* parts);
std::unique_ptr<grpc::Service> MakeMountsService(Parts* parts);
std::unique_ptr<grpc::Service> MakeNamespacesService(Parts* parts);
std::unique_ptr<grpc::Service> MakeSandboxControllerService(Parts* parts);
std::unique_ptr<grpc::Service> MakeSandboxStoreService(Parts* parts);
std::unique_ptr<grpc::Service> MakeSnapshotsService(Parts* parts);
std::unique_ptr<grpc::Service> MakeStreamingService(Parts* parts);
std::unique_ptr<grpc::Service> MakeTasksService(Parts* parts);
std::unique_ptr<grpc::Service> MakeTransferService(Parts* parts);
std::unique_ptr<grpc::Service> MakeVersionService();

}  // namespace gantry::containerd
