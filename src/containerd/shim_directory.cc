// SPDX-License-Identifier: Apache-2.0
#include "containerd/shim_directory.h"

#include <atomic>

#include "base/log.h"
#include "containerd/event_exchange.h"
#include "containerd/events/sandbox.pb.h"
#include "containerd/events/task.pb.h"
#include "containerd/rpc.h"
#include "containerd/task/v3/shim.pb.h"
#include "containerd/told_ends.h"

namespace gantry::containerd {
namespace {

namespace shim_api = ::containerd::task::v3;

constexpr auto kPredecessorTime = std::chrono::seconds(10);
constexpr auto kAdoptTime = std::chrono::seconds(5);
constexpr auto kShutdownTime = std::chrono::seconds(10);
constexpr auto kGoneTime = kShutdownTime + std::chrono::seconds(5);
// A shim of an earlier version must be asked by `start` for a place for each task.
constexpr int kSandboxVersion = 3;
// What containerd reports for a task whose shim could not tell.
constexpr uint32_t kUnknownExitStatus = 255;

}  // namespace

std::shared_ptr<ShimDirectory> ShimDirectory::Create(ShimUse use, BundleRoots roots,
                                                     ShimSettings settings, EventLoop* loop,
                                                     EventExchange* events,
                                                     wire::WorkerPool* workers) {
  return std::shared_ptr<ShimDirectory>(
      new ShimDirectory(use, std::move(roots), std::move(settings), loop, events, workers));
}

Result<> ShimDirectory::Reserve(const Key& key) {
  auto deadline = SteadyClock::now() + kPredecessorTime;
  MutexLock lock(mutex_);
  while (true) {
    auto found = entries_.find(key);
    if (found == entries_.end()) break;
    bool ending = found->second.phase == Phase::kRetiring || found->second.phase == Phase::kDead;
    auto left = deadline - SteadyClock::now();
    if (!ending || left.count() <= 0)
      return AlreadyExists("{} {}: already exists", Noun(), key.second);
    changed_.WaitFor(mutex_, left);
  }
  entries_.emplace(key, Entry{});
  return {};
}

void ShimDirectory::Forget(const Key& key) {
  std::shared_ptr<Shim> shim;  // destroyed without the lock
  MutexLock lock(mutex_);
  auto found = entries_.find(key);
  if (found != entries_.end()) {
    shim = std::move(found->second.shim);
    entries_.erase(found);
  }
  changed_.NotifyAll();
}

Result<std::shared_ptr<Shim>> ShimDirectory::Start(const StartRequest& request) {
  Key key{request.ns, request.id};
  TRY(Reserve(key));
  auto shim = Launch(request);
  if (!shim.ok()) {
    Forget(key);
    return shim;
  }
  MutexLock lock(mutex_);
  auto& entry = entries_[key];
  entry.shim = *shim;
  // It may have died before it was entered here.
  if (entry.phase == Phase::kStarting) entry.phase = Phase::kRunning;
  if (entry.phase == Phase::kDead) {
    workers_->Run([self = shared_from_this(), key, shim = *shim] { self->CleanUpDead(key, shim); });
  }
  return shim;
}

Result<std::shared_ptr<Shim>> ShimDirectory::Launch(const StartRequest& request) {
  std::string program = TRY(ShimProgram(settings_, request.runtime));
  bool in_sandbox =
      request.sandbox != nullptr && request.sandbox->endpoint().version >= kSandboxVersion;
  Bundle bundle = TRY(Bundle::Create(roots_, request.ns, request.id,
                                     {.spec = request.spec,
                                      .runtime = program,
                                      .options = request.options,
                                      .sandbox = in_sandbox ? request.sandbox->id() : ""}));
  Undo undo;
  undo.Push([&] {
    auto removed = bundle.Remove();
    if (!removed.ok()) log::Warning("removing a bundle: {}", removed.error().message());
  });
  UniqueFd log = TRY(bundle.OpenLog());
  ShimEndpoint endpoint =
      in_sandbox ? request.sandbox->endpoint() : TRY(RunStart(request, program, bundle, &undo));
  TRY(bundle.SaveEndpoint(endpoint));
  Key key{request.ns, request.id};
  auto shim =
      TRY(Shim::Connect(loop_, request.ns, request.id, bundle, endpoint, use_, CloseCallback(key)));
  shim->FollowLog(std::move(log));
  undo.Commit();
  return shim;
}

Result<ShimEndpoint> ShimDirectory::RunStart(const StartRequest& request,
                                             const std::string& program, const Bundle& bundle,
                                             Undo* undo) {
  ShimCall call{.program = program,
                .ns = request.ns,
                .id = request.id,
                .bundle = bundle.path(),
                .input = request.options};
  ShimEndpoint endpoint = TRY(RunShimStart(settings_, call));
  undo->Push([this, call]() mutable {
    call.input.clear();
    auto deleted = RunShimDelete(settings_, call);
    if (!deleted.ok()) log::Warning("cleaning up: {}", deleted.error().message());
  });
  return endpoint;
}

Result<std::string> ShimDirectory::RuntimeInfo(const std::string& runtime,
                                               const std::string& options) const {
  return RunShimInfo(settings_, TRY(ShimProgram(settings_, runtime)), options);
}

std::function<void()> ShimDirectory::CloseCallback(const Key& key) {
  return [weak = weak_from_this(), key] {
    if (auto self = weak.lock()) self->OnClosed(key);
  };
}

Result<std::shared_ptr<Shim>> ShimDirectory::Find(const std::string& ns, const std::string& id) {
  MutexLock lock(mutex_);
  auto found = entries_.find(Key{ns, id});
  if (found == entries_.end() || found->second.shim == nullptr ||
      found->second.phase == Phase::kRetiring) {
    return NotFound("{} {}: not found", Noun(), id);
  }
  return found->second.shim;
}

std::vector<std::shared_ptr<Shim>> ShimDirectory::List(const std::string& ns) {
  std::vector<std::shared_ptr<Shim>> shims;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : entries_) {
    if (key.first == ns && entry.shim != nullptr && entry.phase == Phase::kRunning) {
      shims.push_back(entry.shim);
    }
  }
  return shims;
}

std::vector<std::shared_ptr<Shim>> ShimDirectory::All() {
  std::vector<std::shared_ptr<Shim>> shims;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : entries_) {
    if (entry.shim != nullptr && entry.phase == Phase::kRunning) shims.push_back(entry.shim);
  }
  return shims;
}

bool ShimDirectory::HasOthers(const std::shared_ptr<Shim>& shim) {
  for (const auto& [key, entry] : entries_) {
    if (entry.shim == nullptr || entry.shim == shim || entry.phase != Phase::kRunning) continue;
    if (entry.shim->endpoint().address == shim->endpoint().address) return true;
  }
  return false;
}

void ShimDirectory::Retire(const std::shared_ptr<Shim>& shim) {
  Key key{shim->ns(), shim->id()};
  bool goes_on = false;
  {
    MutexLock lock(mutex_);
    auto found = entries_.find(key);
    if (found == entries_.end() || found->second.shim != shim) return;
    if (found->second.phase == Phase::kDead || found->second.phase == Phase::kRetiring) return;
    found->second.phase = Phase::kRetiring;
    goes_on = shim->bundle().InSandbox() || HasOthers(shim);
  }
  if (goes_on) {
    workers_->Run([self = shared_from_this(), key, shim] { self->CleanUpRetired(key, shim); });
    return;
  }
  // Both requests have nothing but the id, in the same field. The answer says nothing: what counts
  // is that the connection ends.
  shim_api::ShutdownRequest request;
  request.set_id(shim->id());
  shim->CallAsync(use_ == ShimUse::kSandbox ? "ShutdownSandbox" : "Shutdown",
                  request.SerializeAsString(), kShutdownTime, [](auto) {});
  auto give_up = [weak = weak_from_this(), key, retired = std::weak_ptr<Shim>(shim)] {
    auto self = weak.lock();
    auto shim = retired.lock();
    if (self == nullptr || shim == nullptr) return;
    {
      MutexLock lock(self->mutex_);
      auto found = self->entries_.find(key);
      if (found == self->entries_.end() || found->second.shim != shim) return;
    }
    log::Warning("shim of {} {} does not end after Shutdown", self->Noun(), key.second);
    self->workers_->Run([self, key, shim] { self->CleanUpRetired(key, shim); });
  };
  loop_->Post([loop = loop_, give_up] { loop->After(kShutdownTime, give_up); });
}

Result<> ShimDirectory::WaitUntilGone(const std::shared_ptr<Shim>& shim) {
  Key key{shim->ns(), shim->id()};
  auto deadline = SteadyClock::now() + kGoneTime;
  MutexLock lock(mutex_);
  while (true) {
    auto found = entries_.find(key);
    if (found == entries_.end() || found->second.shim != shim) return {};
    auto left = deadline - SteadyClock::now();
    if (left.count() <= 0) {
      return MakeError(ErrorKind::kDeadlineExceeded, "waiting for the end of the shim of {} {}",
                       Noun(), key.second);
    }
    changed_.WaitFor(mutex_, left);
  }
}

void ShimDirectory::OnClosed(const Key& key) {
  MutexLock lock(mutex_);
  auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  auto shim = entry.shim;
  if (entry.phase == Phase::kRetiring) {
    auto clean_up =
        entry.inherited ? &ShimDirectory::CleanUpInherited : &ShimDirectory::CleanUpRetired;
    workers_->Run(
        [self = shared_from_this(), clean_up, key, shim] { (self.get()->*clean_up)(key, shim); });
    return;
  }
  entry.phase = Phase::kDead;
  if (shim == nullptr) return;  // Start() will find it so
  workers_->Run([self = shared_from_this(), key, shim] { self->CleanUpDead(key, shim); });
}

void ShimDirectory::CleanUpRetired(const Key& key, const std::shared_ptr<Shim>& shim) {
  {
    MutexLock lock(mutex_);
    auto found = entries_.find(key);
    if (found == entries_.end() || found->second.shim != shim) return;
  }
  auto removed = shim->bundle().Remove();
  if (!removed.ok()) log::Warning("removing a bundle: {}", removed.error().message());
  Forget(key);
  // Whoever still waits would do so for ever.
  shim->Bury({.pid = 0, .status = kUnknownExitStatus, .at = Now()});
}

void ShimDirectory::CleanUpInherited(const Key& key, const std::shared_ptr<Shim>& shim) {
  // One that has not ended was never created for anybody: its Create was cut off.
  bool owed = shim->bundle().HasExitRecord();
  TaskEnd end = DeleteDead(key, shim->bundle());
  Forget(key);
  if (owed) PublishEnd(key, end);
  shim->Bury(end);
}

void ShimDirectory::CleanUpDead(const Key& key, const std::shared_ptr<Shim>& shim) {
  log::Warning("shim of {} {} in namespace {} died, cleaning up", Noun(), key.second, key.first);
  TaskEnd end = DeleteDead(key, shim->bundle());
  Forget(key);
  PublishEnd(key, end);
  shim->Bury(end);
}

TaskEnd ShimDirectory::DeleteDead(const Key& key, const Bundle& bundle) {
  TaskEnd end{.pid = 0, .status = kUnknownExitStatus, .at = Now()};
  auto program = bundle.LoadRuntime();
  auto response = !program.ok() ? Result<std::string>(program.error())
                                : RunShimDelete(settings_, {.program = *program,
                                                            .ns = key.first,
                                                            .id = key.second,
                                                            .bundle = bundle.path(),
                                                            .input = ""});
  shim_api::DeleteResponse message;
  if (!response.ok()) {
    log::Warning("cleaning up after the shim of {} {}: {}", Noun(), key.second,
                 response.error().message());
  } else if (message.ParseFromString(*response)) {
    end = {message.pid(), message.exit_status(), FromProto(message.exited_at())};
  }
  auto removed = bundle.Remove();
  if (!removed.ok()) log::Warning("removing a bundle: {}", removed.error().message());
  return end;
}

void ShimDirectory::PublishEnd(const Key& key, const TaskEnd& end, Tell tell) {
  if (use_ == ShimUse::kSandbox) {
    ::containerd::events::SandboxExit exit;
    exit.set_sandbox_id(key.second);
    exit.set_exit_status(end.status);
    *exit.mutable_exited_at() = ToProto(end.at);
    return events_->Publish(key.first, "/sandboxes/exit", exit);
  }
  ToldEnd told;
  if (events_->log() != nullptr) {
    told = ReadToldEnds(*events_->log())[key];
    if (tell == Tell::kIfCreated && !told.created) return;
  }
  ::containerd::events::TaskExit exit;
  exit.set_container_id(key.second);
  exit.set_id(key.second);
  exit.set_pid(end.pid);
  exit.set_exit_status(end.status);
  *exit.mutable_exited_at() = ToProto(end.at);
  if (!told.exit) events_->Publish(key.first, "/tasks/exit", exit);
  ::containerd::events::TaskDelete deleted;
  deleted.set_container_id(key.second);
  deleted.set_pid(end.pid);
  deleted.set_exit_status(end.status);
  *deleted.mutable_exited_at() = ToProto(end.at);
  if (!told.deleted) events_->Publish(key.first, "/tasks/delete", deleted);
}

Result<> ShimDirectory::AdoptAll() {
  TRY(Bundle::RemoveOrphans(roots_));
  auto bundles = TRY(Bundle::List(roots_));
  Mutex mutex;
  CondVar done;
  size_t left = bundles.size();
  for (const auto& bundle : bundles) {
    Key key = bundle;
    workers_->Run([&, key] {
      Adopt(key);
      MutexLock lock(mutex);
      --left;
      done.NotifyAll();
    });
  }
  MutexLock lock(mutex);
  while (left > 0) done.Wait(mutex);
  if (!bundles.empty()) log::Info("found {} bundles of {}s", bundles.size(), Noun());
  return {};
}

void ShimDirectory::Adopt(const Key& key) {
  Bundle bundle = Bundle::Existing(roots_, key.first, key.second);
  {
    MutexLock lock(mutex_);
    entries_.emplace(key, Entry{});
  }
  auto shim = Reconnect(key, bundle);
  if (!shim.ok()) {
    log::Warning("adopting {} {} in namespace {}: {}", Noun(), key.second, key.first,
                 shim.error().message());
    // Read before the bundle is gone. Before it had an address it held nothing.
    bool held = bundle.LoadEndpoint().ok();
    Tell tell = bundle.HasExitRecord() ? Tell::kAlways : Tell::kIfCreated;
    TaskEnd end = DeleteDead(key, bundle);
    Forget(key);
    if (held) PublishEnd(key, end, tell);
    return;
  }
  bool dead = false;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    entry.shim = *shim;
    dead = entry.phase == Phase::kDead;
    if (!dead) entry.phase = Phase::kRunning;
  }
  if (dead) return CleanUpDead(key, *shim);
  // The daemon before us may have died between a shim's start and Create, or after Delete.
  if (!HasSubject(**shim)) {
    {
      MutexLock lock(mutex_);
      entries_[key].inherited = true;
    }
    return Retire(*shim);
  }
  log::Info("adopted {} {} in namespace {}", Noun(), key.second, key.first);
}

bool ShimDirectory::HasSubject(Shim& shim) {
  shim_api::StateRequest request;  // as SandboxStatusRequest
  request.set_id(shim.id());
  auto state = shim.Call(use_ == ShimUse::kSandbox ? "SandboxStatus" : "State",
                         request.SerializeAsString(), kAdoptTime);
  return state.ok() || state.error().kind() != ErrorKind::kNotFound;
}

Result<std::shared_ptr<Shim>> ShimDirectory::Reconnect(const Key& key, const Bundle& bundle) {
  ShimEndpoint endpoint = TRY(bundle.LoadEndpoint());
  auto shim =
      TRY(Shim::Connect(loop_, key.first, key.second, bundle, endpoint, use_, CloseCallback(key)));
  shim_api::ConnectRequest request;
  request.set_id(key.second);
  auto answer = shim->Call(use_ == ShimUse::kSandbox ? "PingSandbox" : "Connect",
                           request.SerializeAsString(), kAdoptTime);
  // Any answer shows that it lives.
  if (!answer.ok() && (answer.error().kind() == ErrorKind::kUnavailable ||
                       answer.error().kind() == ErrorKind::kDeadlineExceeded)) {
    return std::move(answer).error();
  }
  auto log = bundle.OpenLog();
  if (log.ok()) shim->FollowLog(*std::move(log));
  return shim;
}

}  // namespace gantry::containerd
