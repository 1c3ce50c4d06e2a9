// SPDX-License-Identifier: Apache-2.0
//
// The flags of `gantry build`, and which of the two ways to an image they need: BuildKit's API, or
// the classic POST /build (docs/build.md). One thread.
#pragma once

#include <string>
#include <vector>

#include "cmd/gantry/build_context.h"
#include "cmd/gantry/cli.h"
#include "cmd/gantry/command.h"
#include "cmd/gantry/flags.h"

namespace gantry::cli {

struct BuildFlags {
  std::vector<std::string> tags, arguments, labels, add_hosts, cache_from, ulimits, security;
  std::string file, target, platform, network, isolation, iid_file, cgroup_parent, cpuset_cpus,
      cpuset_mems;
  bool no_cache = false, pull = false, quiet = false, rm = true, force_rm = true, squash = false,
       compress = false;
  int64_t memory = 0, memory_swap = 0, shm_size = 0, cpu_period = 0, cpu_quota = 0, cpu_shares = 0;
  // Of BuildKit alone.
  std::vector<std::string> secrets, agents, outputs, contexts, cache_to, allowed, no_cache_stages,
      annotations;
  std::string progress, metadata_file, call;
  bool load = false, push = false, check = false;
};

void BindBuildFlags(Flags* flags, BuildFlags* to);

enum class BuildWay : uint8_t { kBuildKit, kClassic };
struct BuildChoice {
  BuildWay way = BuildWay::kBuildKit;
  // Nobody asked for it: an engine that does not have it gets the other one.
  bool may_change = false;
};
// By DOCKER_BUILDKIT, and by the flags that only one way has. kInvalidArgument.
Result<BuildChoice> ChooseBuildWay(const Flags& flags, const BuildContext& context);

// The exit codes. kUnimplemented of the first: the engine has no BuildKit, nothing was built.
Result<int> BuildByBuildKit(Cli& cli, const BuildFlags& flags, const BuildContext& context);
Result<int> BuildClassic(Cli& cli, const BuildFlags& flags, const BuildContext& context);

// "NAME=value", or "NAME" for what our own environment says: null where it says nothing.
Json BuildArgumentsJson(const std::vector<std::string>& arguments);

}  // namespace gantry::cli
