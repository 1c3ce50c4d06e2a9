// SPDX-License-Identifier: Apache-2.0
//
// `events`: a record of statistics at each interval and one for each kill for lack of memory, until
// the container's process ends.
#include <poll.h>

#include <algorithm>

#include "base/clock.h"
#include "kernel/oom_events.h"
#include "kernel/pidfd.h"
#include "runtime/operations.h"

namespace gantry::runtime {
namespace {

using std::chrono::milliseconds;

int MillisecondsUntil(SteadyClock::time_point when) {
  auto left = std::chrono::ceil<milliseconds>(when - SteadyClock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT32_MAX));
}

}  // namespace

Result<> Events(const std::string& root, const std::string& id, milliseconds interval,
                const EventPrinter& print) {
  StateDirectory directory(root, id);
  ContainerState state = TRY(directory.Load());
  if (TRY(StatusOf(directory, state)) == Status::kStopped) {
    return FailedPrecondition("container with id {} is not running", id);
  }
  UniqueFd process = TRY(kernel::OpenProcess(state.pid, state.start_time));
  // Without a memory controller there are no such events.
  std::optional<kernel::OomEvents> oom;
  Result<kernel::OomEvents> opened = kernel::OomEvents::Open(state.cgroups);
  if (opened.ok()) {
    oom = std::move(opened).value();
  } else if (opened.error().kind() != ErrorKind::kNotFound) {
    return std::move(opened).error();
  }
  SteadyClock::time_point next = SteadyClock::now() + interval;
  for (;;) {
    pollfd waits[] = {{process.get(), POLLIN, 0}, {oom ? oom->fd().get() : -1, POLLIN, 0}};
    int ready = ::poll(waits, 2, MillisecondsUntil(next));
    if (ready < 0 && errno != EINTR) return ErrnoError("waiting for events");
    // First, since what kills the container's process also ends this.
    if (waits[1].revents != 0) {
      if (oom->Read()) TRY(print(formats::Json::MakeObject({{"type", "oom"}, {"id", id}})));
      if (!oom->CgroupExists()) oom.reset();
    }
    if (waits[0].revents != 0) return {};
    if (SteadyClock::now() < next) continue;
    next += interval;
    Result<formats::Json> stats = Stats(root, id);
    if (stats.ok()) {
      TRY(print(*stats));
    } else if (stats.error().kind() != ErrorKind::kFailedPrecondition &&
               stats.error().kind() != ErrorKind::kNotFound) {
      return std::move(stats).error();
    }
  }
}

}  // namespace gantry::runtime
