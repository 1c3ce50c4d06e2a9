// SPDX-License-Identifier: Apache-2.0
//
// Members that the Engine API leaves out of a document when there is nothing to tell, or has under
// another name. docker's command line reads documents into Go's types, where a template finds nil,
// "" or 0 for them, and "ID" for "Id". Any thread.
#pragma once

#include <optional>
#include <string_view>

#include "formats/json.h"

namespace gantry::cli {

// What `field` is in an object that lacks it, itself the value of `parent` ("": not known);
// nothing: its type has no such field. Lists and maps are null.
std::optional<formats::Json> AbsentField(const formats::Json& object, std::string_view parent,
                                         std::string_view field);

}  // namespace gantry::cli
