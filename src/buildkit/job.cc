// SPDX-License-Identifier: Apache-2.0
#include "buildkit/job.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "buildkit/gateway_container.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {
namespace {

constexpr size_t kKeptEnded = 16;
// Each of them holds layers and a directory.
constexpr size_t kMostResults = 1'000;
constexpr int kMostFrontends = 32;
// Of output and of parts' sizes: the first, and the newest for clients that are slow.
constexpr size_t kFirstBytes = size_t{8} << 20;
constexpr size_t kMostNewestBytes = size_t{56} << 20;
// What an update costs beside its bytes.
constexpr size_t kUpdateBytes = 512;

// What a client can do without.
bool IsDroppable(const StatusResponse& update) {
  bool ends_a_part = std::any_of(update.statuses().begin(), update.statuses().end(),
                                 [](const auto& status) { return status.has_completed(); });
  return update.vertexes().empty() && update.warnings().empty() && !ends_a_part;
}

}  // namespace

Result<std::shared_ptr<Job>> Job::Create(std::string ref, Wanted wanted) {
  StopSource returned = TRY(StopSource::Create());
  return std::shared_ptr<Job>(new Job(std::move(ref), std::move(wanted), std::move(returned)));
}

Job::Job(std::string ref, Wanted wanted, StopSource returned)
    : ref_(std::move(ref)),
      wanted_(std::move(wanted)),
      returned_(std::move(returned)),
      progress_(ref_, [this](StatusResponse update) { Publish(std::move(update)); }),
      containers_(std::make_shared<GatewayContainers>()) {}

void Job::Wake(std::vector<std::function<void()>> sleepers) {
  for (auto& wake : sleepers) wake();
}

void Job::Follow(std::function<void(const StatusResponse& update)> tell) {
  MutexLock lock(mutex_);
  follower_ = std::move(tell);
}

std::vector<StatusResponse> Job::Updates() {
  MutexLock lock(mutex_);
  std::vector<StatusResponse> out;
  for (const auto& [number, update] : updates_) out.push_back(update);
  return out;
}

void Job::KeepUpdate(StatusResponse update) {
  size_t number = next_update_++;
  if (IsDroppable(update)) {
    size_t bytes = update.ByteSizeLong() + kUpdateBytes;
    if (first_bytes_ < kFirstBytes) {
      first_bytes_ += bytes;
    } else {
      droppable_.push_back({number, bytes});
      droppable_bytes_ += bytes;
    }
  }
  updates_[number] = std::move(update);
  while (droppable_bytes_ > kMostNewestBytes) {
    updates_.erase(droppable_.front().number);
    droppable_bytes_ -= droppable_.front().bytes;
    droppable_.pop_front();
  }
}

void Job::Publish(StatusResponse update) {
  std::function<void(const StatusResponse&)> follower;
  {
    MutexLock lock(mutex_);
    follower = follower_;
  }
  // Progress makes one update after the other.
  if (follower) follower(update);
  std::vector<std::function<void()>> sleepers;
  {
    MutexLock lock(mutex_);
    KeepUpdate(std::move(update));
    sleepers = std::exchange(sleepers_, {});
  }
  Wake(std::move(sleepers));
}

void Job::End() {
  // They hold results.
  containers_->End();
  std::vector<std::function<void()>> sleepers;
  std::map<std::string, std::shared_ptr<Made>> made;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    made.swap(made_);
    sleepers = std::exchange(sleepers_, {});
  }
  Wake(std::move(sleepers));
}

Job::Next Job::Read(size_t* number, StatusResponse* update, std::function<void()> wake) {
  MutexLock lock(mutex_);
  auto next = updates_.lower_bound(*number);
  if (next != updates_.end()) {
    *update = next->second;
    // What is not there any more was output, mostly.
    if (next->first != *number && update->logs_size() > 0) {
      auto* log = update->mutable_logs(0);
      log->set_msg("\n[output clipped, the client was too slow]\n" + log->msg());
    }
    *number = next->first + 1;
    return Next::kHave;
  }
  if (ended_) return Next::kEnd;
  sleepers_.push_back(std::move(wake));
  return Next::kLater;
}

std::optional<Job::CacheImports> Job::imports() {
  MutexLock lock(mutex_);
  return imports_;
}

void Job::KeepImports(CacheImports imports) {
  MutexLock lock(mutex_);
  imports_ = std::move(imports);
}

Result<Undo> Job::TakeFrontend() {
  MutexLock lock(mutex_);
  if (frontends_ >= kMostFrontends) {
    return MakeError(ErrorKind::kResourceExhausted, "{} front ends run already", kMostFrontends);
  }
  ++frontends_;
  Undo out;
  out.Push([this] {
    MutexLock end(mutex_);
    --frontends_;
  });
  return out;
}

Result<std::string> Job::Keep(std::unique_ptr<Made> made) {
  MutexLock lock(mutex_);
  if (ended_) return NotFound("no such job {}", ref_);
  if (made_.size() >= kMostResults) {
    return MakeError(ErrorKind::kResourceExhausted, "the build has made {} results: that is all",
                     kMostResults);
  }
  std::string name = fmt::format("{}-{}", ref_, made_.size() + 1);
  made_[name] = std::move(made);
  return name;
}

Result<std::shared_ptr<Made>> Job::Get(const std::string& name) {
  MutexLock lock(mutex_);
  auto found = made_.find(name);
  if (found == made_.end()) return NotFound("no such result: {}", name);
  return found->second;
}

void Job::Return(Result<Solved> result, const ErrorDetails& details) {
  MutexLock lock(mutex_);
  if (!result_) {
    result_ = std::move(result);
    details_ = details;
  }
  returned_.RequestStop();
}

Result<MadeResult> Job::AwaitReturn(const StopToken& stop, ErrorDetails* details) {
  {
    wire::WorkerPool::Blocked blocked;
    TRY(WaitFor(returned_.token().fd(), POLLIN, std::chrono::hours(24 * 365), stop));
  }
  Solved solved;
  {
    MutexLock lock(mutex_);
    if (!result_->ok()) {
      *details = details_;
      return result_->error();
    }
    solved = **result_;
  }
  MadeResult out;
  for (const Solved::Ref& ref : solved.refs) {
    out.parts.push_back({TRY(Get(ref.name)), ref.platform});
  }
  out.metadata = std::move(solved.metadata);
  return out;
}

Result<std::shared_ptr<Job>> Jobs::Begin(const std::string& ref, Wanted wanted) {
  if (ref.empty()) return InvalidArgument("a build needs a reference");
  auto job = TRY(Job::Create(ref, std::move(wanted)));
  MutexLock lock(mutex_);
  if (!jobs_.emplace(ref, job).second) return AlreadyExists("job {} exists already", ref);
  begun_.NotifyAll();
  return job;
}

void Jobs::End(const std::string& ref) {
  std::shared_ptr<Job> job;
  {
    MutexLock lock(mutex_);
    auto found = jobs_.find(ref);
    if (found == jobs_.end()) return;
    job = found->second;
    jobs_.erase(found);
    ended_.push_back(job);
    if (ended_.size() > kKeptEnded) ended_.pop_front();
  }
  job->End();
}

Result<std::shared_ptr<Job>> Jobs::Find(const std::string& ref, std::chrono::milliseconds bound) {
  wire::WorkerPool::Blocked blocked;
  auto deadline = SteadyClock::now() + bound;
  MutexLock lock(mutex_);
  for (;;) {
    auto found = jobs_.find(ref);
    if (found != jobs_.end()) return found->second;
    // It will not begin again.
    if (Ended(ref)) return NotFound("no such job {}", ref);
    auto left = deadline - SteadyClock::now();
    if (left <= left.zero()) return NotFound("no such job {}", ref);
    (void)begun_.WaitFor(mutex_, left);
  }
}

Result<build::StageState> Jobs::FindResult(const std::string& name) {
  std::shared_ptr<Job> job;
  {
    MutexLock lock(mutex_);
    auto found = jobs_.find(name.substr(0, name.rfind('-')));
    if (found == jobs_.end()) return NotFound("no such result: {}", name);
    job = found->second;
  }
  return TRY(job->Get(name))->result();
}

std::shared_ptr<Job> Jobs::Ended(const std::string& ref) const {
  auto found = std::find_if(ended_.rbegin(), ended_.rend(),
                            [&](const auto& job) { return job->ref() == ref; });
  return found == ended_.rend() ? nullptr : *found;
}

Result<std::shared_ptr<Job>> Jobs::FindOrEnded(const std::string& ref,
                                               std::chrono::milliseconds bound) {
  auto job = Find(ref, bound);
  if (job.ok()) return job;
  MutexLock lock(mutex_);
  std::shared_ptr<Job> ended = Ended(ref);
  if (ended == nullptr) return job;
  return ended;
}

}  // namespace gantry::buildkit
