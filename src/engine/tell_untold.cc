// SPDX-License-Identifier: Apache-2.0
//
// What a killed gantryd has done and not told: the next start tells it, at the time when it was
// recorded, before it compares anything.
#include <algorithm>
#include <functional>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/network_list.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr uint32_t kUnknownExecExit = 255;

}  // namespace

Result<> Engine::TellUntold() {
  std::vector<Untold> all = TRY(store_->untold().List());
  auto is_end_of_exec = [](const Untold& untold) { return untold.event.action == "exec_die"; };
  auto ends = std::stable_partition(all.begin(), all.end(), std::not_fn(is_end_of_exec));
  std::vector<Untold> to_come(ends, all.end());
  all.erase(ends, all.end());
  std::sort(all.begin(), all.end(),
            [](const Untold& a, const Untold& b) { return a.event.time < b.event.time; });
  for (Untold& untold : all) {
    if (!TRY(CameTrue(&untold))) continue;
    // One that the log's memory does not reach back to was told: the rows of those go late.
    if (options_.told(untold.event) || untold.event.time < options_.told_since()) continue;
    log::Info("telling of '{} {}' of {}, which was done before this start", untold.event.type,
              untold.event.action, untold.event.actor_id);
    Publish(untold.event);
  }
  return store_->untold().Clear(to_come);
}

// Execs whose end is not told: those that have ended, as the container daemon knows. Of one that is
// gone without a word, and at the first comparison alone, nobody knows how it ended.
Result<> Engine::ReconcileExecs(bool first) {
  for (const Untold& untold : TRY(store_->untold().List())) {
    if (untold.event.action != "exec_die") continue;
    client::TaskEvent exit;
    exit.container_id = untold.event.actor_id;
    exit.exec_id = untold.subject;
    exit.exit_status = kUnknownExecExit;
    Result<client::TaskState> state = containerd_->GetTask(exit.container_id, exit.exec_id);
    if (state.ok()) {
      // One that was not started yet by a gantryd that is gone will never be.
      bool ended = state->status == client::TaskStatus::kStopped;
      if (!ended && !(first && state->status == client::TaskStatus::kCreated)) continue;
      if (ended) exit.exit_status = state->exit_status;
    } else if (state.error().kind() != ErrorKind::kNotFound) {
      log::Warning("looking for exec {}: {}", exit.exec_id, state.error().message());
      continue;
    } else if (!first) {
      continue;
    } else if (options_.told(untold.event) || untold.event.time < options_.told_since()) {
      store_->untold().Done(untold.event, untold.subject);
      continue;
    }
    options_.exec_event(exit);
  }
  return {};
}

// An event of a container is recorded with what it tells of; others were recorded before.
Result<bool> Engine::CameTrue(Untold* untold) {
  Event& event = untold->event;
  auto is = [&](std::string_view type, std::string_view action) {
    return event.type == type && event.action == action;
  };
  if (is("network", "create")) {
    auto made = networks_->InspectNetwork(untold->subject);
    if (!made.ok() || made->created < event.time) return false;
    WallTime time = event.time;
    event = NetworkEvent("create", *made);
    event.time = time;
  } else if (is("network", "destroy")) {
    return !networks_->InspectNetwork(event.actor_id).ok();
  } else if (is("volume", "create")) {
    auto made = volumes_->Get(event.actor_id);
    return made.ok() && made->created >= event.time;
  } else if (is("volume", "destroy")) {
    return !volumes_->Get(event.actor_id).ok();
  } else if (event.type == "image") {
    auto image = containerd_->GetImage(untold->subject);
    if (!image.ok() && image.error().kind() != ErrorKind::kNotFound) {
      return std::move(image).error();
    }
    if (event.action == "untag" || event.action == "delete") return !image.ok();
    if (!image.ok() || image->updated_at < event.time) return false;
    // Of a pull the id was not known.
    if (event.actor_id.empty()) event.actor_id = TRY(images_->Documents(image->target))->id;
  }
  return true;
}

}  // namespace gantry::engine
