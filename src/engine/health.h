// SPDX-License-Identifier: Apache-2.0
//
// Health checks: what a container's configuration asks for, what a probe's result means for its
// state, and the monitor that runs the probes as execs. A waiting probe is one timer of the loop
// and a running one one socket; no thread waits.
//
//   starting ──success──▶ healthy ◀──success── unhealthy
//      │                     │                     ▲
//      └───── `retries` failures one after the other ──┘   (none counts in the start period)
//
// As docker has it, a container that is paused or has ended is "unhealthy": nobody looks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "engine/config.h"
#include "engine/container.h"

namespace gantry::engine {

class Engine;
class Execs;

// Bytes of a probe's output that are kept.
inline constexpr size_t kMaxProbeOutput = 4096;

// The command that probes a container with this configuration; nothing: it has no health check.
std::optional<std::vector<std::string>> ProbeCommand(const ContainerConfig& config);
std::chrono::nanoseconds ProbeTimeout(const Healthcheck& check);
// From the start of the container, or the end of the last probe, to the next one.
std::chrono::nanoseconds ProbeDelay(const Healthcheck& check, const ContainerState& state,
                                    WallTime now);
// The health after a probe.
Health HealthAfter(Health before, const Healthcheck& check, WallTime started_at,
                   ProbeResult result);
// kInvalidArgument for durations under a millisecond, in docker's words.
Result<> CheckHealthcheck(const Healthcheck& check);
// Fills in what the request leaves to the image.
void MergeHealthcheck(const std::optional<Healthcheck>& image, std::optional<Healthcheck>* config);

// The text of the frames of docs/shim-io.md, cut at kMaxProbeOutput. One thread.
class ProbeOutput {
 public:
  void TakeFrames(std::string_view bytes);
  const std::string& text() const { return text_; }

 private:
  std::string head_;
  size_t left_ = 0;  // bytes of the present frame
  std::string text_;
  bool cut_ = false;
};

class HealthMonitor {
 public:
  // All three outlive it.
  HealthMonitor(Engine& engine, Execs& execs, EventLoop& loop)
      : engine_(engine), execs_(execs), loop_(loop) {}

  // A container with a health check has begun to run (it was started, thawed or found running), or
  // does not any more. Any thread; does not block.
  void Begin(const std::string& id);
  void End(const std::string& id);

 private:
  struct Probe;
  struct Watch {
    uint64_t number = 0;
    std::optional<EventLoop::TimerId> timer;
  };

  // In the loop's thread.
  void Plan(const std::string& id, uint64_t number);
  void Read(const std::shared_ptr<Probe>& probe);
  void Finish(const std::shared_ptr<Probe>& probe, int exit_code, const std::string& output);
  bool IsCurrent(const std::string& id, uint64_t number) const;
  // On a worker.
  void Launch(const std::shared_ptr<Probe>& probe);
  Result<> Run(const std::shared_ptr<Probe>& probe);
  void TimeOut(const std::shared_ptr<Probe>& probe);

  Engine& engine_;
  Execs& execs_;
  EventLoop& loop_;
  // Only in the loop's thread.
  uint64_t next_ = 1;
  std::map<std::string, Watch> watches_;
};

}  // namespace gantry::engine
