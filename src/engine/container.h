// SPDX-License-Identifier: Apache-2.0
//
// One container of the engine: its record, what state it is in, who waits for it.
//
//   created ──start──▶ starting ──▶ running ◀──▶ paused
//                          │           │
//                          ▼           ▼
//                       created/     exited ──start──▶ starting
//                       exited         │
//   any of created, exited, dead ──remove──▶ removing ──▶ (gone)
//
// A record is immutable once published: readers take a shared pointer and need no lock afterwards.
// What starts, ends or removes a container holds its turn (TakeTurn), so that such work happens one
// after the other; the turn is no mutex: it may be held across calls to other processes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "engine/config.h"
#include "engine/mount_points.h"
#include "engine/step_inputs.h"
#include "formats/json.h"

namespace gantry::engine {

enum class Phase : uint8_t {
  kCreated,
  kStarting,
  kRunning,
  kPaused,
  kRestarting,
  kExited,
  kRemoving,
  kDead,
};
// docker's word: "created", "running", "paused", "restarting", "exited", "removing", "dead";
// starting is "created".
std::string_view PhaseName(Phase phase);
// The table behind the picture above.
bool MayFollow(Phase from, Phase to);

enum class HealthStatus : uint8_t { kStarting, kHealthy, kUnhealthy };
std::string_view HealthStatusName(HealthStatus status);

struct ProbeResult {
  WallTime start{};
  WallTime end{};
  int exit_code = 0;
  std::string output;
};
// Of a container with a health check that has been started (engine/health.h).
struct Health {
  HealthStatus status = HealthStatus::kStarting;
  int64_t failing_streak = 0;
  std::vector<ProbeResult> log;  // the last five, oldest first
};

struct ContainerState {
  Phase phase = Phase::kCreated;
  // Not in the record on disk: what it was before it is starting, which users see until it runs.
  Phase started_from = Phase::kCreated;
  uint32_t pid = 0;
  int exit_code = 0;
  std::string error;  // why the last start failed
  bool oom_killed = false;
  bool has_been_started = false;
  bool removes_volumes = false;  // its anonymous ones go with it
  bool removed_at_end = false;   // not in the record on disk: its end removes it, as with --rm
  bool stopped_by_user = false;  // no restart policy brings it back
  int restart_count = 0;
  int restart_doublings = 0;  // of the delay before the next restart
  // Not in the record on disk: a restart whose time has come is the one that was planned last.
  uint64_t restart_number = 0;
  bool restarting_by_user = false;  // between the stop and the start of POST …/restart
  WallTime started_at{};
  WallTime finished_at{};
  std::optional<Health> health;

  bool IsAlive() const { return phase == Phase::kRunning || phase == Phase::kPaused; }
  Phase ShownPhase() const { return phase == Phase::kStarting ? started_from : phase; }
};

struct ContainerRecord {
  std::string id;    // 64 hexadecimal digits
  std::string name;  // without the slash
  WallTime created{};
  ContainerConfig config;  // merged with the image's
  HostConfig host;         // with the defaults filled in
  NetworkingConfig networking;
  std::string hostname;    // what the container sees
  std::string image_id;    // digest of the image's configuration
  std::string image_name;  // the image's name in the store, normalised; "" for an image by id
  std::vector<MountPoint> mounts;  // in the order in which they were asked for
  // The image's init layer; of a step of a build, and of containers of earlier versions, the chain
  // id of the image's top layer, "" for an empty image.
  std::string parent_snapshot;
  bool for_build = false;  // a step of a build: no start of the engine keeps it
  ContainerState state;
};

// The ids of the images that a container needs: what it was made from, and those it mounts.
std::set<std::string> ImagesOf(const ContainerRecord& record);

formats::Json ToJson(const ContainerRecord& record);
Result<ContainerRecord> ParseContainerRecord(const formats::Json& json);

enum class WaitCondition { kNotRunning, kNextExit, kRemoved };
struct WaitResult {
  int exit_code = 0;
  std::string error;
};

class Container {
 public:
  using RecordPointer = std::shared_ptr<const ContainerRecord>;
  using WaitCallback = std::function<void(const WaitResult&)>;
  // Gets the path of the shim's attach socket, between Create and Start of the task; must have
  // attached when it returns. An error: the container will not start.
  using AttachCallback = std::function<void(Result<std::string> socket)>;

  explicit Container(ContainerRecord record, std::shared_ptr<const StepInputs> inputs = nullptr);

  RecordPointer record() const;
  const std::string& id() const { return id_; }

  // Of a step of a build until DropInputs; else nullptr.
  std::shared_ptr<const StepInputs> inputs() const;
  void DropInputs();

  // Publishes a changed copy of the record. A change of phase that the table forbids is a bug.
  void Update(const std::function<void(ContainerRecord&)>& change);

  // Whoever starts, ends or removes the container holds its turn; kUnavailable after `bound`.
  class Turn {
   public:
    Turn(Turn&& other) noexcept : container_(std::exchange(other.container_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn();

   private:
    friend class Container;
    explicit Turn(Container* container) : container_(container) {}
    Container* container_;
  };
  static constexpr std::chrono::seconds kTurnBound{120};
  Result<Turn> TakeTurn(std::chrono::milliseconds bound = kTurnBound);
  // Nothing once somebody else has removed the container, whose tidying up may still hold the turn.
  Result<std::optional<Turn>> TakeTurnUnlessRemoved();

  // The record once a start that is under way has ended: the program may have said already that it
  // runs, so what is done to a running container waits for that.
  Result<RecordPointer> RecordAfterStart();

  // Calls back once, from any thread, soon; at once when the condition holds already. The number
  // takes the wait back (a client that hung up).
  uint64_t Wait(WaitCondition condition, WaitCallback callback);
  void CancelWait(uint64_t number);
  // The engine: the container ended, or is gone.
  void NotifyExit();
  void NotifyRemoved();
  // What is left of it is being tidied up; nobody finds it any more.
  bool removed() const;

  // Clients that are being shown output: from the attach to the last byte that was handed to them.
  void BeginShow();
  void EndShow();
  // Calls back once nobody is shown anything: at once, or later (true) from the thread of the last
  // EndShow.
  bool WhenShown(std::function<void()> callback);

  // Attach clients that came before the start.
  uint64_t AddAttach(AttachCallback callback);
  void CancelAttach(uint64_t number);
  std::vector<AttachCallback> TakeAttaches();

 private:
  struct Waiter {
    WaitCondition condition;
    WaitCallback callback;
  };
  void Notify(const std::function<bool(WaitCondition)>& which);
  // False after the bound.
  bool AwaitTurn(std::chrono::milliseconds bound, bool unless_removed) REQUIRES(mutex_);
  Error Busy(std::chrono::milliseconds bound) const;

  const std::string id_;
  mutable Mutex mutex_;
  CondVar turn_free_;
  bool turn_taken_ GUARDED_BY(mutex_) = false;
  RecordPointer record_ GUARDED_BY(mutex_);
  std::shared_ptr<const StepInputs> inputs_ GUARDED_BY(mutex_);
  bool removed_ GUARDED_BY(mutex_) = false;
  uint64_t next_number_ GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Waiter> waiters_ GUARDED_BY(mutex_);
  std::map<uint64_t, AttachCallback> attaches_ GUARDED_BY(mutex_);
  size_t shows_ GUARDED_BY(mutex_) = 0;
  std::vector<std::function<void()>> when_shown_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
