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
#include "base/text.h"
#include "base/undo.h"
#include "engine/container_names.h"
#include "engine/engine.h"
#include "engine/image_platforms.h"
#include "engine/images.h"
#include "engine/init_layer.h"
#include "engine/namespace_modes.h"
#include "engine/oci_spec.h"
#include "engine/port_bindings.h"
#include "engine/security_options.h"
#include "engine/store.h"
#include "formats/reference.h"
#include "logs/options.h"

namespace gantry::engine {
namespace {

constexpr size_t kIdBytes = 32;
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
    if (ShortId(id).find_first_not_of("0123456789") != std::string::npos) return id;
  }
}

}  // namespace

HostFacts Engine::Facts() const {
  HostFacts facts = facts_;
  Result<std::string> forwards = ReadFile("/proc/sys/net/ipv4/ip_forward");
  facts.forwards_ipv4 = !forwards.ok() || forwards->starts_with('1');
  facts.runtimes = RuntimeNames(*settings());
  facts.remaps_users = options_.remap.has_value();
  facts.layer_quotas = layer_quotas_;
  return facts;
}

// A mode that names another container holds on to its id, so that a rename breaks nothing. As
// docker has it, only the one whose network is joined may come later.
Result<> Engine::PinModes(HostConfig* host) const {
  for (std::string* mode : {&host->pid_mode, &host->ipc_mode, &host->network_mode}) {
    std::string name = ContainerOfMode(*mode);
    if (name.empty()) continue;
    auto other = Find(name);
    if (other.ok()) {
      *mode = fmt::format("{}{}", kContainerMode, (*other)->id());
    } else if (mode != &host->network_mode) {
      return InvalidArgument("{}", other.error().message());
    }
  }
  return {};
}

Result<NamedImage> Engine::ImageFor(const CreateRequest& request, Warnings* warnings) {
  if (!request.platform.empty()) {
    oci::Platform wanted = TRY(oci::ParsePlatform(request.platform));
    auto chosen = images_->Resolve(request.config.image, &wanted);
    if (chosen.ok() || chosen.error().kind() != ErrorKind::kNotFound) return chosen;
  }
  NamedImage image = TRY(images_->Resolve(request.config.image));
  const oci::Platform& has = image.documents->config.platform;
  if (!request.platform.empty()) {
    oci::Platform wanted = TRY(oci::ParsePlatform(request.platform));
    if (oci::MatchPlatform(wanted, has) == 0) {
      return NotFound(
          "image with reference {} was found but its platform ({}) does not match the specified "
          "platform ({})",
          request.config.image, has.ToString(), wanted.ToString());
    }
    return image;
  }
  oci::Platform host = oci::HostPlatform();
  if (oci::MatchPlatform(host, has) == 0) {
    warnings->push_back(fmt::format(
        "The requested image's platform ({}) does not match the detected host platform ({}) and no "
        "specific platform was requested",
        has.ToString(), host.ToString()));
  }
  return image;
}

Result<ContainerRecord> Engine::MakeRecord(CreateRequest request, Warnings* warnings) {
  ContainerRecord record;
  if (request.config.image.empty() && !request.build_parent) {
    return InvalidArgument("config cannot be empty in order to create a container");
  }
  if (request.host_config.pids_limit.value_or(0) <= 0) request.host_config.pids_limit.reset();
  *warnings = TRY(CheckCreate(Facts(), &request.config, &request.host_config));
  NamedImage image;
  if (!request.build_parent) image = TRY(ImageFor(request, warnings));
  record.id = NewContainerId();
  record.created = WallClock::now();
  record.config = std::move(request.config);
  record.host = std::move(request.host_config);
  record.networking = std::move(request.networking_config);
  if (request.build_parent) {
    record.for_build = true;
    record.image_id = request.build_parent->image_id;
    record.parent_snapshot = request.build_parent->snapshot;
  } else {
    record.image_id = image.documents->id;
    record.image_name = image.image.name;
    record.parent_snapshot = InitLayerName(image.documents->top_chain_id);
    TRY(MergeImageConfig(image.documents->container_config(), &record.config));
  }
  // How `--entrypoint ''` says that there shall be none, nor the image's.
  std::vector<std::string>& entrypoint = record.config.entrypoint.words;
  if (entrypoint.size() == 1 && entrypoint[0].empty()) entrypoint.clear();
  TRY(PinModes(&record.host));
  ApplySettings(*settings(), &record.host);
  ApplyHostDefaults(unified_cgroups_, &record.host);
  TRY(SettleNetworks(&record));
  TRY(CheckLinks(record));
  if (record.config.entrypoint.words.empty() && record.config.cmd.words.empty()) {
    return InvalidArgument("no command specified");
  }
  // Everything that can be wrong without the container being there is said now.
  TRY(MakeMountPoints(request.read_only_non_recursive, &record));
  TRY(ParsePortBindings(record.config, record.host));
  TRY(RuntimeOf(record.host));
  for (const std::string& port : record.config.exposed_ports.names) TRY(ParseContainerPort(port));
  TRY(CheckSecurityOptions(record.host));
  TRY(logs::CheckOptions(record.host.log_config.type, record.host.log_config.config));
  if (!record.config.hostname.empty()) {
    record.hostname = record.config.hostname;
  } else {
    bool host_name = record.host.network_mode == "host" || record.host.uts_mode == "host";
    record.hostname = host_name ? HostName() : ShortId(record.id);
  }
  record.config.hostname = record.hostname;
  return record;
}

Result<std::vector<client::Mount>> Engine::PrepareWritable(const ContainerRecord& record) {
  client::Labels labels = {{"containerd.io/gc.root", FormatRfc3339Nano(record.created)}};
  int64_t quota = TRY(LayerQuota(record.host.storage_opt));
  if (!record.host.storage_opt.contains("size") && !record.for_build) quota = options_.layer_bytes;
  if (quota > 0) labels[client::kQuotaLabel] = std::to_string(quota);
  auto prepare = [&] {
    return containerd_->PrepareSnapshot(options_.snapshotter, record.id, record.parent_snapshot,
                                        labels);
  };
  auto mounts = prepare();
  bool missing = !mounts.ok() && mounts.error().kind() == ErrorKind::kNotFound;
  if (!missing || record.for_build) return mounts;
  // Most images are unpacked and have had containers, so this is asked only when it fails.
  NamedImage image = TRY(images_->Resolve(record.image_name));
  for (PlatformImage& one : TRY(ListPlatforms(*this, image.image.target))) {
    bool ours = one.documents && one.documents->id == record.image_id;
    if (ours) image.documents = std::move(one.documents);
  }
  TRY(EnsureUnpacked(*this, image));
  TRY_WITH(MakeInitLayer(*this, *image.documents), "making the init layer");
  return prepare();
}

Result<Engine::Created> Engine::CreateContainer(std::string name, CreateRequest request) {
  if (!name.empty()) {
    if (name.starts_with('/') && name.size() > 1) name.erase(0, 1);
    TRY(CheckContainerName(name));
  }
  StartTrace trace("engine");
  ActionTimer timer(action_times_, "create");
  Warnings warnings;
  std::shared_ptr<const StepInputs> inputs =
      request.build_parent ? request.build_parent->inputs : nullptr;
  ContainerRecord record = TRY(MakeRecord(std::move(request), &warnings));
  // Until the record names the image for all to see.
  auto hold = record.for_build ? std::nullopt : image_holds_.Take(record.image_id);
  if (!record.for_build && !hold) return NotFound("No such image: {}", record.config.image);
  trace.Lap("check the request");
  const std::string id = record.id;
  record.name = name.empty() ? MakeName() : name;
  TRY(ReserveName(record.name, id));
  Undo undo;
  undo.Push([this, name = record.name, id] { ReleaseName(name, id); });

  record.state.phase = Phase::kRemoving;
  record.state.removes_volumes = true;
  undo.Push([this, &record] { DropHalfMade(record); });
  TRY(store_->PutContainer(record));
  TRY(MakeDirectories(ContainerDirectory(id), 0710));
  std::vector<client::Mount> mounts =
      TRY_WITH(PrepareWritable(record), "preparing the writable layer");
  if (!record.for_build) TRY(MakeWorkingDirectory(record, mounts));
  TRY(CreateVolumesOf(&record));
  TRY(PopulateVolumes(record, mounts));
  trace.Lap("record, writable layer");
  ContainerRecord whole = record;
  whole.state.phase = Phase::kCreated;
  whole.state.removes_volumes = false;
  Event event = ContainerEvent("create", whole);
  TRY(store_->PutContainer(whole, &event));
  undo.Commit();

  record = std::move(whole);
  any_links_ = any_links_ || !record.host.links.empty();
  auto container = std::make_shared<Container>(std::move(record), std::move(inputs));
  Insert(container);
  {
    MutexLock lock(mutex_);
    fresh_mounts_.emplace(id, std::move(mounts));
  }
  trace.Lap("second record");
  start_traces_.Add(id, trace.TakeSteps());
  Publish(std::move(event));
  timer.Done();
  return Created{id, std::move(warnings)};
}

Result<> Engine::KeepStepContainer(const std::string& id) {
  auto container = TRY(Find(id));
  container->Update([](ContainerRecord& record) { record.for_build = false; });
  container->DropInputs();
  return Save(*container);
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
