// SPDX-License-Identifier: Apache-2.0
#include "buildkit/progress.h"

#include <utility>

#include "build/stage_state.h"

namespace gantry::buildkit {

google::protobuf::Timestamp ToTimestamp(WallTime time) {
  constexpr int64_t kNanos = 1'000'000'000;
  google::protobuf::Timestamp out;
  out.set_seconds(UnixNanos(time) / kNanos);
  out.set_nanos(static_cast<int32_t>(UnixNanos(time) % kNanos));
  return out;
}

namespace {

google::protobuf::Timestamp Now() { return ToTimestamp(WallClock::now()); }

}  // namespace

size_t Progress::Begin(const std::string& name) { return Begin(name, ""); }

size_t Progress::Begin(const std::string& name, const std::string& digest) {
  MutexLock lock(mutex_);
  size_t number = ++last_;
  steps_[number].begun = SteadyClock::now();
  auto& vertex = steps_[number].vertex;
  vertex.set_digest(digest);
  if (digest.empty()) {
    // Clients only need that it is another one for each step.
    vertex.set_digest("sha256:" + build::HexDigest(fmt::format("{}\n{}", ref_, number)));
  }
  vertex.set_name(name);
  *vertex.mutable_started() = Now();
  Update update;
  *update.add_vertexes() = vertex;
  publish_(std::move(update));
  return number;
}

void Progress::Cached(size_t step) {
  MutexLock lock(mutex_);
  auto& vertex = steps_[step].vertex;
  vertex.set_cached(true);
  Update update;
  *update.add_vertexes() = vertex;
  publish_(std::move(update));
}

void Progress::PublishLog(const Step& step, bool to_stderr, const std::string& text) {
  if (text.empty()) return;
  Update update;
  auto* log = update.add_logs();
  log->set_vertex(step.vertex.digest());
  *log->mutable_timestamp() = Now();
  log->set_stream(to_stderr ? 2 : 1);
  log->set_msg(text);
  publish_(std::move(update));
}

void Progress::Log(size_t step, bool to_stderr, std::string_view text) {
  static const LogLimit::Bounds kBounds = LogLimit::FromEnvironment();
  MutexLock lock(mutex_);
  Step& of = steps_[step];
  auto limit = of.limits.try_emplace(to_stderr, kBounds, of.begun).first;
  PublishLog(of, to_stderr, limit->second.Take(text, SteadyClock::now()));
}

void Progress::Part(size_t step, const std::string& name, int64_t current, int64_t total,
                    bool done) {
  MutexLock lock(mutex_);
  Step& of = steps_[step];
  auto [started, is_new] = of.parts.try_emplace(name, Now());
  Update update;
  auto* status = update.add_statuses();
  status->set_id(name);
  status->set_vertex(of.vertex.digest());
  status->set_name(name);
  status->set_current(current);
  status->set_total(total);
  *status->mutable_timestamp() = Now();
  *status->mutable_started() = started->second;
  if (done) *status->mutable_completed() = Now();
  publish_(std::move(update));
}

void Progress::Warn(size_t step, moby::buildkit::v1::VertexWarning warning) {
  MutexLock lock(mutex_);
  warning.set_vertex(steps_[step].vertex.digest());
  Update update;
  *update.add_warnings() = std::move(warning);
  publish_(std::move(update));
}

void Progress::Warn(moby::buildkit::v1::VertexWarning warning) {
  MutexLock lock(mutex_);
  Update update;
  *update.add_warnings() = std::move(warning);
  publish_(std::move(update));
}

void Progress::End(size_t step, const std::string& error) {
  MutexLock lock(mutex_);
  auto limits = std::exchange(steps_[step].limits, {});
  for (auto& [to_stderr, limit] : limits) {
    if (!error.empty()) PublishLog(steps_[step], to_stderr, limit.TakeRest());
  }
  auto& vertex = steps_[step].vertex;
  *vertex.mutable_completed() = Now();
  vertex.set_error(error);
  Update update;
  *update.add_vertexes() = vertex;
  publish_(std::move(update));
}

}  // namespace gantry::buildkit
