// SPDX-License-Identifier: Apache-2.0
//
// docker's "local" driver: which names and options there may be, and how a volume with mount
// options is mounted. Any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::volumes {

// docker's rules and words; kInvalidArgument.
Result<> CheckVolumeName(std::string_view name);
// `quotas`: whether volumes may have a size here.
Result<> CheckLocalOptions(const std::map<std::string, std::string>& options, bool quotas);
// The option `size`, bytes; 0: none. kInvalidArgument: it is no size.
Result<int64_t> SizeLimit(const std::map<std::string, std::string>& options);

// A detached mount of what the options say. `target` is only named in errors, which hide a
// password.
Result<UniqueFd> MountLocal(const std::map<std::string, std::string>& options,
                            const std::string& target);

}  // namespace gantry::volumes
