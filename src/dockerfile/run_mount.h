// SPDX-License-Identifier: Apache-2.0
//
// What one --mount of RUN says. Pure; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "dockerfile/expand.h"

namespace gantry::dockerfile {

struct RunMount {
  enum class Type : uint8_t { kBind, kCache, kTmpfs, kSecret, kSsh };
  enum class Sharing : uint8_t { kShared, kPrivate, kLocked };

  Type type = Type::kBind;
  std::string target;  // as it was written; "" for a secret or agent at its usual place
  // bind, cache: a stage or image; "" for the context (bind) or nothing (cache).
  std::string from;
  std::string source = "/";  // bind, cache: the path in it
  bool read_only = true;
  std::string id;                       // cache, secret, ssh; never empty there
  Sharing sharing = Sharing::kShared;   // cache
  std::optional<int64_t> size;          // tmpfs, bytes
  bool required = false;                // secret, ssh
  std::optional<std::string> variable;  // secret: also or only in the environment
  // cache (of a new one), secret, ssh.
  uid_t uid = 0;
  gid_t gid = 0;
  std::optional<mode_t> mode;

  bool operator==(const RunMount&) const = default;
};

// The value of the flag: fields as in a line of CSV, "name=value" or "name". Variables are put into
// values, but for that of "from", which says what must be made before. kInvalidArgument.
Result<RunMount> ParseRunMount(std::string_view text, const Expander& expander);

// kInvalidArgument: its "from" has a variable.
Result<> CheckFromOfRunMount(std::string_view text);

// The value of "from" in it, or "": what can be known of a mount without any variable.
std::string FromOfRunMount(std::string_view text);

}  // namespace gantry::dockerfile
