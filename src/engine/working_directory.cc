// SPDX-License-Identifier: Apache-2.0
//
// A container's working directory is there as soon as the container is: what is copied into it
// finds it, and a root that is read-only later has it.
#include <cerrno>
#include <utility>

#include "engine/container_files.h"
#include "engine/engine.h"
#include "engine/root_view.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::engine {

Result<> Engine::MakeWorkingDirectory(const ContainerRecord& record,
                                      const std::vector<client::Mount>& root_mounts) {
  const std::string& path = record.config.working_dir;
  if (path.empty() || path == "/" || root_mounts.empty()) return {};
  const client::Mount& mount = root_mounts.front();
  // Mostly a layer has it, and nothing needs to be mounted. Where a later layer took it away again,
  // the runtime makes it.
  if (!OpenLayers(mount, path).empty()) return {};
  UniqueFd root = TRY_WITH(kernel::MountDetached(mount.type, mount.source, mount.options),
                           "mounting the root of {}", record.id);
  Result<bool> made =
      kernel::MakeDirectoriesIn(root, TRY(FollowLinks(root, path)), std::pair(uid_t{0}, gid_t{0}));
  if (!made.ok() && made.error().error_number() == ENOTDIR) {
    return InvalidArgument("Cannot mkdir: {} is not a directory", path);
  }
  if (!made.ok()) return std::move(made).error();
  return {};
}

}  // namespace gantry::engine
