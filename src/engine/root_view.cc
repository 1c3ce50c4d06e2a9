// SPDX-License-Identifier: Apache-2.0
#include "engine/root_view.h"

#include <string>
#include <vector>

#include "kernel/mounts.h"

namespace gantry::engine {

Result<UniqueFd> OpenReadOnlyView(const client::Mount& mount) {
  std::vector<std::string> options = {"ro"};
  std::string upper;
  std::string lower;
  for (const std::string& option : mount.options) {
    if (option.starts_with("upperdir=")) {
      upper = option.substr(9);
    } else if (option.starts_with("lowerdir=")) {
      lower = option.substr(9);
    } else if (!option.starts_with("workdir=") && option != "rw" && option != "ro" &&
               option != "volatile") {
      options.push_back(option);
    }
  }
  if (mount.type == "overlay") {
    options.push_back("lowerdir=" + (upper.empty() ? lower : upper + ":" + lower));
  }
  return kernel::MountDetached(mount.type, mount.source, options);
}

}  // namespace gantry::engine
