// SPDX-License-Identifier: Apache-2.0
#include "build/builder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/number.h"
#include "base/text.h"
#include "build/finish.h"
#include "build/remote_context.h"
#include "engine/image_index.h"
#include "engine/images.h"
#include "engine/store.h"
#include "formats/digest.h"
#include "formats/reference.h"
#include "oci/image_spec.h"

namespace gantry::build {

using dockerfile::Instruction;
using dockerfile::Kind;

namespace {

constexpr std::string_view kScratch = "scratch";
// Of a base that is removed again before it is used.
constexpr int kPullTries = 3;

std::string ShortId(std::string_view id) {
  if (id.starts_with("sha256:")) id.remove_prefix(7);
  return std::string(id.substr(0, 12));
}

oci::Platform WantedPlatform(const BuildRequest& request) {
  auto parsed = oci::ParsePlatform(request.platform);
  return request.platform.empty() || !parsed.ok() ? oci::HostPlatform() : *parsed;
}

// The variable of https://reproducible-builds.org/specs/source-date-epoch/, as an argument.
Result<std::optional<int64_t>> EpochOf(const BuildRequest& request) {
  auto given = request.arguments.find("SOURCE_DATE_EPOCH");
  if (given == request.arguments.end() || given->second.value_or("").empty()) {
    return std::optional<int64_t>();
  }
  auto epoch = ParseNumber<int64_t>(*given->second);
  // What RFC 3339 can write, and nanoseconds can count.
  constexpr int64_t kLatest = int64_t{1} << 33;
  if (epoch && *epoch >= 0 && *epoch < kLatest) return epoch;
  return InvalidArgument("invalid SOURCE_DATE_EPOCH: {}", *given->second);
}

}  // namespace

Builder::Builder(engine::Engine& engine, Cache& cache, BuildRequest request, Context context,
                 const BuildOutput& output, StopToken stop)
    : engine_(engine),
      request_(std::move(request)),
      context_(std::move(context)),
      output_(output),
      stop_(std::move(stop)),
      cache_(cache),
      arguments_(request_.arguments, WantedPlatform(request_)) {}

Result<> Builder::Plan(const std::string& text) {
  epoch_ = TRY(EpochOf(request_));
  file_ = TRY(dockerfile::Parse(text));
  target_ = file_.stages.size() - 1;
  if (!request_.target.empty()) {
    int found = file_.FindStage(request_.target, file_.stages.size());
    if (found < 0) {
      return InvalidArgument("failed to reach build target {} in Dockerfile", request_.target);
    }
    target_ = static_cast<size_t>(found);
  }
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
  for (const Instruction& in : file_.arguments) {
    for (const dockerfile::Pair& pair : in.pairs) {
      Arguments::Value fallback;
      dockerfile::Expander expander{[&](const auto& name) { return arguments_.Global(name); },
                                    file_.escape};
      if (pair.has_value) fallback = TRY(expander.Word(pair.value));
      arguments_.DeclareGlobal(pair.name, fallback);
    }
  }
  // Stages refer to earlier ones only: one pass from the target backwards finds all.
  needed_.assign(file_.stages.size(), false);
  needed_[target_] = true;
  for (size_t i = target_ + 1; i-- > 0;) {
    if (!needed_[i]) continue;
    const dockerfile::Stage& stage = file_.stages[i];
    steps_ += 1 + stage.instructions.size();
    auto need = [&](const std::string& name) {
      if (FindContext(name) != nullptr) return;
      int found = file_.FindStage(name, i);
      if (found >= 0) needed_[static_cast<size_t>(found)] = true;
    };
    need(stage.from.words[0]);
    for (const Instruction& in : stage.instructions) {
      for (const dockerfile::Flag& flag : in.flags) {
        if (flag.name == "from") need(flag.value);
        if (flag.name == "mount") need(dockerfile::FromOfRunMount(flag.value));
      }
    }
  }
  steps_ += file_.arguments.size();
  states_.resize(file_.stages.size());
  return {};
}

Result<BuildEnd> Builder::Run() {
  for (const Instruction& in : file_.arguments) {
    TRY(Say(fmt::format("Step {}/{} : {}\n", ++step_, steps_, in.text)));
  }
  for (size_t i = 0; i <= target_; ++i) {
    if (!needed_[i]) continue;
    Result<> run = RunStage(i);
    // A command's own failure has been noted.
    if (!run.ok() && end_.failure.empty()) return std::move(run).error();
    if (!run.ok()) return end_;
  }
  state_ = nullptr;
  std::vector<std::string> unused = arguments_.Unused();
  if (!unused.empty()) {
    std::string names;
    for (const std::string& name : unused) names += (names.empty() ? "" : " ") + name;
    TRY(Say(fmt::format("[Warning] One or more build-args [{}] were not consumed\n", names)));
  }
  return end_;
}

Result<std::string> Builder::Store(const std::vector<std::string>& names) {
  return StoreResult(engine_, states_[target_], names, request_.squash);
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

Result<> Builder::RunStage(size_t number) {
  const dockerfile::Stage& stage = file_.stages[number];
  arguments_.BeginStage();
  TRY(Say(fmt::format("Step {}/{} : {}\n", ++step_, steps_, stage.from.text)));
  shown_of_stage_ = 0;
  state_ = &states_[number];
  TRY(Shown(stage.from, [&]() -> Result<> {
    states_[number] = TRY(Base(number));
    MixEpoch(state_);
    return {};
  }));
  editor_.emplace(&state_->config);
  if (state_->config.on_build.empty()) {
    TRY(Say(fmt::format(" ---> {}\n", ShortId(state_->image_id))));
  } else {
    TRY(RunTriggers());
  }
  for (const Instruction& in : stage.instructions) {
    TRY(Say(fmt::format("Step {}/{} : {}\n", ++step_, steps_, in.text)));
    TRY(Step(in));
  }
  return {};
}

Result<> Builder::Shown(const Instruction& in, const std::function<Result<>()>& work) {
  const dockerfile::Stage& stage = file_.stages[static_cast<size_t>(state_ - states_.data())];
  auto shows = [](const Instruction& one) {
    return one.kind == Kind::kRun || one.kind == Kind::kCopy || one.kind == Kind::kAdd ||
           one.kind == Kind::kWorkdir;
  };
  auto count = std::count_if(stage.instructions.begin(), stage.instructions.end(), shows);
  std::string name = stage.from.argument;
  if (name.empty() && file_.stages.size() > 1) {
    name = fmt::format("stage-{}", state_ - states_.data());
  }
  ++shown_;
  // Triggers of the base image have no number.
  size_t of_stage = std::min<size_t>(++shown_of_stage_, 1 + static_cast<size_t>(count));
  Tell({.kind = StepEvent::Kind::kBegin,
        .name = fmt::format("[{}{}{}/{}] {}", name, name.empty() ? "" : " ", of_stage, 1 + count,
                            in.text)});
  showing_ = true;
  Result<> done = work();
  showing_ = false;
  Tell({.kind = StepEvent::Kind::kEnd,
        .error = done.ok()             ? ""
                 : end_.exit_code != 0 ? ProcessFailure(end_)
                                       : done.error().message()});
  return done;
}

void Builder::Tell(StepEvent event) {
  event.number = shown_;
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
  if (named != nullptr && named->kind == NamedContext::Kind::kDirectory) {
    TRY(BeginWithDirectory(named->value));
    return *state_;
  }
  int earlier = named != nullptr ? -1 : file_.FindStage(name, number);
  if (earlier >= 0) {
    if (!needed_[static_cast<size_t>(earlier)]) {
      return InvalidArgument("stage {} is named by a variable: it is not built", name);
    }
    return states_[static_cast<size_t>(earlier)];
  }
  if (named == nullptr && name == kScratch) return StateOfScratch();
  std::string platform = request_.platform;
  if (const dockerfile::Flag* flag = from.FindFlag("platform")) {
    platform = TRY(expander.Word(flag->value));
  }
  return StateOfImage(
      TRY(named != nullptr ? ImageOfContext(*named, platform) : BaseImage(name, platform)));
}

Result<engine::NamedImage> Builder::BaseImage(const std::string& name,
                                              const std::string& platform) {
  if (!request_.pull) {
    std::optional<oci::Platform> wanted;
    if (!platform.empty()) wanted = TRY(oci::ParsePlatform(platform));
    Result<engine::NamedImage> here = engine_.images().Resolve(name, wanted ? &*wanted : nullptr);
    // One that comes for many machines, of which only another's is here, is got for this one.
    bool of_others = here.ok() && !wanted && oci::IsIndex(here->image.target.media_type) &&
                     oci::MatchPlatform(oci::HostPlatform(), here->documents->config.platform) == 0;
    if (here.ok() && !of_others && TRY(HoldImage(name, here->documents->id))) {
      TRY(engine::EnsureUnpacked(engine_, *here));
      return here;
    }
    if (!here.ok() && here.error().kind() != ErrorKind::kNotFound) return here;
  }
  formats::Reference reference = TRY(formats::ParseReference(name));
  engine::PullImageRequest pull;
  pull.repository = name;
  pull.platform = platform;
  auto login = request_.credentials.find(reference.domain);
  if (login != request_.credentials.end()) {
    pull.credentials = login->second;
  } else if (request_.find_login) {
    pull.credentials = TRY(request_.find_login(reference.domain));
  }
  for (int tries = 0; tries < kPullTries; ++tries) {
    TRY(engine::PullImage(engine_, pull, output_.pull(name), stop_));
    Result<engine::NamedImage> pulled = PulledImage(name, platform);
    if (pulled.ok() && TRY(HoldImage(name, pulled->documents->id))) return pulled;
  }
  return NotFound("No such image: {}: it is removed as soon as it is pulled", name);
}

Result<engine::NamedImage> Builder::PulledImage(const std::string& name,
                                                const std::string& platform) {
  if (!platform.empty()) {
    oci::Platform wanted = TRY(oci::ParsePlatform(platform));
    auto exact = engine_.images().Resolve(name, &wanted);
    if (exact.ok()) return exact;
  }
  // A registry that has the image for one platform only gives that.
  return engine_.images().Resolve(name);
}

// False: it is being removed, or was until now.
Result<bool> Builder::HoldImage(const std::string& name, const std::string& id) {
  auto hold = engine_.image_holds().Take(id);
  if (!hold || !engine_.images().Resolve(name).ok()) return false;
  holds_.push_back(*std::move(hold));
  TRY(engine_.store().PutImageUse(id, WallClock::now()));
  return true;
}

Result<> Builder::RunTriggers() {
  std::vector<std::string> triggers = std::exchange(state_->config.on_build, {});
  TRY(Say(fmt::format("# Executing {} build trigger{}\n", triggers.size(),
                      triggers.size() == 1 ? "" : "s")));
  for (const std::string& trigger : triggers) {
    TRY(Step(TRY(dockerfile::ParseInstruction(trigger, file_.escape))));
  }
  return {};
}

Result<> Builder::Step(const Instruction& in) {
  if (stop_.stop_requested()) return MakeError(ErrorKind::kCancelled, "the build was cancelled");
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
    if (pair.has_value) fallback = TRY(expander.Word(pair.value));
    arguments_.Declare(name, fallback);
    text += " " + name + (fallback ? "=" + *fallback : "");
  }
  std::string created_by = "/bin/sh -c #(nop)  " + text;
  std::string key = HexDigest(state_->cache_key + "\n" + text);
  if (TRY(TakeCached(key, created_by))) return {};
  return Remember(key, created_by, std::nullopt, std::nullopt, state_->chain_id);
}

Result<> Builder::Configure(const Instruction& in) {
  std::string text;
  if (in.kind == Kind::kMaintainer) {
    state_->author = TRY(ExpanderOfStage().Word(in.argument));
    text = "MAINTAINER " + state_->author;
  } else {
    text = TRY(editor_->Apply(in, ExpanderOfStage()));
  }
  std::string created_by = "/bin/sh -c #(nop)  " + text;
  // Flags of HEALTHCHECK are not in the text.
  std::string key = HexDigest(fmt::format("{}\n{}\n{}", state_->cache_key, in.text, text));
  if (TRY(TakeCached(key, created_by))) return {};
  return Remember(key, created_by, std::nullopt, std::nullopt, state_->chain_id);
}

Result<BuildEnd> Build(engine::Engine& engine, Cache& cache, BuildRequest request, ByteSource& body,
                       const BuildOutput& output, const StopToken& stop) {
  Context context = TRY(Context::Create(engine));
  if (request.remote.empty()) {
    TRY(context.Receive(body, stop));
  } else if (TRY(FetchContext(request.remote, context, stop)) == RemoteKind::kDockerfile) {
    request.dockerfile = "Dockerfile";
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
