// SPDX-License-Identifier: Apache-2.0
//
// The part of YAML 1.2 that programs write into configuration files, as JSON values: block and flow
// mappings and sequences, plain and quoted scalars on one line, literal and folded blocks,
// comments, one document. Anchors, aliases, tags, complex keys, directives and scalars over several
// lines are errors that say so; so are tabs as indentation and a key that comes twice. For CDI
// specifications, which vendors' tools write this way. Pure.
#pragma once

#include <string_view>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::formats {

// kInvalidArgument: "line 3: …". An empty document is null. Numbers like 0644 are octal, as Go's
// libraries have it. At most 64 levels.
Result<Json> ParseYaml(std::string_view text);

}  // namespace gantry::formats
