// SPDX-License-Identifier: Apache-2.0
#include "containerd/mount_store.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/undo.h"
#include "containerd/mount_format.h"
#include "containerd/names.h"
#include "containerd/records.h"
#include "kernel/loop_device.h"
#include "kernel/mounts.h"

namespace gantry::containerd {
namespace {

using ::containerd::types::ActiveMount;
using MountMessage = ::containerd::types::Mount;

constexpr size_t kMaxMounts = 512;
constexpr std::string_view kBackReference = "containerd.io/gc.bref.";

std::string_view BareType(std::string_view type) {
  while (true) {
    size_t slash = type.find('/');
    if (slash == std::string_view::npos || !IsMountTransform(type.substr(0, slash))) return type;
    type.remove_prefix(slash + 1);
  }
}

// How many of the mounts, from the first on, the store has to make.
size_t CountOwn(const Activation& activation) {
  size_t count = 0;
  for (size_t i = 0; i < activation.mounts.size(); ++i) {
    const std::string& type = activation.mounts[i].type();
    // A transformed mount may name those before it, so they must be there.
    if (BareType(type) != type) count = std::max(count, i);
    if (activation.temporary || BareType(type) == "loop") count = i + 1;
  }
  return count;
}

bool NeedsStore(const Activation& activation) {
  return activation.temporary ||
         std::any_of(activation.mounts.begin(), activation.mounts.end(), [](const auto& mount) {
           return BareType(mount.type()) != mount.type() || mount.type() == "loop";
         });
}

// The device's name is at the mount point as a symbolic link.
Result<> MountLoop(const MountMessage& mount, const std::string& target) {
  bool read_only =
      std::find(mount.options().begin(), mount.options().end(), "ro") != mount.options().end();
  auto device = TRY(kernel::BindLoopDevice(
      mount.source(), read_only ? kernel::LoopAccess::kReadOnly : kernel::LoopAccess::kReadWrite));
  // The link first: with it a crash leaves a device that is found again.
  if (::symlink(device.path.c_str(), target.c_str()) != 0) return ErrnoError("making '{}'", target);
  return kernel::KeepLoopDevice(device.fd);
}

Result<> MountSystem(const MountMessage& mount, const std::string& target) {
  if (::mkdir(target.c_str(), 0700) != 0) return ErrnoError("making '{}'", target);
  std::vector<std::string> options(mount.options().begin(), mount.options().end());
  UniqueFd detached = TRY(kernel::MountDetached(mount.type(), mount.source(), options));
  UniqueFd place = TRY(OpenFile(target, O_PATH | O_DIRECTORY));
  return kernel::AttachMount(detached, place);
}

// What is at a mount point: a loop device's link, a directory with or without mounts on it.
Result<> TakeAway(const std::string& target) {
  char device[PATH_MAX];
  ssize_t size = ::readlink(target.c_str(), device, sizeof device);
  if (size > 0) {
    auto released = kernel::ReleaseLoopDevice(std::string(device, static_cast<size_t>(size)));
    if (!released.ok() && released.error().kind() != ErrorKind::kNotFound) return released;
    if (::unlink(target.c_str()) != 0) return ErrnoError("removing '{}'", target);
    return {};
  }
  while (::umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0) {
  }
  if (errno == EBUSY) return FailedPrecondition("unmounting '{}': it is in use", target);
  if (errno != EINVAL && errno != ENOENT) return ErrnoError("unmounting '{}'", target);
  // Never more than an empty directory: what was not unmounted would be deleted otherwise.
  if (::rmdir(target.c_str()) != 0 && errno != ENOENT) return ErrnoError("removing '{}'", target);
  return {};
}

// "0", "1", …; nothing else is made there.
Result<std::vector<int64_t>> Numbers(const std::string& path) {
  std::vector<int64_t> numbers;
  for (const std::string& name : TRY(ListDirectoryIfThere(path))) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    numbers.push_back(std::strtoll(name.c_str(), nullptr, 10));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

class MountStore::Busy {
 public:
  Busy(MountStore* store, const std::string& ns, const std::string& name)
      : store_(store), key_(ns, name) {
    MutexLock lock(store_->mutex_);
    while (!store_->busy_.insert(key_).second) store_->changed_.Wait(store_->mutex_);
  }
  ~Busy() {
    MutexLock lock(store_->mutex_);
    store_->busy_.erase(key_);
    store_->changed_.NotifyAll();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  MountStore* store_;
  const std::pair<std::string, std::string> key_;
};

Result<std::unique_ptr<MountStore>> MountStore::Open(records::Database* database,
                                                     const std::string& directory,
                                                     std::vector<std::string> roots) {
  TRY(MakeDirectories(directory, 0700));
  roots.push_back(directory);
  std::unique_ptr<MountStore> store(new MountStore(database, directory, std::move(roots)));
  TRY_WITH(store->Recover(), "recovering mounts");
  return store;
}

std::string MountStore::DirectoryOf(int64_t number) const {
  return fmt::format("{}/{}", directory_, number);
}

Result<MountStore::Record> MountStore::Read(records::Transaction& tx, const std::string& ns,
                                            const std::string& name) {
  auto rows = TRY(
      tx.Query("SELECT number, active, record FROM mounts WHERE ns = ? AND name = ?", ns, name));
  if (!TRY(rows.Next())) return NotFound("mount \"{}\": not found", name);
  Record record{.number = rows.Int(0), .active = rows.Int(1) != 0, .info = {}};
  std::string_view bytes = rows.Bytes(2);
  if (!record.info.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return MakeError(ErrorKind::kDataLoss, "reading record of mount \"{}\": damaged", name);
  }
  return record;
}

Result<int64_t> MountStore::Begin(const Caller& caller, const ActivationInfo& info) {
  auto tx = TRY(database_->Begin());
  TRY(EnsureNamespace(tx, caller.ns));
  if (!caller.lease.empty()) {
    auto rows =
        TRY(tx.Query("SELECT 1 FROM leases WHERE ns = ? AND id = ?", caller.ns, caller.lease));
    if (!TRY(rows.Next())) return NotFound("lease \"{}\": not found", caller.lease);
  }
  std::string bytes = info.SerializeAsString();
  TRY_WITH(tx.Execute("INSERT INTO mounts(ns, name, lease, active, record) VALUES(?, ?, ?, 0, ?)",
                      caller.ns, info.name(), caller.lease, records::Blob{bytes}),
           "mount \"{}\"", info.name());
  int64_t number = TRY(Read(tx, caller.ns, info.name())).number;
  TRY(tx.Commit());
  return number;
}

Result<> MountStore::Save(const std::string& ns, const ActivationInfo& info, bool active) {
  auto tx = TRY(database_->Begin());
  std::string bytes = info.SerializeAsString();
  TRY(tx.Execute("UPDATE mounts SET active = ?, record = ? WHERE ns = ? AND name = ?",
                 active ? 1 : 0, records::Blob{bytes}, ns, info.name()));
  return tx.Commit();
}

Result<> MountStore::Erase(const std::string& ns, const std::string& name) {
  auto tx = TRY(database_->Begin());
  TRY(tx.Execute("DELETE FROM mounts WHERE ns = ? AND name = ?", ns, name));
  return tx.Commit();
}

Result<ActivationInfo> MountStore::Activate(const Caller& caller, const Activation& activation) {
  if (activation.name.empty()) return InvalidArgument("mount name must not be empty");
  TRY_WITH(CheckLabels(activation.labels), "mount \"{}\"", activation.name);
  if (activation.mounts.size() > kMaxMounts) {
    return InvalidArgument("mount \"{}\": more than {} mounts", activation.name, kMaxMounts);
  }
  if (activation.mounts.empty() || !NeedsStore(activation)) {
    return Unimplemented("mount \"{}\": nothing in it needs this daemon", activation.name);
  }
  Busy busy(this, caller.ns, activation.name);
  ActivationInfo info;
  info.set_name(activation.name);
  containerd::SetLabels(activation.labels, info.mutable_labels());
  int64_t number = TRY(Begin(caller, info));
  Undo undo;
  undo.Push([&] {
    auto cleared = Clear(number);
    if (cleared.ok()) cleared = Erase(caller.ns, activation.name);
    if (!cleared.ok()) log::Warning("giving up a mount: {}", cleared.error().message());
  });
  std::vector<MountMessage> mounts = activation.mounts;
  size_t count = CountOwn(activation);
  TRY_WITH(MakeMounts(number, count, &mounts, &info), "mount \"{}\"", activation.name);
  for (size_t i = count; i < mounts.size(); ++i) *info.add_system() = mounts[i];
  if (activation.temporary) {
    auto* bind = info.add_system();
    bind->set_type("bind");
    bind->set_source(info.active(info.active_size() - 1).mount_point());
    bind->add_options("rbind");
  }
  TRY(Save(caller.ns, info, true));
  undo.Commit();
  return info;
}

Result<> MountStore::MakeMounts(int64_t number, size_t count, std::vector<MountMessage>* mounts,
                                ActivationInfo* info) {
  std::string directory = DirectoryOf(number);
  if (::mkdir(directory.c_str(), 0700) != 0) return ErrnoError("making '{}'", directory);
  std::vector<ActiveMount> active;
  for (size_t i = 0; i < count; ++i) {
    MountMessage& mount = (*mounts)[i];
    TRY(TransformMount({.active = active, .roots = roots_}, &mount));
    std::string target = fmt::format("{}/{}", directory, i);
    TRY_WITH(mount.type() == "loop" ? MountLoop(mount, target) : MountSystem(mount, target),
             "mounting '{}'", mount.source());
    ActiveMount& made = active.emplace_back();
    *made.mutable_mount() = mount;
    *made.mutable_mounted_at() = ToProto(Now());
    made.set_mount_point(target);
    *info->add_active() = made;
  }
  // The first mount that the client makes may name what is active.
  if (count < mounts->size()) {
    TRY(TransformMount({.active = active, .roots = roots_}, &(*mounts)[count]));
  }
  return {};
}

Result<> MountStore::Clear(int64_t number) {
  std::string directory = DirectoryOf(number);
  auto indices = TRY(Numbers(directory));
  for (auto index = indices.rbegin(); index != indices.rend(); ++index) {
    TRY(TakeAway(fmt::format("{}/{}", directory, *index)));
  }
  if (::rmdir(directory.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError("removing '{}'", directory);
  }
  return {};
}

Result<> MountStore::Deactivate(const std::string& ns, const std::string& name) {
  Busy busy(this, ns, name);
  Record record;
  {
    auto tx = TRY(database_->Read());
    record = TRY(Read(tx, ns, name));
  }
  // Until all is gone, or is known to stay, the record says that it is neither.
  TRY(Save(ns, record.info, false));
  auto cleared = Clear(record.number);
  if (!cleared.ok()) {
    // The last ones may be gone already: the record says what is left.
    auto left = Numbers(DirectoryOf(record.number));
    if (left.ok() && static_cast<int>(left->size()) < record.info.active_size()) {
      record.info.mutable_active()->DeleteSubrange(
          static_cast<int>(left->size()),
          record.info.active_size() - static_cast<int>(left->size()));
    }
    TRY(Save(ns, record.info, true));
    return cleared;
  }
  return Erase(ns, name);
}

Result<ActivationInfo> MountStore::Info(const std::string& ns, const std::string& name) {
  auto tx = TRY(database_->Read());
  Record record = TRY(Read(tx, ns, name));
  if (!record.active) return NotFound("mount \"{}\": not found", name);
  return std::move(record.info);
}

Result<ActivationInfo> MountStore::SetLabels(const std::string& ns, const std::string& name,
                                             const std::function<Result<>(Labels*)>& change) {
  Busy busy(this, ns, name);
  ActivationInfo info = TRY(Info(ns, name));
  Labels labels = ToLabels(info.labels());
  TRY(change(&labels));
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  TRY_WITH(CheckLabels(labels), "mount \"{}\"", name);
  containerd::SetLabels(labels, info.mutable_labels());
  TRY(Save(ns, info, true));
  return info;
}

Result<std::vector<ActivationInfo>> MountStore::List(const std::string& ns,
                                                     const Filters& filters) {
  std::vector<ActivationInfo> infos;
  auto tx = TRY(database_->Read());
  auto rows =
      TRY(tx.Query("SELECT record FROM mounts WHERE ns = ? AND active = 1 ORDER BY name", ns));
  while (TRY(rows.Next())) {
    ActivationInfo info;
    std::string_view bytes = rows.Bytes(0);
    if (!info.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return MakeError(ErrorKind::kDataLoss, "listing mounts: a record is damaged");
    }
    bool matches = filters.Matches([&](const FieldPath& path) -> std::optional<std::string> {
      if (path[0] == "name") return FieldOf(info.name());
      if (path[0] == "labels") return LabelOf(path, 1, info.labels());
      return std::nullopt;
    });
    if (matches) infos.push_back(std::move(info));
  }
  return infos;
}

namespace {

// Whether what a back reference names is there. One of a kind that is not known keeps the mount.
Result<bool> IsThere(records::Transaction& tx, const std::string& ns, std::string_view kind,
                     const std::string& value) {
  auto any = [](Result<records::Rows> rows) -> Result<bool> {
    records::Rows found = TRY(std::move(rows));
    return found.Next();
  };
  auto is = [&](std::string_view name) {
    return kind.starts_with(name) &&
           (kind.size() == name.size() || kind[name.size()] == '.' || kind[name.size()] == '/');
  };
  if (is("container")) {
    return any(tx.Query("SELECT 1 FROM containers WHERE ns = ? AND id = ?", ns, value));
  }
  if (is("content")) {
    return any(tx.Query("SELECT 1 FROM content WHERE ns = ? AND digest = ?", ns, value));
  }
  if (is("image")) {
    return any(tx.Query("SELECT 1 FROM images WHERE ns = ? AND name = ?", ns, value));
  }
  constexpr std::string_view kSnapshot = "snapshot.";
  if (!kind.starts_with(kSnapshot)) return true;
  std::string_view snapshotter = kind.substr(kSnapshot.size());
  return any(tx.Query("SELECT 1 FROM snapshots WHERE snapshotter = ? AND ns = ? AND key = ?",
                      snapshotter.substr(0, snapshotter.find('/')), ns, value));
}

struct Candidate {
  std::string ns;
  std::string lease;
  ActivationInfo info;
};

Result<bool> IsKept(records::Transaction& tx, const Candidate& candidate) {
  bool bound = false;
  if (!candidate.lease.empty()) {
    bound = true;
    auto rows = TRY(
        tx.Query("SELECT 1 FROM leases WHERE ns = ? AND id = ?", candidate.ns, candidate.lease));
    if (TRY(rows.Next())) return true;
  }
  for (const auto& [key, value] : candidate.info.labels()) {
    if (!key.starts_with(kBackReference)) continue;
    bound = true;
    if (TRY(IsThere(tx, candidate.ns, std::string_view(key).substr(kBackReference.size()),
                    value))) {
      return true;
    }
  }
  return !bound;
}

// Mounts that belonged to something that is gone.
Result<std::vector<Candidate>> FindUnkept(records::Database* database) {
  std::vector<Candidate> all;
  auto tx = TRY(database->Read());
  {
    auto rows = TRY(tx.Query("SELECT ns, lease, record FROM mounts WHERE active = 1"));
    while (TRY(rows.Next())) {
      Candidate candidate{.ns = rows.Text(0), .lease = rows.Text(1), .info = {}};
      std::string_view bytes = rows.Bytes(2);
      if (candidate.info.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        all.push_back(std::move(candidate));
      }
    }
  }
  std::vector<Candidate> unkept;
  for (Candidate& candidate : all) {
    if (!TRY(IsKept(tx, candidate))) unkept.push_back(std::move(candidate));
  }
  return unkept;
}

}  // namespace

void MountStore::Collect() {
  auto unkept = FindUnkept(database_);
  if (!unkept.ok()) {
    log::Warning("collecting mounts: {}", unkept.error().message());
    return;
  }
  for (const Candidate& candidate : *unkept) {
    auto done = Deactivate(candidate.ns, candidate.info.name());
    if (!done.ok() && done.error().kind() != ErrorKind::kNotFound) {
      log::Warning("collecting mount \"{}\": {}", candidate.info.name(), done.error().message());
    }
  }
}

Result<> MountStore::Recover() {
  std::vector<int64_t> gone;
  std::set<int64_t> active;
  {
    auto tx = TRY(database_->Read());
    auto rows = TRY(tx.Query("SELECT number, active FROM mounts"));
    while (TRY(rows.Next())) {
      // After a boot the run state is empty, and so is the mount table.
      bool whole = rows.Int(1) != 0 && PathExists(DirectoryOf(rows.Int(0)));
      if (whole) active.insert(rows.Int(0));
      if (!whole) gone.push_back(rows.Int(0));
    }
  }
  for (int64_t number : TRY(Numbers(directory_))) {
    if (active.contains(number)) continue;
    auto cleared = Clear(number);
    // Somebody uses what a crash left: it is tried again at the next start.
    if (!cleared.ok()) log::Warning("removing old mounts: {}", cleared.error().message());
  }
  auto tx = TRY(database_->Begin());
  for (int64_t number : gone) TRY(tx.Execute("DELETE FROM mounts WHERE number = ?", number));
  return tx.Commit();
}

}  // namespace gantry::containerd
