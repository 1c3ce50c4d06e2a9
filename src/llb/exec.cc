// SPDX-License-Identifier: Apache-2.0
//
// Exec operations: a command in a container, whose root is one of its mounts.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "build/copy_source.h"
#include "build/step_container.h"
#include "build/step_layers.h"
#include "build/step_mounts.h"
#include "dockerfile/patterns.h"
#include "engine/image_instructions.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "llb/mount_plan.h"
#include "llb/solver.h"

namespace gantry::llb {

using build::PlannedMount;
using build::StageState;
using dockerfile::RunMount;

// Its own words and mounts, and whatever makes it another step.
struct Solver::ExecPlan {
  engine::ContainerConfig config;
  engine::HostConfig host;
  StageState root;
  int64_t root_output = -1;
  std::vector<PlannedMount> planned;
  // A mount whose changes are an output.
  struct Writable {
    StageState state;
    int64_t output = 0;
    std::string selector;
    std::string target;
    std::optional<engine::Lease> lease;
    std::string snapshot;
  };
  std::vector<Writable> writable;
  std::string told;
  int agents = 0;

  std::string KeyOf(int64_t output) const {
    return build::HexDigest(fmt::format("llb exec\n{}\noutput {}", told, output));
  }
};

namespace {

std::string CommandOf(const pb::ExecOp& exec) {
  std::string out;
  for (const std::string& word : exec.meta().args()) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::vector<std::string> VariablesOf(const pb::Meta& meta) {
  std::vector<std::string> out;
  auto add = [&](const char* upper, const char* lower, const std::string& value) {
    if (value.empty()) return;
    out.push_back(std::string(upper) + "=" + value);
    out.push_back(std::string(lower) + "=" + value);
  };
  const pb::ProxyEnv& proxy = meta.proxy_env();
  add("HTTP_PROXY", "http_proxy", proxy.http_proxy());
  add("HTTPS_PROXY", "https_proxy", proxy.https_proxy());
  add("FTP_PROXY", "ftp_proxy", proxy.ftp_proxy());
  add("NO_PROXY", "no_proxy", proxy.no_proxy());
  add("ALL_PROXY", "all_proxy", proxy.all_proxy());
  out.insert(out.end(), meta.env().begin(), meta.env().end());
  return out;
}

}  // namespace

Result<> Solver::PlanSettings(const pb::ExecOp& exec, ExecPlan* plan) const {
  const pb::Meta& meta = exec.meta();
  plan->config.cmd = {.set = true, .words = {meta.args().begin(), meta.args().end()}};
  plan->config.entrypoint = {.set = true, .words = {}};
  plan->config.healthcheck = engine::Healthcheck{.test = {"NONE"}};
  plan->config.env = VariablesOf(meta);
  if (!engine::VariableOf(plan->config, "PATH")) {
    engine::SetVariable("PATH", build::kDefaultPath, &plan->config);
  }
  plan->config.working_dir = meta.cwd().empty() ? "/" : meta.cwd();
  plan->config.user = meta.user();
  plan->config.hostname = meta.hostname();
  plan->host = environment_.request.host;
  for (const pb::HostIP& host : meta.extrahosts()) {
    plan->host.extra_hosts.push_back(host.host() + ":" + host.ip());
  }
  for (const pb::Ulimit& limit : meta.ulimit()) {
    plan->host.ulimits.push_back({limit.name(), limit.soft(), limit.hard()});
  }
  if (!meta.cgroupparent().empty()) plan->host.cgroup_parent = meta.cgroupparent();
  if (exec.network() == pb::NONE) plan->host.network_mode = "none";
  if (exec.network() == pb::HOST) {
    if (!environment_.request.allows_host_network) {
      return MakeError(ErrorKind::kPermissionDenied, "network.host is not allowed");
    }
    plan->host.network_mode = "host";
  }
  if (exec.security() == pb::INSECURE) {
    if (!environment_.request.allows_insecure) {
      return MakeError(ErrorKind::kPermissionDenied, "security.insecure is not allowed");
    }
    plan->host.privileged = true;
  }
  return {};
}

Result<> Solver::PlanMount(Work* work, const pb::Mount& mount, ExecPlan* plan) {
  StageState state = InputOf(*work, mount.input());
  if (mount.dest() == "/") {
    plan->host.readonly_rootfs = mount.readonly();
    plan->root_output = mount.output();
    plan->told += "\nroot " + state.cache_key;
    plan->root = std::move(state);
    return {};
  }
  PlannedMount out;
  RunMount& wanted = out.mount;
  out.target = mount.dest().starts_with('/')
                   ? mount.dest()
                   : engine::FromWorkingDirectory(plan->config, mount.dest());
  wanted.read_only = mount.readonly();
  wanted.source = "/" + dockerfile::CleanRelative(mount.selector());
  bool has_tree =
      mount.mounttype() == pb::BIND || (mount.mounttype() == pb::CACHE && mount.input() >= 0);
  if (mount.mounttype() == pb::BIND && mount.output() >= 0) {
    plan->told += fmt::format("\nmount {} {} {} {}", out.target, wanted.source, mount.readonly(),
                              state.cache_key);
    if (!mount.readonly()) {
      plan->writable.push_back(
          {std::move(state), mount.output(), wanted.source, out.target, {}, ""});
      return {};
    }
    work->outputs[mount.output()] = state;
  }
  if (has_tree) {
    wanted.from = "input";
    out.tree = {TRY(OpenFiles(state)), state.chain_id, context_.PathOf("nothing")};
    out.content = state.chain_id;
    if (wanted.source != "/") {
      build::FindRequest find;
      find.root = out.tree.root;
      find.missing = "mounting " + out.target;
      find.stop = stop_;
      out.content = TRY(build::FindSource(find, wanted.source)).hash;
    }
  }
  PlanOwnMount(mount, mount.input() >= 0, &plan->agents, &out);
  plan->told += "\n" + build::KeyOf(out);
  plan->planned.push_back(std::move(out));
  return {};
}

Result<> Solver::PlanMounts(Work* work, ExecPlan* plan) {
  const pb::ExecOp& exec = work->vertex.op.exec();
  for (const pb::Mount& mount : exec.mounts()) TRY(PlanMount(work, mount, plan));
  for (const pb::SecretEnv& secret : exec.secretenv()) {
    PlannedMount& out = plan->planned.emplace_back();
    out.mount.type = RunMount::Type::kSecret;
    out.mount.id = secret.id();
    out.mount.variable = secret.name();
    out.mount.required = !secret.optional();
    plan->told += "\n" + build::KeyOf(out);
  }
  bool asks = std::any_of(plan->planned.begin(), plan->planned.end(), [](const auto& one) {
    return one.mount.type == RunMount::Type::kSecret || one.mount.type == RunMount::Type::kSsh;
  });
  if (asks && !environment_.request.find_secret) {
    return FailedPrecondition("the build has no session for its secrets");
  }
  return {};
}

Result<> Solver::MakeWritable(ExecPlan* plan, build::StepMounts* mounts) {
  client::Containerd& containerd = engine_.containerd();
  const std::string& snapshotter = engine_.options().snapshotter;
  for (ExecPlan::Writable& one : plan->writable) {
    one.lease.emplace(TRY(engine::Lease::TakeLasting(containerd, build::kLeasePrefix)));
    one.snapshot = one.lease->id() + "-files";
    auto made = TRY(containerd.PrepareSnapshot(snapshotter, one.snapshot, one.state.chain_id, {},
                                               one.lease->id()));
    mounts->snapshots.Push([&containerd, snapshotter, snapshot = one.snapshot] {
      Result<> removed = containerd.RemoveSnapshot(snapshotter, snapshot);
      // It has become a layer.
      if (removed.ok() || removed.error().kind() == ErrorKind::kNotFound) return;
      log::Warning("removing snapshot {}: {}", snapshot, removed.error().message());
    });
    if (made.empty()) return Internal("snapshot {} has no files", one.snapshot);
    engine::StepMount& mount = mounts->inputs->mounts.emplace_back();
    mount.destination = one.target;
    mount.tree = TRY_WITH(kernel::MountDetached(made[0].type, made[0].source, made[0].options),
                          "mounting '{}'", one.target);
    mount.part =
        TRY_WITH(kernel::OpenIn(mount.tree, one.selector, O_PATH), "mounting '{}'", one.selector);
  }
  return {};
}

Result<> Solver::RunCommand(Work* work, ExecPlan* plan) {
  const pb::ExecOp& exec = work->vertex.op.exec();
  std::vector<PlannedMount> targets = plan->planned;
  for (const ExecPlan::Writable& one : plan->writable) targets.emplace_back().target = one.target;
  build::StepMounts mounts = TRY(mounter_.Make(plan->planned));
  TRY(MakeWritable(plan, &mounts));
  auto container = TRY(build::StepContainer::Create(engine_, plan->config, plan->host,
                                                    {plan->root.chain_id, "", mounts.inputs}));
  auto log = [&](bool to_stderr, std::string_view text) -> Result<> {
    environment_.log(work->vertex, to_stderr, text);
    return {};
  };
  auto stubs = TRY(build::NoteStubs(engine_, container.id(), std::move(targets)));
  int code = TRY(container.Run(log, stop_));
  const auto& valid = exec.meta().validexitcodes();
  bool good =
      valid.empty() ? code == 0 : std::find(valid.begin(), valid.end(), code) != valid.end();
  if (!good) {
    build::BuildEnd end;
    end.exit_code = code;
    end.command = CommandOf(exec);
    return MakeError(ErrorKind::kUnknown, "{}", build::ProcessFailure(end));
  }
  TRY(build::RemoveStubs(engine_, stubs, container.id()));
  std::string created_by = CommandOf(exec);
  if (plan->root_output >= 0) {
    auto lease = TRY(engine::Lease::TakeLasting(engine_.containerd(), build::kLeasePrefix));
    auto layer = TRY_WITH(
        build::CommitLayer(engine_, lease, container.id(), plan->root.chain_id, std::nullopt),
        "making the layer");
    StageState state = plan->root;
    TRY(Remember({plan->KeyOf(plan->root_output), created_by}, std::move(layer), std::move(lease),
                 &state));
    work->outputs[plan->root_output] = std::move(state);
  }
  // Nobody shows these files any more when they become layers.
  mounts.inputs->mounts.clear();
  for (ExecPlan::Writable& one : plan->writable) {
    auto layer = TRY_WITH(
        build::CommitLayer(engine_, *one.lease, one.snapshot, one.state.chain_id, std::nullopt),
        "making the layer of '{}'", one.target);
    StageState state = one.state;
    TRY(Remember({plan->KeyOf(one.output), created_by}, std::move(layer), *std::move(one.lease),
                 &state));
    work->outputs[one.output] = std::move(state);
  }
  container.RemoveLater();
  return {};
}

Result<> Solver::RunExec(Work* work) {
  ExecPlan plan;
  const pb::ExecOp& exec = work->vertex.op.exec();
  TRY(PlanSettings(exec, &plan));
  // Proxies and places in the list of inputs change nothing in what is made.
  pb::ExecOp own = exec;
  own.mutable_meta()->clear_proxy_env();
  for (pb::Mount& mount : *own.mutable_mounts()) mount.set_input(mount.input() < 0 ? -1 : 0);
  plan.told = own.SerializeAsString();
  TRY(PlanMounts(work, &plan));
  // All outputs that somebody takes, or none.
  Outputs known = work->outputs;
  bool all = true;
  auto look = [&](const StageState& below, int64_t output) -> Result<> {
    if (!work->wished.contains(output)) return {};
    StageState state = below;
    all = all && TRY(TakeCached(work, {plan.KeyOf(output), CommandOf(exec)}, &state));
    if (all) known[output] = std::move(state);
    return {};
  };
  if (plan.root_output >= 0) TRY(look(plan.root, plan.root_output));
  for (const ExecPlan::Writable& one : plan.writable) TRY(look(one.state, one.output));
  if (all && !(plan.root_output < 0 && plan.writable.empty())) {
    work->outputs = std::move(known);
    return {};
  }
  work->was_cached = false;
  return RunCommand(work, &plan);
}

}  // namespace gantry::llb
