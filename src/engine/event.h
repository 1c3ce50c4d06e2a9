// SPDX-License-Identifier: Apache-2.0
//
// One entry of docker's event stream, and what those of each kind of object have in them. Plain
// data.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "engine/container.h"
#include "formats/json.h"
#include "networks/records.h"

namespace gantry::engine {

struct Event {
  std::string type;    // "container", "image", "network", …
  std::string action;  // "create", "start", "die", "exec_create: ls", …
  std::string actor_id;
  std::map<std::string, std::string> attributes;
  WallTime time{};
};

// With the time of now.
Event ContainerEvent(std::string_view action, const ContainerRecord& record,
                     std::map<std::string, std::string> attributes = {});
Event NetworkEvent(std::string_view action, const networks::Network& network,
                   std::string_view container_id = {});
Event VolumeEvent(std::string_view action, const std::string& name,
                  std::map<std::string, std::string> attributes);

// `document` is the image's configuration, whose labels go along; null for one that is gone.
Event ImageEvent(std::string_view action, const std::string& id, const std::string& name,
                 const formats::Json& document = {});

// As records have it.
formats::Json EventToJson(const Event& event);
// The event's fields of an object that may have others.
void ReadEvent(formats::JsonReader& reader, Event* event);

}  // namespace gantry::engine
