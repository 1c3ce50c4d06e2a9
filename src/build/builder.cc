// SPDX-License-Identifier: Apache-2.0
#include "build/builder.h"

#include <poll.h>

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "base/undo.h"
#include "build/base_image.h"
#include "build/layout_images.h"
#include "build/remote_context.h"
#include "engine/image_index.h"
#include "engine/images.h"
#include "engine/store.h"
#include "formats/digest.h"
#include "formats/reference.h"
#include "oci/image_spec.h"
#include "wire/worker_pool.h"

namespace gantry::build {

using dockerfile::Instruction;
using dockerfile::Kind;

namespace {

constexpr std::string_view kScratch = "scratch";
// How often a stage that waits for another one looks whether its build is cancelled.
constexpr std::chrono::milliseconds kTick{100};
// Stages of one build that are made at the same time.
constexpr size_t kMostAtOnce = 64;

// Those that are steps of progress.
size_t CountShown(const std::vector<Instruction>& instructions) {
  auto shows = [](const Instruction& one) {
    return one.kind == Kind::kRun || one.kind == Kind::kCopy || one.kind == Kind::kAdd ||
           one.kind == Kind::kWorkdir;
  };
  return static_cast<size_t>(std::count_if(instructions.begin(), instructions.end(), shows));
}

oci::Platform WantedPlatform(const BuildRequest& request) {
  auto parsed = oci::ParsePlatform(request.platform);
  return request.platform.empty() || !parsed.ok() ? oci::HostPlatform() : *parsed;
}

}  // namespace

Builder::Common::~Common() { DropLayoutImages(engine, layout_names); }

Builder::Builder(engine::Engine& engine, Cache& cache, BuildRequest request, Context context,
                 const BuildOutput& output, StopToken stop)
    : Builder(
          std::make_shared<Common>(engine, cache, std::move(request), std::move(context), output),
          std::move(stop)) {}

Builder::Builder(std::shared_ptr<Common> common, StopToken stop)
    : common_(std::move(common)),
      engine_(common_->engine),
      request_(common_->request),
      context_(common_->context),
      output_(common_->output),
      cache_(common_->cache),
      file_(common_->file),
      needed_(common_->needed),
      target_(common_->target),
      epoch_(common_->epoch),
      steps_(common_->steps),
      states_(common_->states),
      beside_(common_->beside),
      stop_(std::move(stop)),
      arguments_(request_.arguments, WantedPlatform(request_)),
      views_(engine_),
      mounter_({engine_, request_, context_, views_, cache_.cache(), stop_}) {}

Result<> Builder::Plan(const std::string& text) {
  file_ = TRY(dockerfile::Parse(text));
  target_ = TRY(file_.FindTarget(request_.target));
  arguments_.SetTarget(request_.target.empty() ? file_.stages[target_].from.argument
                                               : request_.target);
  if (!request_.labels.empty()) {
    Instruction label;
    label.kind = Kind::kLabel;
    label.keyword = "LABEL";
    label.text = "LABEL";
    for (const auto& [name, value] : request_.labels) {
      label.text += fmt::format(" {}={}", name, value);
      // Nothing in them is a variable.
      auto quoted = [](std::string text) {
        for (size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 5) {
          text.replace(at, 1, "'\"'\"'");
        }
        return "'" + text + "'";
      };
      label.pairs.push_back({quoted(name), quoted(value), true});
    }
    file_.stages[target_].instructions.push_back(std::move(label));
  }
  TRY(arguments_.DeclareGlobals(file_));
  if (output_.step) {
    needed_ = StagesFor(target_);
  } else {
    // Users of the classic builder read of every stage up to their target.
    needed_.assign(file_.stages.size(), false);
    std::fill_n(needed_.begin(), target_ + 1, true);
  }
  for (size_t i = 0; i < needed_.size(); ++i) {
    if (needed_[i]) steps_ += 1 + file_.stages[i].instructions.size();
  }
  steps_ += file_.arguments.size();
  states_.resize(file_.stages.size());
  MutexLock lock(common_->mutex);
  for (bool needed : needed_) {
    common_->progress.push_back(needed ? Common::Progress::kComing : Common::Progress::kUnneeded);
  }
  return {};
}

Result<BuildEnd> Builder::Run() {
  TRY(FindEpoch());
  TRY(FindCacheSources());
  for (const Instruction& in : file_.arguments) {
    TRY(Say(fmt::format("Step {}/{} : {}\n", ++common_->told, steps_, in.text)));
  }
  Result<> run = output_.step ? RunAtOnce() : RunOneByOne();
  std::set<std::string> declared;
  {
    MutexLock lock(common_->mutex);
    // A command's own failure has been noted.
    if (!run.ok() && common_->end.failure.empty()) return std::move(run).error();
    if (!run.ok()) return common_->end;
    declared = common_->declared;
  }
  std::vector<std::string> unused = arguments_.Unused(declared);
  if (!unused.empty()) {
    std::string names;
    for (const std::string& name : unused) names += (names.empty() ? "" : " ") + name;
    TRY(Say(fmt::format("[Warning] One or more build-args [{}] were not consumed\n", names)));
  }
  return BuildEnd();
}

Result<> Builder::RunOneByOne() {
  for (size_t i = 0; i <= target_; ++i) {
    if (!needed_[i]) continue;
    TRY(RunStage(i, stop_));
    const std::string& id = states_[i].image_id;
    if (i != target_ && output_.stage && !id.empty()) TRY(output_.stage(id));
  }
  return {};
}

// Each stage begins at once, as far as there are runners, and waits where it needs another one.
// That is an earlier one, which has begun before it. The first that fails stops all.
Result<> Builder::RunAtOnce() {
  StopSource failing = TRY(StopSource::Create());
  StopSource ended = TRY(StopSource::Create());
  auto count = static_cast<size_t>(std::count(needed_.begin(), needed_.end(), true));
  std::atomic<size_t> left = std::min(count, kMostAtOnce);
  std::atomic<size_t> next = 0;
  std::vector<std::future<void>> runners;
  for (size_t number = left; number > 0; --number) {
    runners.push_back(engine_.workers().Async([&] {
      for (size_t i = next++; i <= target_; i = next++) {
        if (needed_[i] && !RunStage(i, failing.token()).ok()) failing.RequestStop();
      }
      if (--left == 0) ended.RequestStop();
    }));
  }
  wire::WorkerPool::Blocked blocked;
  Result<> waited = WaitFor(ended.token().fd(), POLLIN, std::chrono::hours(24 * 365), stop_);
  if (!waited.ok()) failing.RequestStop();
  for (std::future<void>& runner : runners) runner.wait();
  TRY(waited);
  MutexLock lock(common_->mutex);
  if (common_->failure) return *common_->failure;
  return {};
}

Result<> Builder::RunStage(size_t number, const StopToken& stop) {
  Builder stage(common_, stop);
  stage.arguments_ = arguments_;
  Result<> made = stage.MakeStage(number);
  MutexLock lock(common_->mutex);
  common_->progress[number] = made.ok() ? Common::Progress::kMade : Common::Progress::kFailed;
  common_->declared.insert(stage.arguments_.declared().begin(), stage.arguments_.declared().end());
  if (!made.ok() && !common_->failure) {
    common_->failure = made.error();
    common_->failed_lines = stage.at_;
  }
  common_->changed.NotifyAll();
  return made;
}

std::vector<bool> Builder::StagesFor(size_t target) const {
  return file_.NeededStages(
      target, [&](const std::string& name) { return arguments_.Global(name); },
      [&](const std::string& name) { return FindContext(name) != nullptr; });
}

void Builder::MakeUnneeded(size_t number) {
  auto claim = [&](size_t stage) {
    MutexLock lock(common_->mutex);
    if (common_->progress[stage] != Common::Progress::kUnneeded) return false;
    common_->progress[stage] = Common::Progress::kComing;
    return true;
  };
  {
    MutexLock lock(common_->mutex);
    if (common_->progress[number] != Common::Progress::kUnneeded) return;
  }
  // In their order, so that none waits for one that is not begun. A failure is the build's.
  std::vector<bool> needed = StagesFor(number);
  for (size_t i = 0; i <= number; ++i) {
    if (needed[i] && claim(i) && !RunStage(i, stop_).ok()) return;
  }
}

Result<> Builder::AwaitStage(size_t number) {
  MakeUnneeded(number);
  wire::WorkerPool::Blocked blocked;
  MutexLock lock(common_->mutex);
  while (common_->progress[number] == Common::Progress::kComing) {
    if (stop_.stop_requested()) break;
    (void)common_->changed.WaitFor(common_->mutex, kTick);
  }
  if (common_->progress[number] == Common::Progress::kMade) return {};
  return MakeError(ErrorKind::kCancelled, "the build was cancelled");
}

Result<> Builder::AwaitStagesOf(const Instruction& in) {
  auto current = static_cast<size_t>(state_ - states_.data());
  auto await = [&](const std::string& name) -> Result<> {
    if (FindContext(name) != nullptr) return {};
    int found = file_.FindStage(name, current);
    if (found < 0) return {};
    return AwaitStage(static_cast<size_t>(found));
  };
  if (in.kind == Kind::kFrom) {
    dockerfile::Expander expander{[&](const auto& name) { return arguments_.Global(name); },
                                  file_.escape};
    TRY(await(TRY(expander.Word(in.words[0]))));
  }
  for (const dockerfile::Flag& flag : in.flags) {
    if (flag.name == "from") TRY(await(flag.value));
    if (flag.name == "mount") TRY(await(dockerfile::FromOfRunMount(flag.value)));
  }
  return {};
}

Result<std::string> Builder::Store(const StoreAs& as) {
  return StoreResult(engine_, states_[target_], as, request_.squash);
}

std::vector<Material> Builder::materials() const { return common_->materials.List(); }

Lines Builder::failed_lines() const {
  MutexLock lock(common_->mutex);
  return common_->failed_lines;
}

std::vector<StageState> Builder::Stages() const {
  std::vector<StageState> out;
  MutexLock lock(common_->mutex);
  for (size_t i = 0; i < states_.size(); ++i) {
    if (common_->progress[i] == Common::Progress::kMade) out.push_back(states_[i]);
  }
  return out;
}

dockerfile::Expander Builder::ExpanderOfStage() const {
  dockerfile::Expander expander;
  expander.escape = file_.escape;
  expander.lookup = [this](const std::string& name) {
    auto value = engine::VariableOf(state_->config, name);
    return value ? value : arguments_.Get(name);
  };
  return expander;
}

Result<> Builder::MakeStage(size_t number) {
  const dockerfile::Stage& stage = file_.stages[number];
  arguments_.BeginStage();
  TRY(Say(fmt::format("Step {}/{} : {}\n", ++common_->told, steps_, stage.from.text)));
  state_ = &states_[number];
  at_ = {stage.from.line, stage.from.last_line};
  auto begin = [&]() -> Result<> {
    states_[number] = TRY(Base(number));
    MixEpoch(state_);
    return {};
  };
  bool is_step = BeginsWithImage(number);
  shown_before_ = is_step ? 1 : 0;
  if (is_step) {
    TRY(Shown(stage.from, begin));
  } else {
    TRY(AwaitStagesOf(stage.from));
    TRY(begin());
  }
  editor_.emplace(&state_->config);
  if (state_->config.on_build.empty()) {
    TRY(Say(fmt::format(" ---> {}\n", ShortId(state_->image_id))));
  } else {
    TRY(RunTriggers());
  }
  for (const Instruction& in : stage.instructions) {
    TRY(Say(fmt::format("Step {}/{} : {}\n", ++common_->told, steps_, in.text)));
    at_ = {in.line, in.last_line};
    TRY(Step(in));
  }
  return {};
}

bool Builder::BeginsWithImage(size_t number) const {
  const Instruction& from = file_.stages[number].from;
  dockerfile::Expander expander{[&](const auto& name) { return arguments_.Global(name); },
                                file_.escape};
  auto name = expander.Word(from.words[0]);
  // What is wrong with it is told as an error of the step.
  if (!name.ok() || FindContext(*name) != nullptr) return true;
  return *name != kScratch && file_.FindStage(*name, number) < 0;
}

Result<> Builder::Shown(const Instruction& in, const std::function<Result<>()>& work) {
  TRY(AwaitStagesOf(in));
  const dockerfile::Stage& stage = file_.stages[static_cast<size_t>(state_ - states_.data())];
  size_t count = shown_before_ + CountShown(stage.instructions);
  std::string name = stage.from.argument;
  if (name.empty() && file_.stages.size() > 1) {
    name = fmt::format("stage-{}", state_ - states_.data());
  }
  if (request_.one_of_several) {
    name = request_.platform + (name.empty() ? "" : " ") + name;
  }
  step_ = ++common_->shown;
  Tell({.kind = StepEvent::Kind::kBegin,
        .name = fmt::format("[{}{}{}/{}] {}", name, name.empty() ? "" : " ", ++shown_of_stage_,
                            count, in.text)});
  showing_ = true;
  Result<> done = work();
  showing_ = false;
  std::string error = done.ok() ? "" : done.error().message();
  if (!done.ok()) {
    MutexLock lock(common_->mutex);
    if (error == common_->end.failure) error = ProcessFailure(common_->end);
  }
  Tell({.kind = StepEvent::Kind::kEnd, .error = std::move(error)});
  return done;
}

void Builder::Tell(StepEvent event) {
  event.number = step_;
  if (output_.step) output_.step(event);
}

void Builder::MixEpoch(StageState* state) const {
  if (epoch_) state->cache_key = HexDigest(fmt::format("{}\nepoch {}", state->cache_key, *epoch_));
}

Result<StageState> Builder::Base(size_t number) {
  const Instruction& from = file_.stages[number].from;
  dockerfile::Expander expander{[&](const auto& name) { return arguments_.Global(name); },
                                file_.escape};
  std::string name = TRY(expander.Word(from.words[0]));
  if (name.empty()) {
    return InvalidArgument("base name ({}) should not be blank", from.words[0]);
  }
  const NamedContext* named = FindContext(name);
  if (IsFiles(named)) {
    TRY(BeginWithFiles(*named));
    return *state_;
  }
  if (named != nullptr && named->kind == NamedContext::Kind::kInput) return *named->input;
  int earlier = named != nullptr ? -1 : file_.FindStage(name, number);
  if (earlier >= 0) return states_[static_cast<size_t>(earlier)];
  std::string platform = request_.platform;
  if (const dockerfile::Flag* flag = from.FindFlag("platform")) {
    platform = TRY(expander.Word(flag->value));
  }
  bool nothing = named == nullptr
                     ? name == kScratch
                     : named->kind == NamedContext::Kind::kImage && named->value == kScratch;
  if (nothing) {
    return platform.empty() ? StateOfScratch()
                            : StateOfScratch(TRY_WITH(oci::ParsePlatform(platform),
                                                      "reading the platform of {}", name));
  }
  return StateOfImage(
      TRY(named != nullptr ? ImageOfContext(*named, platform) : BaseImage(name, platform)));
}

Result<engine::NamedImage> Builder::BaseImage(const std::string& name,
                                              const std::string& platform) {
  ImageWanted wanted;
  wanted.name = name;
  wanted.platform = platform;
  wanted.pulls = request_.pull;
  wanted.progress = [&] { return output_.pull(step_, name); };
  wanted.hold = [&](const engine::NamedImage& image) {
    return HoldImage(name, image.documents->id);
  };
  engine::NamedImage image = TRY(FindOrPullImage(engine_, request_, wanted, stop_));
  common_->materials.AddImage(name, image);
  return image;
}

// False: it is being removed, or was until now.
Result<bool> Builder::HoldImage(const std::string& name, const std::string& id) {
  auto hold = engine_.image_holds().Take(id);
  if (!hold || !engine_.images().Resolve(name).ok()) return false;
  {
    MutexLock lock(common_->mutex);
    common_->holds.push_back(*std::move(hold));
  }
  TRY(engine_.store().PutImageUse(id, WallClock::now()));
  return true;
}

// Who is not there is no source: the first build of an image names itself.
Result<> Builder::FindCacheSources() {
  for (const std::string& name : request_.cache_from) {
    auto image = engine_.images().Resolve(name);
    if (!image.ok() && image.error().kind() != ErrorKind::kNotFound) {
      return std::move(image).error();
    }
    if (!image.ok() || !TRY(HoldImage(name, image->documents->id))) continue;
    TRY(engine::EnsureUnpacked(engine_, *image));
    common_->cache_sources.Add(*std::move(image));
  }
  return {};
}

Result<> Builder::RunTriggers() {
  std::vector<std::string> triggers = std::exchange(state_->config.on_build, {});
  TRY(Say(fmt::format("# Executing {} build trigger{}\n", triggers.size(),
                      triggers.size() == 1 ? "" : "s")));
  std::vector<Instruction> instructions;
  for (const std::string& trigger : triggers) {
    instructions.push_back(TRY(dockerfile::ParseInstruction(trigger, file_.escape)));
  }
  shown_before_ += CountShown(instructions);
  for (const Instruction& in : instructions) TRY(Step(in));
  return {};
}

Result<> Builder::Step(const Instruction& in) {
  if (stop_.stop_requested()) return MakeError(ErrorKind::kCancelled, "the build was cancelled");
  // Others may make the step again that has failed.
  Undo let_go;
  let_go.Push([this] { LetGoOfStep(); });
  switch (in.kind) {
    case Kind::kArg:
      TRY(Declare(in));
      break;
    case Kind::kAdd:
    case Kind::kCopy:
      TRY(Shown(in, [&] { return Copy(in); }));
      break;
    case Kind::kRun:
      TRY(Shown(in, [&] { return RunCommand(in); }));
      break;
    case Kind::kWorkdir:
      TRY(Shown(in, [&] { return MakeWorkingDirectory(in); }));
      break;
    default:
      TRY(Configure(in));
  }
  return Say(fmt::format(" ---> {}\n", ShortId(state_->image_id)));
}

Result<> Builder::Declare(const Instruction& in) {
  std::string text = "ARG";
  for (const dockerfile::Pair& pair : in.pairs) {
    dockerfile::Expander expander = ExpanderOfStage();
    std::string name = TRY(expander.Word(pair.name));
    Arguments::Value fallback;
    if (pair.has_value && !arguments_.IsGiven(name)) fallback = TRY(expander.Word(pair.value));
    arguments_.Declare(name, fallback);
    text += " " + name + (fallback ? "=" + *fallback : "");
  }
  std::string created_by = "/bin/sh -c #(nop)  " + text;
  std::string key = HexDigest(state_->cache_key + "\n" + text);
  if (TRY(TakeCached(key, created_by))) return {};
  return Remember(key, created_by, std::nullopt, std::nullopt);
}

Result<> Builder::Configure(const Instruction& in) {
  std::string text;
  if (in.kind == Kind::kMaintainer) {
    state_->author = in.argument;  // no variables, and its quotes are part of it
    text = "MAINTAINER " + state_->author;
  } else {
    text = TRY(editor_->Apply(in, ExpanderOfStage()));
  }
  std::string created_by = "/bin/sh -c #(nop)  " + text;
  // Flags of HEALTHCHECK are not in the text.
  std::string key = HexDigest(fmt::format("{}\n{}\n{}", state_->cache_key, in.text, text));
  if (TRY(TakeCached(key, created_by))) return {};
  return Remember(key, created_by, std::nullopt, std::nullopt);
}

Result<BuildEnd> Build(engine::Engine& engine, Cache& cache, BuildRequest request, ByteSource& body,
                       const BuildOutput& output, const StopToken& stop) {
  Context context = TRY(Context::Create(engine));
  if (request.remote.empty()) {
    TRY(context.Receive(body, stop));
  } else {
    RemoteFiles fetched = TRY(FetchContext(request, context, stop));
    request.context_time = fetched.time;
    if (fetched.kind == RemoteKind::kDockerfile) request.dockerfile = "Dockerfile";
  }
  std::string text = TRY(context.ReadDockerfile(request.dockerfile));
  TRY(context.DropIgnored(request.dockerfile));
  Builder builder(engine, cache, std::move(request), std::move(context), output, stop);
  TRY(builder.Plan(text));
  BuildEnd end = TRY(builder.Run());
  if (end.failure.empty()) end.image_id = TRY(builder.Store());
  return end;
}

}  // namespace gantry::build
