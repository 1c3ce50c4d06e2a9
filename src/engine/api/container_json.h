// SPDX-License-Identifier: Apache-2.0
//
// The JSON shapes of containers: GET /containers/json and /containers/{id}/json. Pure but for
// asking the networks what is attached.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "client/containerd.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "formats/json.h"

namespace gantry::engine::api {

// "Up 3 minutes (Paused)", "Exited (0) 2 hours ago", "Created".
std::string StatusText(const ContainerState& state, WallTime now);
// docker's form of a time: RFC 3339, or "0001-01-01T00:00:00Z" for none.
std::string TimeText(WallTime time);
// What is run: the entry point and the command as one list.
std::vector<std::string> FullCommand(const ContainerConfig& config);

// SizeRw and SizeRootFs; returns the first, the bytes that the container itself has written.
int64_t AddSizes(Engine& engine, const ContainerRecord& record, formats::Json* entry);

// What it exposes and publishes while it runs, as the list has it.
formats::Json PortsList(const ContainerRecord& record,
                        const std::vector<networks::Endpoint>& endpoints);

// What the list shows as its image: the name that it was made with, while that stands for the same
// image; else the image's id.
std::string ImageShown(Engine& engine, const ContainerRecord& record);

// One container of the list: its members before and after "Status", which alone changes with the
// time.
struct ListEntry {
  formats::Json before;
  formats::Json after;
};
ListEntry ListEntryOf(Engine& engine, const ContainerRecord& record, const std::string& image,
                      const std::vector<networks::Endpoint>& endpoints);
// All of it.
formats::Json ListObject(Engine& engine, const ContainerRecord& record, WallTime now);
formats::Json InspectDocument(Engine& engine, const ContainerRecord& record,
                              const std::vector<std::string>& exec_ids);

}  // namespace gantry::engine::api
