// SPDX-License-Identifier: Apache-2.0
//
// POST /containers/create: the record first, then the container's directory and writable snapshot.
// The record says "removing" until all of it is there: what a crash leaves is removed by the next
// start, and its name is free.
#include <unistd.h>

#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "engine/container_names.h"
#include "engine/engine.h"
#include "engine/mount_points.h"
#include "engine/oci_spec.h"
#include "engine/port_bindings.h"
#include "engine/signals.h"
#include "engine/stdio_uri.h"
#include "engine/store.h"
#include "formats/reference.h"

namespace gantry::engine {
namespace {

constexpr size_t kIdBytes = 32;
constexpr size_t kShortId = 12;
constexpr size_t kHostNameMax = 64;

std::string HostName() {
  char name[kHostNameMax + 1] = {};
  CHECK(::gethostname(name, kHostNameMax) == 0);
  return name;
}

// An id that is all digits could be taken for a number, so docker avoids it.
std::string NewContainerId() {
  for (;;) {
    std::string id = RandomHex(kIdBytes);
    if (id.substr(0, kShortId).find_first_not_of("0123456789") != std::string::npos) return id;
  }
}

}  // namespace

Result<ContainerRecord> Engine::MakeRecord(CreateRequest request) {
  ContainerRecord record;
  if (request.config.image.empty()) {
    return InvalidArgument("config cannot be empty in order to create a container");
  }
  NamedImage image = TRY(images_->Resolve(request.config.image));
  record.id = NewContainerId();
  record.created = WallClock::now();
  record.config = std::move(request.config);
  record.host = std::move(request.host_config);
  record.networking = std::move(request.networking_config);
  record.image_id = image.documents->id;
  record.image_name = image.image.name;
  record.parent_snapshot = image.documents->top_chain_id;
  TRY(MergeImageConfig(image.documents->config_json["config"], &record.config));
  TRY(CheckHostConfig(record.config, record.host));
  ApplyHostDefaults(unified_cgroups_, &record.host);
  if (record.config.entrypoint.words.empty() && record.config.cmd.words.empty()) {
    return InvalidArgument("no command specified");
  }
  // Everything that can be wrong without the container being there is said now.
  TRY(ParseMountPoints(record.host));
  TRY(ParsePortBindings(record.config, record.host));
  TRY(MakeCapabilities(record.host));
  if (!record.config.stop_signal.empty()) TRY(ParseSignal(record.config.stop_signal));
  TRY(MakeStdioUri(record, "", ""));
  bool host_name = record.host.network_mode == "host" || record.host.uts_mode == "host";
  if (!record.config.hostname.empty()) {
    record.hostname = record.config.hostname;
  } else {
    record.hostname = host_name ? HostName() : record.id.substr(0, kShortId);
  }
  record.config.hostname = record.hostname;
  return record;
}

Result<Engine::Created> Engine::CreateContainer(std::string name, CreateRequest request) {
  if (!name.empty()) {
    if (name.starts_with('/') && name.size() > 1) name.erase(0, 1);
    TRY(CheckContainerName(name));
  }
  StartTrace trace("engine");
  ContainerRecord record = TRY(MakeRecord(std::move(request)));
  trace.Lap("check the request");
  const std::string id = record.id;
  record.name = name.empty() ? MakeName() : name;
  TRY(ReserveName(record.name, id));
  Undo undo;
  undo.Push([this, name = record.name, id] { ReleaseName(name, id); });

  record.state.phase = Phase::kRemoving;
  undo.Push([this, &record] { DropHalfMade(record); });
  TRY(store_->PutContainer(record));
  TRY(MakeDirectories(ContainerDirectory(id), 0710));
  std::vector<client::Mount> mounts = TRY_WITH(
      containerd_->PrepareSnapshot(options_.snapshotter, id, record.parent_snapshot,
                                   {{"containerd.io/gc.root", FormatRfc3339Nano(record.created)}}),
      "preparing the writable layer");
  trace.Lap("record, writable layer");
  ContainerRecord whole = record;
  whole.state.phase = Phase::kCreated;
  TRY(store_->PutContainer(whole));
  undo.Commit();

  record = std::move(whole);
  auto container = std::make_shared<Container>(std::move(record));
  Insert(container);
  {
    MutexLock lock(mutex_);
    fresh_mounts_.emplace(id, std::move(mounts));
  }
  trace.Lap("second record");
  start_traces_.Add(id, trace.TakeSteps());
  Publish("create", *container->record());
  return Created{id, {}};
}

// A snapshot may be there although the call for it failed, so a removal that fails as well is left
// to the next comparison.
void Engine::DropHalfMade(const ContainerRecord& record) {
  auto container = std::make_shared<Container>(record);
  auto turn = container->TakeTurn();
  Insert(container);
  Result<> removed = FinishRemoval(record);
  if (!removed.ok()) log::Warning("removing {}: {}", record.id, removed.error().message());
}

}  // namespace gantry::engine
