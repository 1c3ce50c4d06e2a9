// SPDX-License-Identifier: Apache-2.0
//
// A parked answer of GET /events. While its client keeps up, events go straight from the log's
// listener to the socket; a client that is behind is read from the durable log instead, so that it
// misses nothing and nothing piles up in memory. Owns itself.
#pragma once

#include <memory>

#include "engine/api/api.h"
#include "engine/api/filters.h"

namespace gantry::engine::api {

struct EventRange {
  bool from_log = false;  // with what was before the request
  WallTime since = WallTime::min();
  WallTime until = WallTime::max();
};

// Whether an event passes `docker events --filter`.
bool MatchesFilters(const Event& event, const Filters& filters);
// One event as docker's stream has it, with the old members too.
std::string EventLine(const Event& event);

void FeedEvents(ApiParts& parts, std::shared_ptr<wire::ResponseSink> sink, EventRange range,
                Filters filters);

}  // namespace gantry::engine::api
