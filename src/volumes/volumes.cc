// SPDX-License-Identifier: Apache-2.0
#include "volumes/volumes.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "base/undo.h"
#include "kernel/project_quota.h"
#include "volumes/local_driver.h"

namespace gantry::volumes {
namespace {

constexpr mode_t kPrivate = 0700;
constexpr mode_t kDataMode = 0755;
constexpr std::chrono::seconds kTurnBound(120);
// No volume has such a name.
constexpr const char* kUnfinished = ".new";

// Whatever the umask is.
Result<> MakeDirectoryWithMode(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) < 0 && errno != EEXIST) {
    return ErrnoError("making directory '{}'", path);
  }
  if (::chmod(path.c_str(), mode) < 0) return ErrnoError("setting the mode of '{}'", path);
  return {};
}

}  // namespace

Result<std::unique_ptr<Volumes>> Volumes::Open(Options options) {
  std::unique_ptr<Volumes> volumes(new Volumes(std::move(options)));
  TRY(MakeDirectories(volumes->options_.root, kPrivate));
  TRY(MakeDirectories(volumes->options_.run, kPrivate));
  volumes->quotas_ = TRY(kernel::HasProjectQuotas(volumes->options_.root));
  TRY(volumes->DiscardUnfinished());
  TRY(volumes->LoadRecords());
  TRY(volumes->AdoptDirectories());
  return volumes;
}

Result<> Volumes::DiscardUnfinished() {
  const std::string directory = Home(kUnfinished);
  if (PathExists(directory)) {
    for (const std::string& name : TRY(ListDirectory(directory)))
      TRY(Discard(directory + "/" + name));
  }
  return MakeDirectoryWithMode(directory, kPrivate);
}

Result<> Volumes::LoadRecords() {
  for (Volume& volume : TRY(options_.records->ListVolumes())) {
    if (!PathExists(Home(volume.name))) {
      log::Info("volume {} has no directory: it was not made, or is removed", volume.name);
      TRY(options_.records->EraseVolume(volume.name));
      continue;
    }
    MutexLock lock(mutex_);
    volumes_[volume.name].volume = volume;
  }
  return {};
}

Result<> Volumes::AdoptDirectories() {
  for (const std::string& name : TRY(ListDirectory(options_.root))) {
    bool known = Get(name).ok();
    if (known || !CheckVolumeName(name).ok() || !PathExists(Home(name) + "/_data")) continue;
    log::Info("directory '{}' becomes a volume", Home(name));
    Volume volume{.name = name, .created = WallClock::now()};
    TRY(options_.records->PutVolume(volume));
    MutexLock lock(mutex_);
    volumes_[name].volume = volume;
  }
  return {};
}

Volumes::Turn::~Turn() {
  if (volumes_ == nullptr) return;
  MutexLock lock(volumes_->mutex_);
  volumes_->turns_.erase(name_);
  volumes_->turn_free_.NotifyAll();
}

Result<Volumes::Turn> Volumes::TakeTurn(const std::string& name) {
  auto deadline = SteadyClock::now() + kTurnBound;
  MutexLock lock(mutex_);
  while (turns_.contains(name)) {
    auto left = deadline - SteadyClock::now();
    if (left.count() <= 0) {
      return Unavailable("volume {} is busy: another request holds it for {} s", name,
                         kTurnBound.count());
    }
    turn_free_.WaitFor(mutex_, left);
  }
  turns_.insert(name);
  return Turn(this, name);
}

Result<Volumes::State> Volumes::Find(const std::string& name) const {
  MutexLock lock(mutex_);
  auto found = volumes_.find(name);
  if (found == volumes_.end()) return NotFound("get {}: no such volume", name);
  return found->second;
}

Result<Volumes::Created> Volumes::Create(const CreateRequest& request) {
  const std::string& name = request.name;
  auto turn = TRY(TakeTurn(name));
  if (!request.driver.empty() && request.driver != "local") {
    return NotFound("create {0}: error looking up volume plugin {1}: plugin \"{1}\" not found",
                    name, request.driver);
  }
  {
    MutexLock lock(mutex_);
    auto found = volumes_.find(name);
    if (found != volumes_.end()) {
      if (!request.user.empty()) found->second.users.insert(request.user);
      return Created{found->second.volume, false};
    }
  }
  TRY_WITH(CheckVolumeName(name), "create {}", name);
  TRY_WITH(CheckLocalOptions(request.options, quotas_), "create {}", name);
  Volume volume{.name = name,
                .options = request.options,
                .labels = request.labels,
                .shows_options = request.shows_options,
                .shows_labels = request.shows_labels,
                .created = WallClock::now()};
  TRY(options_.records->PutVolume(volume));
  Result<> made = MakeDirectory(volume);
  if (!made.ok()) {
    TRY(options_.records->EraseVolume(name));
    return std::move(made).error().AddContext("create " + name);
  }
  MutexLock lock(mutex_);
  State& state = volumes_[name];
  state.volume = volume;
  if (!request.user.empty()) state.users.insert(request.user);
  return Created{std::move(volume), true};
}

// Whole or not at all. A directory that a person has put there is taken as it is.
Result<> Volumes::MakeDirectory(const Volume& volume) {
  const std::string home = Home(volume.name);
  const int64_t limit = TRY(SizeLimit(volume.options));
  if (PathExists(home)) {
    if (limit == 0) return MakeDirectoryWithMode(home + "/_data", kDataMode);
    return FailedPrecondition("directory '{}' is there already, it can't be given a size", home);
  }
  std::string unfinished = fmt::format("{}/{}", Home(kUnfinished), RandomHex(8));
  TRY(MakeDirectoryWithMode(unfinished, kPrivate));
  Undo undo;
  undo.Push([&] { (void)Discard(unfinished).ok(); });
  if (limit > 0) TRY(kernel::LimitTree(unfinished, static_cast<uint64_t>(limit)));
  TRY(MakeDirectoryWithMode(unfinished + "/_data", kDataMode));
  if (std::rename(unfinished.c_str(), home.c_str()) < 0) {
    return ErrnoError("making directory '{}'", home);
  }
  undo.Commit();
  return {};
}

Result<> Volumes::Discard(const std::string& directory) {
  if (quotas_) TRY(kernel::ForgetTreeLimit(directory));
  return options_.discard(directory);
}

Result<Volume> Volumes::Get(const std::string& name) const { return TRY(Find(name)).volume; }

std::vector<Volume> Volumes::List() const {
  MutexLock lock(mutex_);
  std::vector<Volume> out;
  out.reserve(volumes_.size());
  for (const auto& [name, state] : volumes_) out.push_back(state.volume);
  return out;
}

Result<> Volumes::Remove(const std::string& name) {
  auto turn = TRY(TakeTurn(name));
  State state = TRY(Find(name));
  if (!state.users.empty()) {
    std::string users;
    for (const std::string& user : state.users) users += (users.empty() ? "" : ", ") + user;
    return MakeError(ErrorKind::kAborted, "remove {}: volume is in use - [{}]", name, users);
  }
  return Forget(state.volume);
}

// With the volume's turn. A container that comes meanwhile waits for the turn and finds nothing.
Result<> Volumes::Forget(const Volume& volume) {
  if (volume.NeedsMount()) TRY_WITH(UnmountNow(volume), "remove {}", volume.name);
  TRY_WITH(Discard(Home(volume.name)), "remove {}", volume.name);
  {
    MutexLock lock(mutex_);
    volumes_.erase(volume.name);
  }
  return options_.records->EraseVolume(volume.name);
}

void Volumes::AddUser(const std::string& name, const std::string& user) {
  MutexLock lock(mutex_);
  auto found = volumes_.find(name);
  if (found != volumes_.end()) found->second.users.insert(user);
}

void Volumes::RemoveUser(const std::string& name, const std::string& user) {
  MutexLock lock(mutex_);
  auto found = volumes_.find(name);
  if (found != volumes_.end()) found->second.users.erase(user);
}

std::set<std::string> Volumes::UsersOf(const std::string& name) const {
  MutexLock lock(mutex_);
  auto found = volumes_.find(name);
  return found == volumes_.end() ? std::set<std::string>() : found->second.users;
}

}  // namespace gantry::volumes
