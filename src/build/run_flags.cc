// SPDX-License-Identifier: Apache-2.0
//
// The flags of RUN: --network, --security, and --mount with what its step is shown.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "build/builder.h"
#include "dockerfile/patterns.h"
#include "engine/root_view.h"
#include "kernel/copy_tree.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"

namespace gantry::build {

using dockerfile::Instruction;
using dockerfile::RunMount;
using Type = RunMount::Type;

namespace {

constexpr std::string_view kNeedsBuildKit =
    "the --{} option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how "
    "to build images with BuildKit enabled";

Result<> ReadNetwork(const std::string& value, const BuildRequest& request,
                     engine::HostConfig* host) {
  if (value != "default" && value != "none" && value != "host") {
    return InvalidArgument("unsupported network mode \"{}\"", value);
  }
  if (value != "default") host->network_mode = value;
  if (host->network_mode != "host" || request.allows_host_network) return {};
  return MakeError(ErrorKind::kPermissionDenied, "network.host is not allowed");
}

Result<> ReadSecurity(const std::string& value, const BuildRequest& request,
                      engine::HostConfig* host) {
  if (value == "sandbox") return {};
  if (value != "insecure") return InvalidArgument("unsupported security mode \"{}\"", value);
  if (!request.allows_insecure) {
    return MakeError(ErrorKind::kPermissionDenied, "security.insecure is not allowed");
  }
  host->privileged = true;
  return {};
}

std::string BaseNameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Result<std::vector<PlannedMount>> Builder::ReadRunFlags(const Instruction& in,
                                                        engine::HostConfig* host) {
  std::vector<PlannedMount> planned;
  std::string network = "default";
  std::string security = "sandbox";
  int agents = 0;
  for (const dockerfile::Flag& flag : in.flags) {
    if (flag.name == "network") network = TRY(ExpanderOfStage().Word(flag.value));
    if (flag.name == "security") security = TRY(ExpanderOfStage().Word(flag.value));
    if (flag.name != "mount") continue;
    PlannedMount& mount = planned.emplace_back(TRY(PlanMount(flag.value)));
    if (mount.mount.type != Type::kSsh) continue;
    if (mount.target.empty()) mount.target = fmt::format("/run/buildkit/ssh_agent.{}", agents);
    ++agents;
  }
  TRY(ReadNetwork(network, request_, host));
  TRY(ReadSecurity(security, request_, host));
  return planned;
}

Result<PlannedMount> Builder::PlanMount(const std::string& text) {
  PlannedMount planned;
  planned.mount = TRY(dockerfile::ParseRunMount(text, ExpanderOfStage()));
  RunMount& mount = planned.mount;
  bool from_client = mount.type == Type::kSecret || mount.type == Type::kSsh;
  if (from_client && !request_.find_secret) {
    return InvalidArgument(fmt::runtime(kNeedsBuildKit), "mount");
  }
  std::string target = mount.target;
  if (target.empty() && mount.type == Type::kSecret && !mount.variable) {
    target = "/run/secrets/" + BaseNameOf(mount.id);
  }
  if (!target.empty()) planned.target = engine::FromWorkingDirectory(state_->config, target);
  bool has_tree = mount.type == Type::kBind || (mount.type == Type::kCache && !mount.from.empty());
  if (!has_tree) return planned;
  if (mount.from.empty()) {
    planned.tree = {context_.files(), "", context_.files_path()};
  } else {
    planned.tree = TRY(TreeOf(mount.from));
  }
  mount.source = "/" + dockerfile::CleanRelative(mount.source);
  bool all_of_image = mount.source == "/" && !planned.tree.chain_id.empty();
  if (all_of_image) {
    planned.content = planned.tree.chain_id;
    return planned;
  }
  FindRequest find;
  find.root = planned.tree.root;
  find.missing = "RUN --mount failed";
  find.stop = stop_;
  planned.content = TRY(FindSource(find, mount.source)).hash;
  return planned;
}

Result<StepMounts> Builder::MakeMounts(const std::vector<PlannedMount>& planned) {
  StepMounts out;
  for (const PlannedMount& one : planned) TRY(MakeMount(one, &out));
  return out;
}

Result<> Builder::MakeMount(const PlannedMount& planned, StepMounts* out) {
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

Result<UniqueFd> Builder::MountTree(const SourceTree& tree, bool read_only, StepMounts* out) {
  if (tree.chain_id.empty()) {
    // Changes go beside the context, which goes with the build.
    std::string name = fmt::format("beside-{}", ++beside_);
    TRY(context_.MakeDirectory(name + "/upper"));
    TRY(context_.MakeDirectory(name + "/work"));
    return kernel::MountDetached(
        "overlay", "overlay",
        {"lowerdir=" + tree.path, "upperdir=" + context_.PathOf(name + "/upper"),
         "workdir=" + context_.PathOf(name + "/work")});
  }
  client::Containerd& containerd = engine_.containerd();
  const std::string& snapshotter = engine_.options().snapshotter;
  if (read_only) {
    auto mounts = TRY(containerd.SnapshotMounts(snapshotter, views_[tree.chain_id].snapshot));
    if (mounts.empty()) return Internal("snapshot {} has no files", tree.chain_id);
    return engine::OpenReadOnlyView(mounts[0]);
  }
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

Result<> Builder::MakeBind(const PlannedMount& planned, StepMounts* out) {
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

Result<> Builder::MakeCacheMount(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  CacheMountWanted wanted;
  auto space = request_.arguments.find("BUILDKIT_CACHE_MOUNT_NS");
  bool named = space != request_.arguments.end() && space->second;
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
      TRY_WITH(cache_.cache().TakeMount(wanted, fill, stop_), "taking the cache {}", mount.id);
  engine::StepMount cache;
  cache.destination = planned.target;
  cache.part = TRY(OpenFile(use.path(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (mount.read_only) cache.options.emplace_back("ro");
  out->caches.push_back(std::move(use));
  out->inputs->mounts.push_back(std::move(cache));
  return {};
}

Result<> Builder::MakeSecret(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  Result<std::string> secret = request_.find_secret(mount.id);
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

Result<> Builder::MakeAgent(const PlannedMount& planned, StepMounts* out) {
  const RunMount& mount = planned.mount;
  Result<> found = request_.find_agent(mount.id);
  if (!found.ok()) {
    if (!mount.required && found.error().kind() == ErrorKind::kNotFound) return {};
    return std::move(found).error().AddContext(
        fmt::format("no SSH key \"{}\" forwarded from the client", mount.id));
  }
  UniqueFd directory = TRY(context_.MakeDirectory(fmt::format("beside-{}", ++beside_)));
  auto [agent, listener] = TRY(MakeAgentMount(planned, directory));
  out->agents.push_back(request_.serve_agent(mount.id, std::move(listener)));
  if (out->agents.size() == 1) out->inputs->env.push_back("SSH_AUTH_SOCK=" + agent.destination);
  out->inputs->mounts.push_back(std::move(agent));
  return {};
}

Result<TargetStubs> Builder::NoteStubs(const std::vector<PlannedMount>& planned) {
  if (planned.empty()) return TargetStubs();
  BorrowedFd root;
  if (!state_->chain_id.empty()) root = TRY(ViewOf(state_->chain_id));
  return TargetStubs::Note(root, planned);
}

Result<> Builder::RemoveStubs(const TargetStubs& stubs, const std::string& snapshot) {
  if (stubs.empty()) return {};
  auto mounts = TRY(engine_.containerd().SnapshotMounts(engine_.options().snapshotter, snapshot));
  if (mounts.empty()) return {};
  UniqueFd root =
      TRY_WITH(kernel::MountDetached(mounts[0].type, mounts[0].source, mounts[0].options),
               "mounting the step's files");
  return stubs.Remove(root);
}

}  // namespace gantry::build
