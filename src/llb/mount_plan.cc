// SPDX-License-Identifier: Apache-2.0
#include "llb/mount_plan.h"

namespace gantry::llb {
namespace {

using dockerfile::RunMount;

RunMount::Sharing SharingOf(pb::CacheSharingOpt sharing) {
  if (sharing == pb::PRIVATE) return RunMount::Sharing::kPrivate;
  return sharing == pb::LOCKED ? RunMount::Sharing::kLocked : RunMount::Sharing::kShared;
}

// What a secret and an agent have in common.
template <typename Options>
void SetFile(const Options& options, RunMount* mount) {
  mount->id = options.id();
  mount->uid = options.uid();
  mount->gid = options.gid();
  if (options.mode() != 0) mount->mode = options.mode() & 07777;
  mount->required = !options.optional();
}

}  // namespace

void PlanOwnMount(const pb::Mount& mount, bool has_files, int* agents, build::PlannedMount* out) {
  RunMount& wanted = out->mount;
  switch (mount.mounttype()) {
    case pb::CACHE:
      wanted.type = RunMount::Type::kCache;
      wanted.id = mount.cacheopt().id().empty() ? out->target : mount.cacheopt().id();
      wanted.sharing = SharingOf(mount.cacheopt().sharing());
      if (!has_files) wanted.from.clear();
      break;
    case pb::TMPFS:
      wanted.type = RunMount::Type::kTmpfs;
      if (mount.tmpfsopt().size() > 0) wanted.size = mount.tmpfsopt().size();
      break;
    case pb::SECRET:
      wanted.type = RunMount::Type::kSecret;
      SetFile(mount.secretopt(), &wanted);
      break;
    case pb::SSH:
      wanted.type = RunMount::Type::kSsh;
      SetFile(mount.sshopt(), &wanted);
      if (wanted.id.empty()) wanted.id = "default";
      if (mount.dest().empty()) out->target = fmt::format("/run/buildkit/ssh_agent.{}", *agents);
      ++*agents;
      break;
    default:
      break;
  }
}

}  // namespace gantry::llb
