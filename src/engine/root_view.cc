// SPDX-License-Identifier: Apache-2.0
#include "engine/root_view.h"

#include <fcntl.h>

#include <string>
#include <vector>

#include "base/text.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::engine {

namespace {

struct OverlayParts {
  std::string upper;
  std::string lower;                // directories with ':' between, uppermost first
  std::vector<std::string> others;  // options that a read-only mount has too
};

OverlayParts PartsOf(const client::Mount& mount) {
  OverlayParts parts;
  for (const std::string& option : mount.options) {
    if (option.starts_with("upperdir=")) {
      parts.upper = option.substr(9);
    } else if (option.starts_with("lowerdir=")) {
      parts.lower = option.substr(9);
    } else if (!option.starts_with("workdir=") && option != "rw" && option != "ro" &&
               option != "volatile") {
      parts.others.push_back(option);
    }
  }
  return parts;
}

}  // namespace

Result<UniqueFd> OpenReadOnlyView(const client::Mount& mount) {
  OverlayParts parts = PartsOf(mount);
  std::vector<std::string> options = {"ro"};
  options.insert(options.end(), parts.others.begin(), parts.others.end());
  if (mount.type == "overlay") {
    bool both = !parts.upper.empty();
    options.push_back("lowerdir=" + (both ? parts.upper + ":" + parts.lower : parts.lower));
  }
  return kernel::MountDetached(mount.type, mount.source, options);
}

std::vector<UniqueFd> OpenLayers(const client::Mount& mount, const std::string& path) {
  std::vector<UniqueFd> layers;
  if (mount.type != "overlay") return layers;
  OverlayParts parts = PartsOf(mount);
  for (const std::string& directory : SplitWords(parts.upper + ":" + parts.lower, ":")) {
    auto root = kernel::OpenRoot(directory);
    if (!root.ok()) continue;
    auto layer = kernel::OpenIn(*root, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (layer.ok()) layers.push_back(*std::move(layer));
  }
  return layers;
}

}  // namespace gantry::engine
