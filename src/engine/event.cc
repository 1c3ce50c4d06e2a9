// SPDX-License-Identifier: Apache-2.0
#include "engine/event.h"

#include <utility>

namespace gantry::engine {

using formats::Json;

Event ContainerEvent(std::string_view action, const ContainerRecord& record,
                     std::map<std::string, std::string> attributes) {
  Event event;
  event.type = "container";
  event.action = action;
  event.actor_id = record.id;
  event.attributes = std::move(attributes);
  event.attributes.emplace("image", record.config.image);
  event.attributes.emplace("name", record.name);
  event.attributes.insert(record.config.labels.begin(), record.config.labels.end());
  event.time = WallClock::now();
  return event;
}

Event NetworkEvent(std::string_view action, const networks::Network& network,
                   std::string_view container_id) {
  Event event;
  event.type = "network";
  event.action = action;
  event.actor_id = network.id;
  event.attributes = {{"name", network.name}, {"type", network.driver}};
  if (!container_id.empty()) event.attributes.emplace("container", container_id);
  event.time = WallClock::now();
  return event;
}

Event VolumeEvent(std::string_view action, const std::string& name,
                  std::map<std::string, std::string> attributes) {
  Event event;
  event.type = "volume";
  event.action = action;
  event.actor_id = name;
  event.attributes = std::move(attributes);
  event.time = WallClock::now();
  return event;
}

Event ImageEvent(std::string_view action, const std::string& id, const std::string& name,
                 const Json& document) {
  Event event;
  event.type = "image";
  event.action = action;
  event.actor_id = id;
  event.attributes["name"] = name;
  for (const auto& [key, value] : document["config"]["Labels"].members()) {
    event.attributes.emplace(key, value.AsString());
  }
  event.time = WallClock::now();
  return event;
}

Json EventToJson(const Event& event) {
  return Json::MakeObject({{"time", UnixNanos(event.time)},
                           {"type", event.type},
                           {"action", event.action},
                           {"actor", event.actor_id},
                           {"attributes", event.attributes}});
}

void ReadEvent(formats::JsonReader& reader, Event* event) {
  int64_t time = 0;
  reader.Field("time", &time);
  reader.Field("type", &event->type);
  reader.Field("action", &event->action);
  reader.Field("actor", &event->actor_id);
  reader.Field("attributes", &event->attributes);
  event->time = FromUnixNanos(time);
}

}  // namespace gantry::engine
