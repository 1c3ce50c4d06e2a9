// SPDX-License-Identifier: Apache-2.0
//
// Steps that come from the cache or make a layer: RUN, WORKDIR, and what COPY needs of both.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/undo.h"
#include "build/builder.h"
#include "build/step_container.h"
#include "formats/digest.h"
#include "kernel/mounts.h"
#include "kernel/paths.h"
#include "wire/http_message.h"
#include "wire/worker_pool.h"

namespace gantry::build {

using dockerfile::Instruction;

namespace {

constexpr int64_t kNanosOfSecond = 1'000'000'000;
// How often a stage that waits for another one's step looks whether its build is cancelled.
constexpr std::chrono::milliseconds kStepTick{100};

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

// Where a here-document is that names its interpreter.
std::string ProgramOf(const dockerfile::Heredoc& doc) {
  std::string name = doc.name;
  std::replace(name.begin(), name.end(), '/', '_');
  return "/dev/pipes/" + name;
}

// The command with its here-documents: a lone one is the whole script, or a program that the shell
// calls; any other is the shell's.
Result<Instruction> WithHeredocs(Instruction in) {
  if (in.heredocs.empty()) return in;
  if (in.heredocs.size() == 1 && in.words[0] == in.heredocs[0].word) {
    bool is_program = in.heredocs[0].content.starts_with("#!");
    in.words[0] = is_program ? ProgramOf(in.heredocs[0]) : in.heredocs[0].content;
    return in;
  }
  for (const dockerfile::Heredoc& doc : in.heredocs) {
    in.words[0] += "\n" + doc.content + doc.name;
  }
  return in;
}

}  // namespace

bool Builder::SkipsCache() const {
  const std::string& stage =
      file_.stages[static_cast<size_t>(state_ - states_.data())].from.argument;
  auto is_it = [&](const std::string& name) { return wire::EqualsIgnoreCase(name, stage); };
  const auto& stages = request_.no_cache_stages;
  return request_.no_cache || std::any_of(stages.begin(), stages.end(), is_it);
}

Result<std::optional<CachedStep>> Builder::FindOrClaim(const std::string& key) {
  {
    wire::WorkerPool::Blocked blocked;
    MutexLock lock(common_->mutex);
    while (common_->being_made.contains(key)) {
      if (stop_.stop_requested()) {
        return MakeError(ErrorKind::kCancelled, "the build was cancelled");
      }
      (void)common_->changed.WaitFor(common_->mutex, kStepTick);
    }
    common_->being_made.insert(key);
  }
  making_ = key;
  std::optional<CachedStep> step = cache_.Find(key);
  if (step) LetGoOfStep();
  return step;
}

void Builder::LetGoOfStep() {
  if (making_.empty()) return;
  MutexLock lock(common_->mutex);
  common_->being_made.erase(std::exchange(making_, {}));
  common_->changed.NotifyAll();
}

Result<bool> Builder::TakeCached(const std::string& key, const std::string& created_by) {
  if (SkipsCache()) return false;
  if (request_.cache_from.empty()) {
    std::optional<CachedStep> step = TRY(FindOrClaim(key));
    if (!step) return false;
    AddStep(created_by, step->created, step->layer, state_);
  } else {
    std::optional<CacheSources::Step> step = common_->cache_sources.Find(*state_, created_by);
    if (!step) return false;
    AddStep(created_by, step->created, step->layer, state_);
  }
  state_->cache_key = key;
  if (showing_) Tell({.kind = StepEvent::Kind::kCached});
  TRY(Say(" ---> Using cache\n"));
  return true;
}

Result<> Builder::Remember(const std::string& key, const std::string& created_by,
                           std::optional<engine::NewLayer> layer,
                           std::optional<engine::Lease> lease, const std::string& parent_chain) {
  CachedStep step;
  step.key = key;
  step.parent = state_->cache_key;
  step.description = created_by;
  step.created_at = step.used_at = WallClock::now();
  step.created =
      FormatRfc3339Nano(epoch_ ? FromUnixNanos(*epoch_ * kNanosOfSecond) : step.created_at);
  step.layer = layer;
  if (layer && lease) {
    step.lease = lease->id();
    auto usage = TRY(engine_.containerd().GetSnapshotUsage(
        engine_.options().snapshotter, engine::ChainId(parent_chain, layer->diff_id)));
    step.size = usage.size;
  }
  TRY(cache_.Put(step));
  LetGoOfStep();
  // From here on the record holds it.
  if (layer && lease) lease->Keep();
  AddStep(created_by, step.created, layer, state_);
  state_->cache_key = key;
  return {};
}

Result<std::optional<engine::NewLayer>> Builder::TakeLayer(const engine::Lease& lease,
                                                           const std::string& snapshot) {
  client::Containerd& containerd = engine_.containerd();
  const std::string& snapshotter = engine_.options().snapshotter;
  auto layer = TRY(engine::DiffSnapshot(engine_, lease, snapshot, state_->chain_id, epoch_));
  if (!layer) return layer;
  if (epoch_) {
    // The files here have the layer's times, too.
    TRY(engine::UnpackLayer(engine_, lease, state_->chain_id, *layer));
    return layer;
  }
  std::string name = engine::ChainId(state_->chain_id, layer->diff_id);
  Result<> committed = containerd.CommitSnapshot(snapshotter, lease.id(), name, snapshot);
  if (!committed.ok() && committed.error().kind() == ErrorKind::kAlreadyExists) {
    // The very same files were made before.
    committed = containerd.AddToLease(lease.id(), "snapshots/" + snapshotter, name);
  }
  TRY(committed);
  return layer;
}

Result<> Builder::ChangeFiles(const std::string& key, const std::string& created_by,
                              const std::function<Result<>(BorrowedFd root)>& change) {
  client::Containerd& containerd = engine_.containerd();
  const std::string& snapshotter = engine_.options().snapshotter;
  engine::Lease lease = TRY(engine::Lease::TakeLasting(containerd, kLeasePrefix));
  std::string snapshot = lease.id() + "-files";
  auto mounts =
      TRY_WITH(containerd.PrepareSnapshot(snapshotter, snapshot, state_->chain_id, {}, lease.id()),
               "preparing the writable layer");
  Undo drop;
  drop.Push([&] {
    Result<> removed = containerd.RemoveSnapshot(snapshotter, snapshot);
    // It has become the layer.
    if (removed.ok() || removed.error().kind() == ErrorKind::kNotFound) return;
    log::Warning("removing snapshot {}: {}", snapshot, removed.error().message());
  });
  if (mounts.empty()) return Internal("snapshot {} has no files", snapshot);
  {
    UniqueFd root =
        TRY_WITH(kernel::MountDetached(mounts[0].type, mounts[0].source, mounts[0].options),
                 "mounting the writable layer");
    TRY(change(root));
  }
  std::string parent = state_->chain_id;
  auto layer = TRY_WITH(TakeLayer(lease, snapshot), "making the layer");
  return Remember(key, created_by, std::move(layer), std::move(lease), parent);
}

Result<> Builder::MakeWorkingDirectory(const Instruction& in) {
  std::string text = TRY(editor_->Apply(in, ExpanderOfStage()));
  std::string created_by = "/bin/sh -c #(nop) " + text;
  std::string key = HexDigest(state_->cache_key + "\n" + text);
  if (TRY(TakeCached(key, created_by))) return {};
  std::string path = state_->config.working_dir;
  if (path == "/") return Remember(key, created_by, std::nullopt, std::nullopt, "");
  return ChangeFiles(key, created_by, [&](BorrowedFd root) -> Result<> {
    TRY(MakeDirectoriesIn(root, path, OwnerIds(0, 0)));
    return {};
  });
}

Result<std::optional<engine::NewLayer>> Builder::LayerOf(StepContainer& container,
                                                         const engine::Lease& lease) {
  std::optional<engine::NewLayer> layer;
  if (request_.keeps_containers) {
    layer = TRY(engine::DiffSnapshot(engine_, lease, container.id(), state_->chain_id, epoch_));
    if (layer) TRY(engine::UnpackLayer(engine_, lease, state_->chain_id, *layer));
    TRY(container.Keep());
  } else {
    TRY(Say(fmt::format("Removing intermediate container {}\n", container.id().substr(0, 12))));
    layer = TRY_WITH(TakeLayer(lease, container.id()), "making the layer");
    container.RemoveLater();
  }
  return layer;
}

Error Builder::NoteFailure(const std::string& command, int code) {
  BuildEnd end;
  end.exit_code = code;
  end.command = command;
  end.failure = fmt::format("The command '{}' returned a non-zero code: {}", command, code);
  MutexLock lock(common_->mutex);
  // The first is the build's.
  if (common_->end.failure.empty() && !common_->failure) common_->end = end;
  return FailedPrecondition("{}", end.failure);
}

Result<> Builder::RunCommand(const Instruction& original) {
  Instruction in = TRY(WithHeredocs(original));
  engine::HostConfig host = request_.host;
  std::vector<PlannedMount> planned = TRY(ReadRunFlags(in, &host));
  engine::ContainerConfig config = state_->config;
  config.cmd = {.set = true, .words = engine::CommandWords(in, config)};
  config.entrypoint = {.set = true, .words = {}};
  config.healthcheck = engine::Healthcheck{.test = {"NONE"}};
  config.image = state_->base ? state_->base->documents->id : "";
  std::string command = Joined(config.cmd.words);
  auto arguments = arguments_.ForHistory(config);
  std::string created_by = command;
  if (!arguments.empty()) {
    std::string given;
    for (const auto& [name, value] : arguments) given += fmt::format(" {}={}", name, value);
    created_by = fmt::format("|{}{} {}", arguments.size(), given, command);
  }
  std::string told;
  for (const std::string& word : config.cmd.words) told += fmt::format("{}\n", word.size()) + word;
  bool is_program = !in.heredocs.empty() && in.words[0] == ProgramOf(in.heredocs[0]);
  if (is_program) told += "\n" + in.heredocs[0].content;
  if (host.privileged) told += "\ninsecure";
  for (const PlannedMount& mount : planned) told += "\n" + KeyOf(mount);
  std::string key = HexDigest(
      fmt::format("{}\nRUN {}\n{}\n{}", state_->cache_key, created_by, told, host.network_mode));
  if (TRY(TakeCached(key, created_by))) return {};
  for (const auto& [name, value] : arguments_.ForCommand(config)) {
    config.env.insert(config.env.begin(), name + "=" + value);
  }
  std::string image_id = state_->base ? state_->base->documents->id : "";
  TargetStubs stubs = TRY(NoteStubs(planned));
  StepMounts mounts = TRY(MakeMounts(planned));
  if (is_program) {
    mounts.inputs->mounts.push_back(TRY(MakeScriptMount(in.words[0], in.heredocs[0].content)));
  }
  StepContainer container =
      TRY(StepContainer::Create(engine_, std::move(config), std::move(host),
                                {state_->chain_id, image_id, std::move(mounts.inputs)}));
  TRY(Say(fmt::format(" ---> Running in {}\n", container.id().substr(0, 12))));
  auto output = [this](bool to_stderr, std::string_view text) {
    return output_.command(step_, to_stderr, text);
  };
  int code = TRY(container.Run(output, stop_));
  if (code != 0) {
    if (request_.keeps_failed || request_.keeps_containers) TRY(container.Keep());
    return NoteFailure(command, code);
  }
  TRY(RemoveStubs(stubs, container.id()));
  std::string parent = state_->chain_id;
  engine::Lease lease = TRY(engine::Lease::TakeLasting(engine_.containerd(), kLeasePrefix));
  auto layer = TRY(LayerOf(container, lease));
  return Remember(key, created_by, std::move(layer), std::move(lease), parent);
}

}  // namespace gantry::build
