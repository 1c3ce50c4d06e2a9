// SPDX-License-Identifier: Apache-2.0
//
// What a container's specification means in systemd's words: the names of its scope and slice, and
// the unit's properties (systemd.resource-control(5), org.freedesktop.systemd1(5)). Asks nobody and
// changes nothing; any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/dbus_message.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime {

using UnitProperties = std::vector<std::pair<std::string, formats::DbusValue>>;

struct ScopeName {
  std::string slice;  // "system.slice"
  std::string unit;   // "prefix-name.scope"
};

// linux.cgroupsPath as this manager has it: "slice:prefix:name". Empty parts have defaults: the
// slice is `default_slice`; an empty path is ":gantry:ID".
Result<ScopeName> ParseScopePath(const std::string& cgroups_path, const std::string& id,
                                 std::string_view default_slice);

// The limits that systemd has a property for, so that it keeps them when it is reloaded; with the
// device rules if `with_devices`. The rest stays a matter of the cgroup's files.
enum class DeviceProperties : uint8_t { kLeave, kInclude };
Result<UnitProperties> ResourceProperties(const oci::Resources& resources,
                                          DeviceProperties devices);

// Annotations "org.systemd.property.NAME", their values in GVariant's text. Whoever may write an
// annotation must not thereby command systemd (CVE-2024-3154), so only properties that concern this
// scope alone are taken; any other is an error. NAMESec in seconds becomes NAMEUSec.
Result<UnitProperties> AnnotatedProperties(const std::map<std::string, std::string>& annotations);

}  // namespace gantry::runtime
