// SPDX-License-Identifier: Apache-2.0
#include "build/step_mounter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "kernel/copy_tree.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::build {

using dockerfile::RunMount;
using Type = RunMount::Type;

Result<StepMounts> StepMounter::Make(const std::vector<PlannedMount>& planned) {
  StepMounts out;
  for (const PlannedMount& one : planned) TRY(MakeMount(one, &out));
  return out;
}

Result<> StepMounter::MakeMount(const PlannedMount& planned, StepMounts* out) {
  switch (planned.mount.type) {
    case Type::kBind:
      return MakeBind(planned, out);
    case Type::kCache:
      return MakeCacheMount(planned, out);
    case Type::kTmpfs:
      out->inputs->mounts.push_back(TRY(MakeTmpfsMount(planned)));
      return {};
    case Type::kSecret:
      return MakeSecret(planned, out);
    case Type::kSsh:
      return MakeAgent(planned, out);
  }
  return {};
}

Result<UniqueFd> StepMounter::MountTree(const SourceTree& tree, bool read_only, StepMounts* out) {
  if (tree.chain_id.empty()) {
    // Changes go beside the context, which goes with the build.
    std::string name = "mount-" + RandomHex(8);
    TRY(parts_.context.MakeDirectory(name + "/upper"));
    TRY(parts_.context.MakeDirectory(name + "/work"));
    return kernel::MountDetached(
        "overlay", "overlay",
        {"lowerdir=" + tree.path, "upperdir=" + parts_.context.PathOf(name + "/upper"),
         "workdir=" + parts_.context.PathOf(name + "/work")});
  }
  client::Containerd& containerd = parts_.engine.containerd();
  const std::string& snapshotter = parts_.engine.options().snapshotter;
  if (read_only) return parts_.views.OpenAnother(tree.chain_id);
  const std::string& lease =
      out->leases.emplace_back(TRY(engine::Lease::TakeLasting(containerd, kLeasePrefix))).id();
  std::string snapshot = lease + "-rw";
  auto mounts = TRY(containerd.PrepareSnapshot(snapshotter, snapshot, tree.chain_id, {}, lease));
  out->snapshots.Push([&containerd, snapshotter, snapshot] {
    Result<> removed = containerd.RemoveSnapshot(snapshotter, snapshot);
    if (!removed.ok()) {
      log::Warning("removing snapshot {}: {}", snapshot, removed.error().message());
    }
  });
  if (mounts.empty()) return Internal("snapshot {} has no files", tree.chain_id);
  return kernel::MountDetached(mounts[0].type, mounts[0].source, mounts[0].options);
}

Result<> StepMounter::MakeBind(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  engine::StepMount bind;
  bind.destination = planned.target;
  bind.maps_ids = planned.tree.chain_id.empty() && mount.read_only;
  BorrowedFd root = planned.tree.root;
  if (!mount.read_only || !planned.tree.chain_id.empty()) {
    bind.tree = TRY_WITH(MountTree(planned.tree, mount.read_only, out), "mounting {}", mount.from);
    root = bind.tree;
  }
  bind.part = TRY_WITH(kernel::OpenIn(root, mount.source, O_PATH), "mounting '{}'", mount.source);
  if (mount.read_only) bind.options.emplace_back("ro");
  out->inputs->mounts.push_back(std::move(bind));
  return {};
}

Result<> StepMounter::MakeCacheMount(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  CacheMountWanted wanted;
  auto space = parts_.request.arguments.find("BUILDKIT_CACHE_MOUNT_NS");
  bool named = space != parts_.request.arguments.end() && space->second;
  wanted.id = named ? *space->second + "/" + mount.id : mount.id;
  wanted.sharing = mount.sharing;
  mode_t mode = mount.mode.value_or(0755);
  bool owned = mount.uid != 0 || mount.gid != 0 || mount.mode;
  if (!mount.from.empty()) {
    wanted.base = planned.content;
  } else if (owned) {
    wanted.base = fmt::format("{}:{} {:o}", mount.uid, mount.gid, mode);
  }
  auto fill = [&](BorrowedFd directory) -> Result<> {
    if (!mount.from.empty()) {
      UniqueFd source =
          TRY_WITH(kernel::OpenIn(planned.tree.root, mount.source, O_RDONLY | O_DIRECTORY),
                   "filling the cache {}", mount.id);
      return kernel::CopyTree(source, directory);
    }
    if (::fchown(directory.get(), mount.uid, mount.gid) != 0 ||
        ::fchmod(directory.get(), mode) != 0) {
      return ErrnoError("giving the cache {} to its owner", mount.id);
    }
    return {};
  };
  auto use =
      TRY_WITH(parts_.cache.TakeMount(wanted, fill, parts_.stop), "taking the cache {}", mount.id);
  engine::StepMount cache;
  cache.destination = planned.target;
  cache.part = TRY(OpenFile(use.path(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (mount.read_only) cache.options.emplace_back("ro");
  out->caches.push_back(std::move(use));
  out->inputs->mounts.push_back(std::move(cache));
  return {};
}

Result<> StepMounter::MakeSecret(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  Result<std::string> secret = parts_.request.find_secret(mount.id);
  if (!secret.ok() && secret.error().kind() == ErrorKind::kNotFound) {
    if (!mount.required) return {};
    return NotFound("secret {}: not found", mount.id);
  }
  if (!secret.ok()) return std::move(secret).error();
  if (mount.variable) {
    if (secret->find('\0') != std::string::npos) {
      return InvalidArgument("secret {} can't be a variable: it has a byte of zero", mount.id);
    }
    out->inputs->env.push_back(*mount.variable + "=" + *secret);
  }
  if (!planned.target.empty())
    out->inputs->mounts.push_back(TRY(MakeSecretMount(planned, *secret)));
  return {};
}

Result<> StepMounter::MakeAgent(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  Result<> found = parts_.request.find_agent(mount.id);
  if (!found.ok()) {
    if (!mount.required && found.error().kind() == ErrorKind::kNotFound) return {};
    return std::move(found).error().AddContext(
        fmt::format("no SSH key \"{}\" forwarded from the client", mount.id));
  }
  UniqueFd directory = TRY(parts_.context.MakeDirectory("mount-" + RandomHex(8)));
  auto [agent, listener] = TRY(MakeAgentMount(planned, directory));
  out->agents.push_back(parts_.request.serve_agent(mount.id, std::move(listener)));
  if (out->agents.size() == 1) out->inputs->env.push_back("SSH_AUTH_SOCK=" + agent.destination);
  out->inputs->mounts.push_back(std::move(agent));
  return {};
}

}  // namespace gantry::build
