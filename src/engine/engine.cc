// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/container_names.h"
#include "engine/links.h"
#include "engine/store.h"
#include "kernel/mapped_mount.h"
#include "kernel/spread.h"
#include "logs/options.h"

namespace gantry::engine {
namespace {

constexpr mode_t kPrivate = 0700;

Result<> MakeStateDirectories(const EngineOptions& options) {
  for (const char* name : {"", "/engine", "/engine/trash", "/containers"}) {
    TRY(MakeDirectories(options.root + name, kPrivate));
  }
  TRY(kernel::SpreadSubdirectories(options.root + "/containers"));
  for (const char* name : {"", "/io", "/netns", "/shm"}) {
    TRY(MakeDirectories(options.state + name, kPrivate));
  }
  return {};
}

Result<HostFacts> ReadHostFacts() {
  HostFacts facts;
  facts.cgroups = TRY(ReadCgroupFeatures());
  facts.cgroup_namespaces = PathExists("/proc/self/ns/cgroup");
  facts.cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  return facts;
}

// Roots and volumes are shown with other owners than they have on disk.
Result<> CheckRemap(const UserRemap& remap, const std::string& root) {
  Result<> mapped = kernel::CheckMapping(root, {MapLines(remap.uids), MapLines(remap.gids)});
  if (mapped.ok()) return {};
  return FailedPrecondition(
      "userns-remap: the file system of '{}' can't be shown with other ids (hint: ext4, xfs, btrfs "
      "and tmpfs can, from Linux 5.19 on): {}",
      root, mapped.error().message());
}

}  // namespace

Engine::Engine(EngineOptions options, wire::WorkerPool& workers)
    : options_(std::move(options)),
      workers_(workers),
      settings_(std::make_shared<const Settings>(options_.settings)) {}

Engine::~Engine() { Shutdown(); }

Result<std::unique_ptr<Engine>> Engine::Create(EngineOptions options, wire::WorkerPool& workers) {
  std::unique_ptr<Engine> engine(new Engine(std::move(options), workers));
  const EngineOptions& set = engine->options_;
  TRY(MakeStateDirectories(set));
  engine->unified_cgroups_ = PathExists("/sys/fs/cgroup/cgroup.controllers");
  engine->facts_ = TRY(ReadHostFacts());
  if (set.remap) TRY(CheckRemap(*set.remap, set.root));
  engine->store_ = TRY(Store::Open(set.root + "/engine/engine.db"));
  engine->timers_ = TRY(wire::LoopThread::Start());
  engine->containerd_ =
      client::Containerd::Create(set.containerd_address, set.containerd_namespace);
  engine->images_ = std::make_unique<ImageIndex>(*engine->containerd_);
  engine->image_sizes_ =
      std::make_unique<ImageSizes>(*engine->containerd_, engine->options_.snapshotter);
  networks::Options networks = set.networks;
  if (networks.pools6.empty()) networks.pools6 = networks::DefaultSubnetPools6(set.engine_id);
  networks.run_directory = set.state;
  networks.proxy_binary = set.programs_directory + "/gantry-proxy";
  networks.records = engine->store_.get();
  networks.plugins = &engine->plugins_;
  engine->networks_ = TRY(networks::Controller::Create(std::move(networks)));
  volumes::Options volumes;
  volumes.root = set.root + "/volumes";
  volumes.run = set.state + "/volumes";
  volumes.discard = [raw = engine.get()](const std::string& path) { return raw->Discard(path); };
  volumes.records = engine->store_.get();
  engine->volumes_ = TRY(volumes::Volumes::Open(std::move(volumes)));
  TRY(engine->LoadContainers());
  return engine;
}

Result<> Engine::LoadContainers() {
  for (ContainerRecord& record : TRY(store_->ListContainers())) {
    bool named = record.state.phase != Phase::kRemoving;
    if (!record.networking.settled) TRY(SettleNetworks(&record));
    auto container = std::make_shared<Container>(std::move(record));
    Container::RecordPointer loaded = container->record();
    any_links_ = any_links_ || !loaded->host.links.empty();
    if (named) TRY(ReserveName(loaded->name, loaded->id));
    for (const MountPoint& point : loaded->mounts) {
      if (point.type == "volume") volumes_->AddUser(point.name, loaded->id);
    }
    Insert(std::move(container));
  }
  return {};
}

void Engine::Shutdown() {
  std::unique_ptr<client::Subscription> subscription;
  {
    MutexLock lock(mutex_);
    shutting_down_ = true;
    subscription = std::move(subscription_);
  }
}

std::shared_ptr<const Settings> Engine::settings() const {
  MutexLock lock(settings_mutex_);
  return settings_;
}

void Engine::SetSettings(Settings settings) {
  auto fresh = std::make_shared<const Settings>(std::move(settings));
  MutexLock lock(settings_mutex_);
  settings_ = std::move(fresh);
}

bool Engine::ShuttingDown() const {
  MutexLock lock(mutex_);
  return shutting_down_;
}

void Engine::Insert(std::shared_ptr<Container> container) {
  MutexLock lock(mutex_);
  by_id_.emplace(container->id(), std::move(container));
}

void Engine::Forget(const ContainerRecord& record) {
  MutexLock lock(mutex_);
  by_id_.erase(record.id);
  fresh_mounts_.erase(record.id);
  auto name = id_by_name_.find(record.name);
  if (name != id_by_name_.end() && name->second == record.id) id_by_name_.erase(name);
}

Result<> Engine::ReserveName(const std::string& name, const std::string& id) {
  MutexLock lock(mutex_);
  auto [entry, added] = id_by_name_.emplace(name, id);
  if (added) return {};
  return AlreadyExists(
      "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to "
      "remove (or rename) that container to be able to reuse that name.",
      name, entry->second);
}

void Engine::ReleaseName(const std::string& name, const std::string& id) {
  MutexLock lock(mutex_);
  auto entry = id_by_name_.find(name);
  if (entry != id_by_name_.end() && entry->second == id) id_by_name_.erase(entry);
}

std::string Engine::MakeName() const {
  MutexLock lock(mutex_);
  for (int attempt = 0;; ++attempt) {
    std::string name = RandomContainerName(attempt);
    if (!id_by_name_.contains(name)) return name;
  }
}

Result<> Engine::Save(const Container& container, const Event* untold, const std::string& subject) {
  return store_->PutContainer(*container.record(), untold, subject);
}

std::vector<std::shared_ptr<Container>> Engine::All() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Container>> out;
  out.reserve(by_id_.size());
  for (const auto& [id, container] : by_id_) out.push_back(container);
  return out;
}

std::shared_ptr<Container> Engine::FindById(const std::string& id) const {
  MutexLock lock(mutex_);
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

Result<std::shared_ptr<Container>> Engine::Find(std::string_view reference) const {
  auto found = TRY(FindAny(reference));
  // One with --rm is there until it is tidied up: some clients ask for its exit only after the
  // start, when a short one may be over.
  bool hidden = found->removed() && !found->record()->host.auto_remove;
  if (hidden) return NotFound("No such container: {}", reference);
  return found;
}

Result<std::shared_ptr<Container>> Engine::FindAny(std::string_view reference) const {
  auto missing = [&] { return NotFound("No such container: {}", reference); };
  if (reference.empty()) return missing();
  std::string_view name = reference.starts_with('/') ? reference.substr(1) : reference;
  if (name.find('/') != std::string_view::npos) return FindLinked(name);
  MutexLock lock(mutex_);
  auto exact = by_id_.find(reference);
  if (exact != by_id_.end()) return exact->second;
  auto named = id_by_name_.find(name);
  if (named != id_by_name_.end()) {
    auto found = by_id_.find(named->second);
    // A name is reserved a moment before its container is there.
    if (found == by_id_.end()) return missing();
    return found->second;
  }
  auto first = by_id_.lower_bound(reference);
  if (first == by_id_.end() || !first->first.starts_with(reference)) return missing();
  auto second = std::next(first);
  if (second != by_id_.end() && second->first.starts_with(reference)) {
    return InvalidArgument("multiple IDs found with provided prefix: {}", reference);
  }
  return first->second;
}

// "PARENT/ALIAS": the other end of that container's link. Among users' networks links are no names
// of containers.
Result<std::shared_ptr<Container>> Engine::FindLinked(std::string_view name) const {
  size_t slash = name.rfind('/');
  std::string_view parent_name = name.substr(0, slash);
  if (any_links_ && parent_name.find('/') == std::string_view::npos) {
    auto parent = Find(parent_name);
    bool links = parent.ok() && (*parent)->record()->name == parent_name &&
                 !IsOnUsersNetwork(*(*parent)->record());
    if (links) {
      for (const std::string& text : (*parent)->record()->host.links) {
        auto [child, alias] = ParseLink(text);
        if (alias != name.substr(slash + 1)) continue;
        auto owner = NetworkOwner(child);
        std::shared_ptr<Container> linked = owner.ok() ? FindById((*owner)->id) : nullptr;
        if (linked != nullptr) return linked;
      }
    }
  }
  return NotFound("No such container: {}", name);
}

std::vector<Container::RecordPointer> Engine::List() const {
  std::vector<Container::RecordPointer> out;
  for (const std::shared_ptr<Container>& container : All()) {
    Container::RecordPointer record = container->record();
    if (record->state.phase != Phase::kRemoving) out.push_back(std::move(record));
  }
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a->created > b->created; });
  return out;
}

std::string Engine::ContainerDirectory(std::string_view id) const {
  return fmt::format("{}/containers/{}", options_.root, id);
}

std::string Engine::LogPath(std::string_view id) const {
  return fmt::format("{0}/containers/{1}/{1}-json.log", options_.root, id);
}

std::string Engine::AttachSocketPrefix(std::string_view id) const {
  // Cut, because a unix socket's path has at most 107 bytes.
  return fmt::format("{}/io/{}-", options_.state, id.substr(0, 16));
}

std::string Engine::AttachSocket(std::string_view id, std::string_view process) const {
  return AttachSocketPrefix(id).append(process.substr(0, 16));
}

std::string Engine::NetworkNamespacePath(std::string_view id) const {
  return fmt::format("{}/netns/{}", options_.state, id);
}

Result<> Engine::Discard(const std::string& path) {
  std::string trash = fmt::format("{}/engine/trash/{}", options_.root, RandomHex(8));
  if (std::rename(path.c_str(), trash.c_str()) < 0) {
    if (errno == ENOENT) return {};
    return ErrnoError("moving '{}' into the trash", path);
  }
  workers_.Run([trash] {
    std::error_code error;
    std::filesystem::remove_all(trash, error);
    if (error) log::Warning("emptying the trash: {}: {}", trash, error.message());
  });
  return {};
}

void Engine::Publish(std::string_view action, const ContainerRecord& record,
                     std::map<std::string, std::string> attributes) {
  Publish(ContainerEvent(action, record, std::move(attributes)));
}

Result<> Engine::SaveAndPublish(const Container& container, std::string_view action,
                                std::map<std::string, std::string> attributes) {
  Event event = ContainerEvent(action, *container.record(), std::move(attributes));
  TRY(Save(container, &event));
  Publish(std::move(event));
  return {};
}

void Engine::PublishOnce(const Event& event, WallTime since) {
  Event looked_for = event;
  looked_for.time = since;
  if (!options_.told(looked_for)) Publish(event);
}

void Engine::ForwardLog(const ContainerRecord& record, bool exists) {
  if (options_.forward_log && logs::IsForwarded(record.host.log_config.type)) {
    options_.forward_log(record.id, exists);
  }
}

void Engine::TellProbes(const ContainerRecord& record) {
  if (!record.state.health || !options_.probe) return;
  options_.probe(record.id, record.state.phase == Phase::kRunning);
}

void Engine::Publish(Event event) {
  if (event.time == WallTime{}) event.time = WallClock::now();
  if (options_.publish) options_.publish(event);
  store_->untold().Done(event);
}

Result<> Engine::Rename(std::string_view reference, std::string_view wanted) {
  if (wanted.empty()) return InvalidArgument("Neither old nor new names may be empty");
  std::string name(wanted.starts_with('/') ? wanted.substr(1) : wanted);
  auto container = TRY(Find(reference));
  if (!CheckContainerName(name).ok()) {
    return InvalidArgument("Error when allocating new name: {}", BadContainerName("/" + name));
  }
  auto turn = TRY(container->TakeTurn());
  std::string old = container->record()->name;
  if (old == name) {
    return InvalidArgument("Renaming a container with the same name as its current name");
  }
  TRY_WITH(ReserveName(name, container->id()), "Error when allocating new name");
  container->Update([&](ContainerRecord& record) { record.name = name; });
  Event event = ContainerEvent("rename", *container->record(), {{"oldName", "/" + old}});
  Result<> saved = Save(*container, &event);
  if (!saved.ok()) {
    container->Update([&](ContainerRecord& record) { record.name = old; });
    ReleaseName(name, container->id());
    return saved;
  }
  ReleaseName(old, container->id());
  TRY(networks_->Rename(container->id(), name));
  Publish(std::move(event));
  return {};
}

}  // namespace gantry::engine
