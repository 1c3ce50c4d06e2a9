// SPDX-License-Identifier: Apache-2.0
#include "buildkit/log_limit.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/number.h"
#include "base/text.h"

namespace gantry::buildkit {
namespace {

constexpr size_t kMostKept = size_t{256} << 10;

int64_t FromVariable(const char* name, int64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : ParseNumber<int64_t>(text).value_or(fallback);
}

// "2MiB", "200KiB", "1000B".
std::string InUnits(int64_t bytes) {
  constexpr std::pair<int64_t, const char*> kUnits[] = {
      {int64_t{1} << 30, "GiB"}, {int64_t{1} << 20, "MiB"}, {int64_t{1} << 10, "KiB"}};
  for (const auto& [size, name] : kUnits) {
    if (bytes >= size) {
      return fmt::format("{:.3g}{}", static_cast<double>(bytes) / static_cast<double>(size), name);
    }
  }
  return fmt::format("{}B", bytes);
}

}  // namespace

LogLimit::Bounds LogLimit::FromEnvironment() {
  Bounds bounds;
  bounds.size = FromVariable("BUILDKIT_STEP_LOG_MAX_SIZE", bounds.size);
  bounds.per_second = FromVariable("BUILDKIT_STEP_LOG_MAX_SPEED", bounds.per_second);
  return bounds;
}

LogLimit::Allowed LogLimit::AllowedAt(SteadyClock::time_point now) const {
  if (bounds_.per_second >= 0) {
    auto seconds = std::chrono::ceil<std::chrono::seconds>(now - begun_).count();
    int64_t so_far = std::max<int64_t>(seconds, 1) * bounds_.per_second;
    if (bounds_.size < 0 || so_far <= bounds_.size) return {so_far, true};
  }
  return {bounds_.size, false};
}

std::string LogLimit::Take(std::string_view text, SteadyClock::time_point now) {
  Allowed allowed = AllowedAt(now);
  auto size = static_cast<int64_t>(text.size());
  int64_t told = size;
  // What was left out counts: after a flood it is quiet until its mean speed is low again.
  if (allowed.bytes >= 0) told = std::clamp<int64_t>(allowed.bytes - written_, 0, size);
  written_ += size;
  bool clips = told < size;
  keeps_ = keeps_ || clips;
  if (keeps_) {
    std::string_view last = text.substr(text.size() - std::min(text.size(), kMostKept));
    kept_.append(last);
    // Not each time: what is moved is no more than what has come.
    if (kept_.size() > 2 * kMostKept) kept_.erase(0, kept_.size() - kMostKept);
  }
  std::string out(text.substr(0, static_cast<size_t>(told)));
  if (clips && !clipping_) {
    int64_t bound = allowed.by_speed ? bounds_.per_second : bounds_.size;
    out += fmt::format("\n[output clipped, log limit {}{} reached]\n", InUnits(bound),
                       allowed.by_speed ? "/s" : "");
  }
  clipping_ = clips;
  return out;
}

std::string LogLimit::TakeRest() {
  keeps_ = false;
  std::string rest = std::exchange(kept_, {});
  if (rest.size() > kMostKept) rest.erase(0, rest.size() - kMostKept);
  return rest;
}

}  // namespace gantry::buildkit
