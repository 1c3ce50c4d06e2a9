// SPDX-License-Identifier: Apache-2.0
#include "engine/health.h"

#include <algorithm>
#include <utility>

namespace gantry::engine {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kDefaultInterval = std::chrono::seconds(30);
constexpr nanoseconds kDefaultTimeout = std::chrono::seconds(30);
constexpr nanoseconds kDefaultStartInterval = std::chrono::seconds(5);
constexpr int64_t kDefaultRetries = 3;
constexpr size_t kKeptResults = 5;
constexpr int64_t kShortest = 1'000'000;  // a millisecond
constexpr size_t kFrameHead = 8;

nanoseconds OrDefault(int64_t asked, nanoseconds fallback) {
  return asked == 0 ? fallback : nanoseconds(asked);
}

bool InStartPeriod(const Healthcheck& check, WallTime started_at, WallTime when) {
  return when - started_at < nanoseconds(check.start_period);
}

}  // namespace

std::optional<std::vector<std::string>> ProbeCommand(const ContainerConfig& config) {
  if (!config.healthcheck || config.healthcheck->test.empty()) return std::nullopt;
  const std::vector<std::string>& test = config.healthcheck->test;
  std::vector<std::string> command;
  if (test[0] == "CMD-SHELL") {
    command = config.shell;
    if (command.empty()) command = {"/bin/sh", "-c"};
  } else if (test[0] != "CMD") {
    return std::nullopt;  // "NONE", or a word that docker passes over as well
  }
  command.insert(command.end(), test.begin() + 1, test.end());
  return command;
}

nanoseconds ProbeTimeout(const Healthcheck& check) {
  return OrDefault(check.timeout, kDefaultTimeout);
}

nanoseconds ProbeDelay(const Healthcheck& check, const ContainerState& state, WallTime now) {
  bool starting = state.health && state.health->status == HealthStatus::kStarting;
  if (starting && InStartPeriod(check, state.started_at, now)) {
    return OrDefault(check.start_interval, kDefaultStartInterval);
  }
  return OrDefault(check.interval, kDefaultInterval);
}

Health HealthAfter(Health health, const Healthcheck& check, WallTime started_at,
                   ProbeResult result) {
  int64_t retries = check.retries == 0 ? kDefaultRetries : check.retries;
  if (result.exit_code == 0) {
    health.failing_streak = 0;
    health.status = HealthStatus::kHealthy;
  } else if (health.status != HealthStatus::kStarting ||
             !InStartPeriod(check, started_at, result.start)) {
    ++health.failing_streak;
    if (health.failing_streak >= retries) health.status = HealthStatus::kUnhealthy;
  }
  health.log.push_back(std::move(result));
  while (health.log.size() > kKeptResults) health.log.erase(health.log.begin());
  return health;
}

Result<> CheckHealthcheck(const Healthcheck& check) {
  for (auto [name, value] :
       {std::pair("Interval", check.interval), std::pair("Timeout", check.timeout),
        std::pair("StartPeriod", check.start_period),
        std::pair("StartInterval", check.start_interval)}) {
    if (value != 0 && value < kShortest) {
      return InvalidArgument("{} in Healthcheck cannot be less than 1ms", name);
    }
  }
  if (check.retries < 0) return InvalidArgument("Retries in Healthcheck cannot be negative");
  return {};
}

void MergeHealthcheck(const std::optional<Healthcheck>& image, std::optional<Healthcheck>* config) {
  if (!image) return;
  if (!*config) {
    *config = image;
    return;
  }
  Healthcheck& check = **config;
  if (check.test.empty()) check.test = image->test;
  for (int64_t Healthcheck::* field :
       {&Healthcheck::interval, &Healthcheck::timeout, &Healthcheck::start_period,
        &Healthcheck::start_interval, &Healthcheck::retries}) {
    if (check.*field == 0) check.*field = (*image).*field;
  }
}

void ProbeOutput::TakeFrames(std::string_view bytes) {
  while (!bytes.empty()) {
    if (left_ == 0) {
      size_t part = std::min(kFrameHead - head_.size(), bytes.size());
      head_.append(bytes.substr(0, part));
      bytes.remove_prefix(part);
      if (head_.size() < kFrameHead) return;
      for (size_t i = 4; i < kFrameHead; ++i) {
        left_ = left_ << 8 | static_cast<unsigned char>(head_[i]);
      }
      head_.clear();
      continue;
    }
    size_t part = std::min(left_, bytes.size());
    size_t kept = std::min(part, kMaxProbeOutput - std::min(kMaxProbeOutput, text_.size()));
    text_.append(bytes.substr(0, kept));
    if (kept < part && !std::exchange(cut_, true)) text_.append("...");
    left_ -= part;
    bytes.remove_prefix(part);
  }
}

}  // namespace gantry::engine
