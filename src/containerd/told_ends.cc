// SPDX-License-Identifier: Apache-2.0
#include "containerd/told_ends.h"

#include <algorithm>

#include "base/log.h"
#include "containerd/events/task.pb.h"

namespace gantry::containerd {
namespace {

constexpr uint64_t kCount = 16384;
constexpr size_t kReadBytes = size_t{256} << 10;

}  // namespace

std::map<std::pair<std::string, std::string>, ToldEnd> ReadToldEnds(const EventLog& log) {
  std::map<std::pair<std::string, std::string>, ToldEnd> told;
  uint64_t next = log.next();
  auto oldest = log.Resolve("oldest");
  uint64_t from = std::max(oldest.ok() ? *oldest : next, next > kCount ? next - kCount : 1);
  while (from < next) {
    auto events = log.Read(from, kReadBytes);
    if (!events.ok()) {
      log::Warning("looking for the ends of tasks: {}", events.error().message());
      break;
    }
    for (const auto& envelope : *events) {
      const std::string& bytes = envelope.event().value();
      ::containerd::events::TaskExit exit;
      ::containerd::events::TaskCreate create;
      ::containerd::events::TaskDelete deleted;
      if (envelope.topic() == "/tasks/create" && create.ParseFromString(bytes)) {
        told[{envelope.namespace_(), create.container_id()}] = {.created = true};
      } else if (envelope.topic() == "/tasks/exit" && exit.ParseFromString(bytes)) {
        // An exec's exit has another id.
        if (exit.id() == exit.container_id()) {
          told[{envelope.namespace_(), exit.container_id()}].exit = true;
        }
      } else if (envelope.topic() == "/tasks/delete" && deleted.ParseFromString(bytes)) {
        bool init = deleted.id().empty() || deleted.id() == deleted.container_id();
        if (init) told[{envelope.namespace_(), deleted.container_id()}].deleted = true;
      }
    }
    from += events->size();
  }
  return told;
}

}  // namespace gantry::containerd
