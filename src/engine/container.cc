// SPDX-License-Identifier: Apache-2.0
#include "engine/container.h"

#include <array>
#include <future>
#include <memory>
#include <utility>

#include "wire/worker_pool.h"

namespace gantry::engine {

using formats::Json;
using formats::JsonReader;

namespace {

constexpr std::array<std::string_view, 8> kPhaseNames = {
    "created", "starting", "running", "paused", "restarting", "exited", "removing", "dead"};

// May a container go from the row's phase to the column's? Columns in the order of Phase.
constexpr bool kTransitions[8][8] = {
    // created starting running paused restarting exited removing dead
    {true, true, true, false, false, true, true, false},     // created
    {true, true, true, false, true, true, true, false},      // starting
    {false, false, true, true, true, true, true, false},     // running
    {false, false, true, true, true, true, true, false},     // paused
    {false, true, true, false, true, true, true, false},     // restarting
    {false, true, true, false, true, true, true, true},      // exited
    {false, false, false, false, false, false, true, true},  // removing
    {false, false, false, false, false, false, true, true},  // dead
};

Json TimeToJson(WallTime time) { return Json(UnixNanos(time)); }

void ReadTime(JsonReader& reader, std::string_view key, WallTime* out) {
  int64_t nanos = 0;
  reader.Field(key, &nanos);
  *out = FromUnixNanos(nanos);
}

constexpr std::string_view kHealthNames[] = {"starting", "healthy", "unhealthy"};

Json ToJson(const Health& health) {
  Json log = Json::MakeArray();
  for (const ProbeResult& result : health.log) {
    log.Append(Json::MakeObject({{"start", TimeToJson(result.start)},
                                 {"end", TimeToJson(result.end)},
                                 {"exitCode", result.exit_code},
                                 {"output", result.output}}));
  }
  return Json::MakeObject({{"status", HealthStatusName(health.status)},
                           {"failingStreak", health.failing_streak},
                           {"log", std::move(log)}});
}

void ReadHealth(JsonReader& reader, Health* health) {
  std::string status;
  reader.Field("status", &status);
  for (size_t i = 0; i < std::size(kHealthNames); ++i) {
    if (status == kHealthNames[i]) health->status = static_cast<HealthStatus>(i);
  }
  reader.Field("failingStreak", &health->failing_streak);
  reader.Objects("log", [&](JsonReader& entry) {
    ProbeResult& result = health->log.emplace_back();
    ReadTime(entry, "start", &result.start);
    ReadTime(entry, "end", &result.end);
    entry.Field("exitCode", &result.exit_code);
    entry.Field("output", &result.output);
  });
}

Json ToJson(const ContainerState& state) {
  return Json::MakeObject({
      {"phase", std::string(kPhaseNames[static_cast<size_t>(state.phase)])},
      {"pid", state.pid},
      {"exitCode", state.exit_code},
      {"error", state.error},
      {"oomKilled", state.oom_killed},
      {"hasBeenStarted", state.has_been_started},
      {"removesVolumes", state.removes_volumes},
      {"stoppedByUser", state.stopped_by_user},
      {"restartCount", state.restart_count},
      {"restartDoublings", state.restart_doublings},
      {"startedAt", TimeToJson(state.started_at)},
      {"finishedAt", TimeToJson(state.finished_at)},
      {"health", state.health ? ToJson(*state.health) : Json()},
  });
}

void ReadState(JsonReader& reader, ContainerState* state) {
  std::string phase;
  reader.Field("phase", &phase);
  for (size_t i = 0; i < kPhaseNames.size(); ++i) {
    if (phase == kPhaseNames[i]) state->phase = static_cast<Phase>(i);
  }
  reader.Field("pid", &state->pid);
  reader.Field("exitCode", &state->exit_code);
  reader.Field("error", &state->error);
  reader.Field("oomKilled", &state->oom_killed);
  reader.Field("hasBeenStarted", &state->has_been_started);
  reader.Field("removesVolumes", &state->removes_volumes);
  reader.Field("stoppedByUser", &state->stopped_by_user);
  reader.Field("restartCount", &state->restart_count);
  reader.Field("restartDoublings", &state->restart_doublings);
  ReadTime(reader, "startedAt", &state->started_at);
  ReadTime(reader, "finishedAt", &state->finished_at);
  if (reader.Raw("health") != nullptr) {
    reader.Object("health",
                  [&](JsonReader& health) { ReadHealth(health, &state->health.emplace()); });
  }
}

}  // namespace

std::set<std::string> ImagesOf(const ContainerRecord& record) {
  std::set<std::string> ids = {record.image_id};
  for (const MountPoint& point : record.mounts) {
    if (point.type == "image") ids.insert(point.image_id);
  }
  return ids;
}

std::string_view PhaseName(Phase phase) {
  return phase == Phase::kStarting ? "created" : kPhaseNames[static_cast<size_t>(phase)];
}

std::string_view HealthStatusName(HealthStatus status) {
  return kHealthNames[static_cast<size_t>(status)];
}

bool MayFollow(Phase from, Phase to) {
  return kTransitions[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

Json ToJson(const ContainerRecord& record) {
  Json endpoints = Json::MakeObject();
  for (const auto& [name, endpoint] : record.networking.endpoints_config) {
    endpoints.Set(name, ToJson(endpoint));
  }
  Json mounts = Json::MakeArray();
  for (const MountPoint& point : record.mounts) mounts.Append(ToJson(point));
  return Json::MakeObject({
      {"id", record.id},
      {"name", record.name},
      {"created", TimeToJson(record.created)},
      {"config", ToJson(record.config)},
      {"host", ToJson(record.host)},
      {"endpoints", std::move(endpoints)},
      {"networksSettled", record.networking.settled},
      {"hostname", record.hostname},
      {"imageId", record.image_id},
      {"imageName", record.image_name},
      {"mounts", std::move(mounts)},
      {"parentSnapshot", record.parent_snapshot},
      {"forBuild", record.for_build},
      {"state", ToJson(record.state)},
  });
}

Result<ContainerRecord> ParseContainerRecord(const Json& json) {
  ContainerRecord record;
  JsonReader reader(json, "container");
  reader.Field("id", &record.id);
  reader.Field("name", &record.name);
  ReadTime(reader, "created", &record.created);
  reader.Field("hostname", &record.hostname);
  reader.Field("imageId", &record.image_id);
  reader.Field("imageName", &record.image_name);
  reader.Field("parentSnapshot", &record.parent_snapshot);
  reader.Field("forBuild", &record.for_build);
  reader.Object("state", [&](JsonReader& state) { ReadState(state, &record.state); });
  TRY(reader.Finish());
  record.config = TRY(ParseContainerConfig(json["config"]));
  record.host = TRY(ParseHostConfig(json["host"]));
  record.networking.settled = json["networksSettled"].AsBool();
  for (const auto& [name, endpoint] : json["endpoints"].members()) {
    record.networking.endpoints_config[name] = TRY(ParseEndpointConfig(endpoint));
  }
  if (json["mounts"].is_array()) {
    for (const Json& point : json["mounts"].items()) {
      record.mounts.push_back(TRY(ParseMountPoint(point)));
    }
  } else {
    // A record of the first version, which had binds only.
    record.mounts = TRY(ParseMountPoints(record.host, ""));
  }
  return record;
}

Container::Container(ContainerRecord record, std::shared_ptr<const StepInputs> inputs)
    : id_(record.id),
      record_(std::make_shared<const ContainerRecord>(std::move(record))),
      inputs_(std::move(inputs)) {}

std::shared_ptr<const StepInputs> Container::inputs() const {
  MutexLock lock(mutex_);
  return inputs_;
}

void Container::DropInputs() {
  MutexLock lock(mutex_);
  inputs_.reset();
}

Container::RecordPointer Container::record() const {
  MutexLock lock(mutex_);
  return record_;
}

void Container::Update(const std::function<void(ContainerRecord&)>& change) {
  MutexLock lock(mutex_);
  auto changed = std::make_shared<ContainerRecord>(*record_);
  change(*changed);
  CHECK(MayFollow(record_->state.phase, changed->state.phase));
  record_ = std::move(changed);
}

Container::Turn::~Turn() {
  if (container_ == nullptr) return;
  MutexLock lock(container_->mutex_);
  container_->turn_taken_ = false;
  // All: one that gives up on a removed container would pass the word on to nobody.
  container_->turn_free_.NotifyAll();
}

bool Container::AwaitTurn(std::chrono::milliseconds bound, bool unless_removed) {
  auto deadline = SteadyClock::now() + bound;
  std::optional<wire::WorkerPool::Blocked> blocked;
  if (turn_taken_ && bound.count() > 0) blocked.emplace();
  bool in_time = true;
  while (turn_taken_ && !(unless_removed && removed_)) {
    if (!in_time) return false;
    auto left = deadline - SteadyClock::now();
    in_time = left.count() > 0 && turn_free_.WaitFor(mutex_, left);
  }
  return true;
}

Error Container::Busy(std::chrono::milliseconds bound) const {
  return Unavailable("container {} is busy: another request holds it for {} s", id_,
                     std::chrono::duration_cast<std::chrono::seconds>(bound).count());
}

Result<Container::Turn> Container::TakeTurn(std::chrono::milliseconds bound) {
  MutexLock lock(mutex_);
  if (!AwaitTurn(bound, /*unless_removed=*/false)) return Busy(bound);
  turn_taken_ = true;
  return Turn(this);
}

Result<std::optional<Container::Turn>> Container::TakeTurnUnlessRemoved() {
  MutexLock lock(mutex_);
  if (!AwaitTurn(kTurnBound, /*unless_removed=*/true)) return Busy(kTurnBound);
  if (removed_) return std::optional<Turn>();
  turn_taken_ = true;
  return std::optional<Turn>(Turn(this));
}

Result<Container::RecordPointer> Container::RecordAfterStart() {
  RecordPointer now = record();
  if (now->state.phase != Phase::kStarting) return now;
  TRY(TakeTurn());
  return record();
}

uint64_t Container::Wait(WaitCondition condition, WaitCallback callback) {
  RecordPointer record;
  uint64_t number = 0;
  {
    MutexLock lock(mutex_);
    number = next_number_++;
    record = record_;
    Phase phase = record->state.phase;
    bool running =
        record->state.IsAlive() || phase == Phase::kStarting || phase == Phase::kRestarting;
    bool holds = removed_ || (condition == WaitCondition::kNotRunning && !running);
    if (!holds) {
      waiters_.emplace(number, Waiter{condition, std::move(callback)});
      return number;
    }
  }
  callback(WaitResult{record->state.exit_code, record->state.error});
  return number;
}

void Container::CancelWait(uint64_t number) {
  MutexLock lock(mutex_);
  waiters_.erase(number);
}

void Container::Notify(const std::function<bool(WaitCondition)>& which) {
  std::vector<WaitCallback> callbacks;
  RecordPointer record;
  {
    MutexLock lock(mutex_);
    record = record_;
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
      if (which(waiter->second.condition)) {
        callbacks.push_back(std::move(waiter->second.callback));
        waiter = waiters_.erase(waiter);
      } else {
        ++waiter;
      }
    }
  }
  for (const WaitCallback& callback : callbacks) {
    callback(WaitResult{record->state.exit_code, record->state.error});
  }
}

void Container::NotifyExit() {
  Notify([](WaitCondition condition) { return condition != WaitCondition::kRemoved; });
}

bool Container::removed() const {
  MutexLock lock(mutex_);
  return removed_;
}

void Container::NotifyRemoved() {
  std::map<uint64_t, AttachCallback> attaches;
  {
    MutexLock lock(mutex_);
    removed_ = true;
    attaches.swap(attaches_);
    turn_free_.NotifyAll();
  }
  Notify([](WaitCondition) { return true; });
  for (auto& [number, callback] : attaches) {
    callback(FailedPrecondition("container {} was removed", id_));
  }
}

void Container::BeginShow() {
  MutexLock lock(mutex_);
  ++shows_;
}

void Container::EndShow() {
  std::vector<std::function<void()>> callbacks;
  {
    MutexLock lock(mutex_);
    if (--shows_ == 0) callbacks.swap(when_shown_);
  }
  for (const auto& callback : callbacks) callback();
}

bool Container::WhenShown(std::function<void()> callback) {
  {
    MutexLock lock(mutex_);
    if (shows_ > 0) {
      when_shown_.push_back(std::move(callback));
      return true;
    }
  }
  callback();
  return false;
}

uint64_t Container::AddAttach(AttachCallback callback) {
  MutexLock lock(mutex_);
  uint64_t number = next_number_++;
  attaches_.emplace(number, std::move(callback));
  return number;
}

void Container::CancelAttach(uint64_t number) {
  MutexLock lock(mutex_);
  attaches_.erase(number);
}

std::vector<Container::AttachCallback> Container::TakeAttaches() {
  MutexLock lock(mutex_);
  std::vector<AttachCallback> out;
  for (auto& [number, callback] : attaches_) out.push_back(std::move(callback));
  attaches_.clear();
  return out;
}

bool WaitForExit(Container& container, std::optional<std::chrono::seconds> bound) {
  auto ended = std::make_shared<std::promise<void>>();
  std::future<void> future = ended->get_future();
  wire::WorkerPool::Blocked blocked;
  uint64_t wait = container.Wait(WaitCondition::kNotRunning,
                                 [ended](const WaitResult&) { ended->set_value(); });
  if (!bound) {
    future.wait();
    return true;
  }
  if (future.wait_for(*bound) == std::future_status::ready) return true;
  container.CancelWait(wait);
  return false;
}

}  // namespace gantry::engine
