// SPDX-License-Identifier: Apache-2.0
//
// What a killed gantryd has done and not told: the next start tells it, at the time when it was
// recorded, before it compares anything.
#include <algorithm>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/network_list.h"
#include "engine/store.h"

namespace gantry::engine {

Result<> Engine::TellUntold() {
  std::vector<Untold> all = TRY(store_->untold().List());
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
  return store_->untold().Clear();
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
