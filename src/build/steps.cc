// SPDX-License-Identifier: Apache-2.0
//
// Steps that come from the cache or make a layer: RUN, WORKDIR, and what COPY needs of both.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "base/text.h"
#include "build/builder.h"
#include "build/step_container.h"
#include "build/step_layers.h"
#include "formats/digest.h"
#include "kernel/paths.h"
#include "wire/http_message.h"
#include "wire/worker_pool.h"

namespace gantry::build {

using dockerfile::Instruction;

namespace {

// How often a stage that waits for another one's step looks whether its build is cancelled.
constexpr std::chrono::milliseconds kStepTick{100};

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

// `RUN []`: the classic builder runs the image's entry point without its arguments, or its command
// where it has none; BuildKit refuses it.
Result<std::vector<std::string>> WordsOfEmptyRun(const engine::ContainerConfig& config,
                                                 bool classic) {
  if (!classic) return InvalidArgument("RUN: arguments are required");
  return config.entrypoint.words.empty() ? config.cmd.words : config.entrypoint.words;
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
    if (!step) {
      step = TRY(ImportStep({engine_, cache_, context_, request_.cache_imports}, key, created_by,
                            *state_));
      if (step) LetGoOfStep();
    }
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
                           std::optional<engine::Lease> lease) {
  StepRecord record{key, created_by, std::move(layer), std::move(lease), epoch_};
  TRY(RememberStep(engine_, cache_, std::move(record), state_));
  LetGoOfStep();
  return {};
}

Result<> Builder::ChangeFiles(const std::string& key, const std::string& created_by,
                              const std::function<Result<>(BorrowedFd root)>& change) {
  engine::Lease lease = TRY(engine::Lease::TakeLasting(engine_.containerd(), kLeasePrefix));
  auto layer = TRY(ChangeSnapshot(engine_, lease, state_->chain_id, epoch_, change));
  return Remember(key, created_by, std::move(layer), std::move(lease));
}

Result<> Builder::MakeWorkingDirectory(const Instruction& in) {
  std::string text = TRY(editor_->Apply(in, ExpanderOfStage()));
  std::string created_by = "/bin/sh -c #(nop) " + text;
  // BuildKit's builds give the directory to the user, the classic builder to root.
  std::string owner = output_.step ? state_->config.user : "";
  std::string key = state_->cache_key + "\n" + text;
  if (!owner.empty()) key += "\nof " + owner;
  key = HexDigest(key);
  if (TRY(TakeCached(key, created_by))) return {};
  std::string path = state_->config.working_dir;
  if (path == "/") return Remember(key, created_by, std::nullopt, std::nullopt);
  return ChangeFiles(key, created_by, [&](BorrowedFd root) -> Result<> {
    OwnerIds ids(0, 0);
    if (!owner.empty()) ids = TRY(ParseOwner(root, owner));
    TRY(kernel::MakeDirectoriesIn(root, path, ids));
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
    TRY(Say(fmt::format("Removing intermediate container {}\n", ShortId(container.id()))));
    layer = TRY_WITH(CommitLayer(engine_, lease, container.id(), state_->chain_id, epoch_),
                     "making the layer");
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
  bool classic = !output_.step;
  auto words =
      in.words.empty() ? TRY(WordsOfEmptyRun(config, classic)) : engine::CommandWords(in, config);
  config.cmd = {.set = true, .words = std::move(words)};
  config.entrypoint = {.set = true, .words = {}};
  config.healthcheck = engine::Healthcheck{.test = {"NONE"}};
  config.hostname = request_.hostname;
  config.image = state_->base ? state_->base->documents->id : "";
  std::string command = Join(config.cmd.words, " ");
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
  // What BuildKit's builds change in a volume is kept, as they have none yet; the classic builder
  // gives the command a volume, which goes with its container.
  if (!classic && !config.volumes.names.empty()) {
    told += "\nwithout volumes";
    config.volumes.names.clear();
  }
  if (host.privileged) told += "\ninsecure";
  if (!config.hostname.empty()) told += "\nhostname " + config.hostname;
  for (const PlannedMount& mount : planned) told += "\n" + KeyOf(mount);
  std::string key = HexDigest(
      fmt::format("{}\nRUN {}\n{}\n{}", state_->cache_key, created_by, told, host.network_mode));
  if (TRY(TakeCached(key, created_by))) return {};
  for (const auto& [name, value] : arguments_.ForCommand(config)) {
    config.env.insert(config.env.begin(), name + "=" + value);
  }
  std::string image_id = state_->base ? state_->base->documents->id : "";
  StepMounts mounts = TRY(mounter_.Make(planned));
  if (is_program) {
    mounts.inputs->mounts.push_back(TRY(MakeScriptMount(in.words[0], in.heredocs[0].content)));
  }
  StepContainer container =
      TRY(StepContainer::Create(engine_, std::move(config), std::move(host),
                                {state_->chain_id, image_id, std::move(mounts.inputs)}));
  TRY(Say(fmt::format(" ---> Running in {}\n", ShortId(container.id()))));
  auto output = [this](bool to_stderr, std::string_view text) {
    return output_.command(step_, to_stderr, text);
  };
  TargetStubs stubs = TRY(NoteStubs(engine_, container.id(), planned));
  int code = TRY(container.Run(output, stop_));
  if (code != 0) {
    if (request_.keeps_failed || request_.keeps_containers) TRY(container.Keep());
    return NoteFailure(command, code);
  }
  TRY(RemoveStubs(engine_, stubs, container.id()));
  engine::Lease lease = TRY(engine::Lease::TakeLasting(engine_.containerd(), kLeasePrefix));
  auto layer = TRY(LayerOf(container, lease));
  return Remember(key, created_by, std::move(layer), std::move(lease));
}

}  // namespace gantry::build
