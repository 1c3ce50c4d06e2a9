// SPDX-License-Identifier: Apache-2.0
//
// One build of BuildKit's API by its reference: what the client wants of it (Control.Solve), its
// progress (Control.Status), its results until one of them is returned, and its client's containers
// (LLBBridge). Any thread.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "base/undo.h"
#include "buildkit/made.h"
#include "buildkit/progress.h"
#include "buildkit/rpc.h"
#include "moby/buildkit/control.pb.h"

namespace gantry::buildkit {

using moby::buildkit::v1::StatusResponse;

class GatewayContainers;

// What a client wants to be attested of how its image was made (provenance.h).
struct ProvenanceWish {
  bool all = true;      // mode=max: with build arguments, labels, secrets' names and the Dockerfile
  bool is_old = false;  // version 0.2
  std::string builder;
  bool reproducible = false;  // says the client
  // Clients' own idea, not their user's: where an image leaves the machine.
  bool is_default = false;
};

struct Wanted {
  std::string session;
  std::set<std::string> entitlements;  // "network.host", "security.insecure"
  std::vector<moby::buildkit::v1::Exporter> exporters;
  std::vector<moby::buildkit::v1::CacheOptionsEntry> cache_exports;
  std::vector<moby::buildkit::v1::CacheOptionsEntry> cache_imports;
  std::optional<ProvenanceWish> provenance;
};

// What was made, or answered.
struct Solved {
  struct Ref {
    std::string name;      // that the build keeps it under
    std::string platform;  // "linux/arm64" of one of several, or of one that is told as such; or ""
  };
  std::vector<Ref> refs;  // none: the metadata is all
  std::map<std::string, std::string> metadata;
};

// The result of a build: an image, or one for each of several platforms.
struct MadeResult {
  struct Part {
    std::shared_ptr<Made> made;
    std::string platform;  // as in Solved
  };
  std::vector<Part> parts;                      // none: the client wants none
  std::map<std::string, std::string> metadata;  // of who made it
};

class Job {
 public:
  static Result<std::shared_ptr<Job>> Create(std::string ref, Wanted wanted);

  const std::string& ref() const { return ref_; }
  const Wanted& wanted() const { return wanted_; }
  WallTime begun() const { return begun_; }

  Progress& progress() { return progress_; }
  // All so far.
  std::vector<StatusResponse> Updates();
  // From now on `tell` gets each update as well, in order, by the thread that makes it.
  void Follow(std::function<void(const StatusResponse& update)> tell);
  // Nothing more is published; what was made and not stored is given up.
  void End();
  enum class Next : uint8_t { kHave, kLater, kEnd };
  // The update with that number, or the next one that is still there; `number` is that behind it
  // then. kLater: `wake` is called once when there is more.
  Next Read(size_t* number, StatusResponse* update, std::function<void()> wake);

  // The caches that were imported for it, once they are.
  using CacheImports = std::vector<std::shared_ptr<const build::CacheImport>>;
  std::optional<CacheImports> imports();
  void KeepImports(CacheImports imports);
  // Of the client's own.
  GatewayContainers& containers() { return *containers_; }
  // One more front end of an image runs, until the object is gone. kResourceExhausted.
  Result<Undo> TakeFrontend();

  // Keeps what was made; the name by which it can be returned. kNotFound when the job has ended,
  // kResourceExhausted when it has made too much.
  Result<std::string> Keep(std::unique_ptr<Made> made);
  // What is kept under that name. kNotFound.
  Result<std::shared_ptr<Made>> Get(const std::string& name);
  // Ends AwaitReturn. The first counts. `details`: of an error.
  void Return(Result<Solved> result, const ErrorDetails& details = {});
  // What was returned. kCancelled when `stop` says so.
  Result<MadeResult> AwaitReturn(const StopToken& stop, ErrorDetails* details);

 private:
  Job(std::string ref, Wanted wanted, StopSource returned);
  void Publish(StatusResponse update);
  void KeepUpdate(StatusResponse update) REQUIRES(mutex_);
  void Wake(std::vector<std::function<void()>> sleepers);

  const std::string ref_;
  const Wanted wanted_;
  const WallTime begun_ = WallClock::now();
  StopSource returned_;
  Progress progress_;
  const std::shared_ptr<GatewayContainers> containers_;
  Mutex mutex_;
  // By number. Of those that are no step's begin or end the first and the newest are kept.
  std::map<size_t, StatusResponse> updates_ GUARDED_BY(mutex_);
  size_t next_update_ GUARDED_BY(mutex_) = 0;
  struct Droppable {
    size_t number = 0;
    size_t bytes = 0;
  };
  std::deque<Droppable> droppable_ GUARDED_BY(mutex_);
  size_t droppable_bytes_ GUARDED_BY(mutex_) = 0;
  size_t first_bytes_ GUARDED_BY(mutex_) = 0;
  std::vector<std::function<void()>> sleepers_ GUARDED_BY(mutex_);
  std::function<void(const StatusResponse&)> follower_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::map<std::string, std::shared_ptr<Made>> made_ GUARDED_BY(mutex_);
  std::optional<Result<Solved>> result_ GUARDED_BY(mutex_);
  ErrorDetails details_ GUARDED_BY(mutex_);
  int frontends_ GUARDED_BY(mutex_) = 0;
  std::optional<CacheImports> imports_ GUARDED_BY(mutex_);
};

class Jobs {
 public:
  // kAlreadyExists for a reference that is in use.
  Result<std::shared_ptr<Job>> Begin(const std::string& ref, Wanted wanted);
  // Ends it. Its progress can still be asked for by clients that come late.
  void End(const std::string& ref);
  // Calls that belong to a job may come before it: waits up to `bound` for it. kNotFound.
  Result<std::shared_ptr<Job>> Find(const std::string& ref, std::chrono::milliseconds bound);
  // Also one that has ended, a while ago.
  Result<std::shared_ptr<Job>> FindOrEnded(const std::string& ref, std::chrono::milliseconds bound);
  // A result of a job that has not ended, by its name.
  Result<build::StageState> FindResult(const std::string& name);

 private:
  std::shared_ptr<Job> Ended(const std::string& ref) const REQUIRES(mutex_);

  Mutex mutex_;
  CondVar begun_;
  std::map<std::string, std::shared_ptr<Job>> jobs_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Job>> ended_ GUARDED_BY(mutex_);
};

}  // namespace gantry::buildkit
