// SPDX-License-Identifier: Apache-2.0
//
// The flags of RUN: --network, --security, and --mount with what its step is shown.
#include <utility>

#include "build/builder.h"
#include "dockerfile/patterns.h"

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

}  // namespace gantry::build
