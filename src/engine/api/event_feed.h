// SPDX-License-Identifier: Apache-2.0
//
// A parked answer of GET /events. While its client keeps up, events go straight from the log's
// listener to the socket; a client that is behind is read from the durable log instead, so that it
// misses nothing and nothing piles up in memory. Owns itself.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/api/api.h"
#include "engine/api/filters.h"

namespace gantry::engine::api {

struct EventRange {
  bool from_log = false;  // with what was before the request
  WallTime since = WallTime::min();
  WallTime until = WallTime::max();
};

// Whether API 1.MINOR has such events.
bool IsKnown(const Event& event, int minor);
// Whether an event passes `docker events --filter`.
bool MatchesFilters(const Event& event, const Filters& filters);

// The form of the stream: one object a line. What each API version has of it is in version_shape.h.
struct EventForm {
  std::string_view media_type;
  int minor = kMaxMinor;
  bool record_separator = false;  // RFC 7464

  // By the API version and what the client accepts.
  static EventForm Choose(int minor, std::string_view accept);
};
std::string EventLine(const Event& event, const EventForm& form);

void FeedEvents(ApiParts& parts, std::shared_ptr<wire::ResponseSink> sink, EventRange range,
                Filters filters, EventForm form);

}  // namespace gantry::engine::api
