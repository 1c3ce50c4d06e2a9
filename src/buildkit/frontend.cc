// SPDX-License-Identifier: Apache-2.0
#include "buildkit/frontend.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/io.h"
#include "base/mutex.h"
#include "base/text.h"
#include "build/context.h"
#include "build/remote_context.h"
#include "buildkit/cache_options.h"
#include "buildkit/checks.h"
#include "buildkit/definitions.h"
#include "buildkit/source_places.h"
#include "dockerfile/instruction.h"
#include "dockerfile/lines.h"
#include "dockerfile/outline.h"
#include "dockerfile/patterns.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "kernel/copy_tree.h"
#include "kernel/paths.h"

namespace gantry::buildkit {
namespace {

// A regular file's text; nothing without it.
Result<std::optional<std::string>> ReadText(BorrowedFd root, const std::string& path) {
  Result<UniqueFd> file = kernel::OpenIn(root, path, O_RDONLY | O_NONBLOCK);
  if (!file.ok() && file.error().error_number() == ENOENT) return std::optional<std::string>();
  struct stat status{};
  if (!file.ok() || ::fstat(file->get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return InvalidArgument("{} can't be read", path);
  }
  return std::optional<std::string>(TRY(ReadToEnd(*file, dockerfile::kMaxBytes)));
}

std::string TransferName(const std::string& name) { return "transferring " + name + ":"; }

std::string ReceiveName(std::string_view what) { return fmt::format("[internal] load {}", what); }

// A named context without what its .dockerignore leaves out, which comes first.
Result<> ReceiveNamed(Session& session, Progress& progress, const std::string& name,
                      BorrowedFd root, const StopToken& stop) {
  return InStep(progress, ReceiveName("context " + name), [&](size_t step) -> Result<> {
    constexpr const char* kIgnore = ".dockerignore";
    TRY(session.Receive({.name = name, .excludes = {}, .followed = {kIgnore}}, root, stop));
    auto patterns = TRY(ReadText(root, kIgnore));
    TRY(kernel::RemoveContents(root));
    dockerfile::IgnoreList ignored;
    if (patterns) {
      ignored = TRY_WITH(dockerfile::IgnoreList::Parse(*patterns), "reading .dockerignore");
    }
    Received received = TRY(
        session.Receive({.name = name, .excludes = ignored.Lines(), .followed = {}}, root, stop));
    progress.Part(step, TransferName(name), received.bytes, 0, true);
    return {};
  });
}

// The client, or another front end, has followed the syntax line already.
bool IsForwarded(const FrontendOptions& options) {
  return options.contains("cmdline") || options.contains("source");
}

// "# syntax=IMAGE …", or the build argument that stands for it, unless that is us.
std::optional<ForwardTo> FindForward(const std::string& text, const build::BuildRequest& request) {
  auto given = request.arguments.find("BUILDKIT_SYNTAX");
  std::string syntax = given != request.arguments.end() && given->second
                           ? *given->second
                           : dockerfile::ParseAsFarAsPossible(text).file.syntax;
  std::vector<std::string> words = SplitWords(syntax);
  if (words.empty() || IsOwnFrontend(words[0])) return std::nullopt;
  return ForwardTo{words[0], std::string(Trim(syntax))};
}

FrontendAnswer ForwardAnswer(ForwardTo forward) {
  FrontendAnswer answer;
  answer.forward = std::move(forward);
  return answer;
}

void RemoveTold(const std::vector<dockerfile::Warning>& told,
                std::vector<dockerfile::Warning>* warnings) {
  std::erase_if(*warnings, [&](const dockerfile::Warning& warning) {
    return std::any_of(told.begin(), told.end(), [&](const dockerfile::Warning& one) {
      return one.Short() == warning.Short();
    });
  });
}

// What the provenance says of a Dockerfile, but for its materials and the client's directories.
MadeFrom FromFile(const build::BuildRequest& request, const CheckedFile& file) {
  MadeFrom out;
  out.file = file.name;
  out.text = file.text;
  out.uses_network = request.host.network_mode != "none";
  auto parsed = dockerfile::Parse(file.text);
  if (!parsed.ok()) return out;  // the build's own error
  auto target = parsed->FindTarget(request.target);
  if (!target.ok()) return out;
  dockerfile::Outline outline = dockerfile::MakeOutline(*parsed, *target, request.arguments);
  for (const dockerfile::OutlineInput& one : outline.secrets) out.secrets.push_back(one.name);
  for (const dockerfile::OutlineInput& one : outline.agents) out.agents.push_back(one.name);
  return out;
}

class Frontend {
 public:
  Frontend(engine::Engine& engine, std::shared_ptr<Session> session, Job& job,
           const StopToken& stop)
      : engine_(engine),
        session_(std::move(session)),
        job_(job),
        progress_(job.progress()),
        stop_(stop) {}

  // `body`: a tar of the context; nullptr: it is the session's, or elsewhere. Of `inputs` "context"
  // and "dockerfile" stand for the client's directories.
  Result<FrontendAnswer> Run(build::Builds& builds, build::BuildRequest request,
                             const FrontendOptions& options, ByteSource* body,
                             const FrontendInputs& inputs);
  Result<FrontendAnswer> Answer(build::BuildRequest request, const FrontendOptions& options);
  // The lines of the Dockerfile that the error of Run is about, if it is about some.
  void AddFailedLines(ErrorDetails* details) const;

 private:
  Result<Received> Receive(const std::string& what, Directory directory, BorrowedFd root);
  // The Dockerfile's text, and that of a .dockerignore of its own.
  Result<std::string> LoadDockerfile(build::Context& context, const FrontendOptions& options,
                                     const std::string& path, std::optional<std::string>* ignored);
  // What the context leaves out: by `patterns`, else by the directory's own .dockerignore.
  Result<dockerfile::IgnoreList> LoadIgnored(build::Context& context,
                                             const FrontendOptions& options,
                                             std::optional<std::string> patterns);
  // It is received into what `cache` has kept of it.
  Result<> LoadContext(build::Context& context, build::Cache& cache, const FrontendOptions& options,
                       const dockerfile::IgnoreList& ignored);
  Result<std::unique_ptr<BuiltMade>> Build(build::Builds& builds, build::BuildRequest request,
                                           build::Context context, const CheckedFile& file);
  Result<std::string> LoadRemote(build::Context& context, const FrontendOptions& options,
                                 build::BuildRequest& request);
  // Both that the client has, or that other builds have made.
  Result<std::optional<FrontendAnswer>> LoadLocal(build::Context& context, build::Cache& cache,
                                                  const FrontendOptions& options,
                                                  const build::BuildRequest& request,
                                                  const FrontendInputs& inputs, CheckedFile* file);
  Result<std::string> ReadInput(Made& input, const std::string& path);
  Result<> TakeInput(Made& input, const FrontendOptions& options, build::Context& context);
  Result<build::RemoteFiles> FetchRemote(const build::BuildRequest& request,
                                         build::Context& context);
  build::BuildOutput Output();
  // What the client answers for the build.
  void AskSessionForBuild(build::BuildRequest* request);

  engine::Engine& engine_;
  const std::shared_ptr<Session> session_;
  Job& job_;
  Progress& progress_;
  const StopToken stop_;
  size_t received_ = 0;  // the step of progress that received something last
  std::optional<build::Material> remote_material_;  // of a context that is a repository
  // What the Dockerfile says, and what of it the error is about.
  std::string name_, text_, directory_;
  build::Lines failed_;
};

Result<Received> Frontend::Receive(const std::string& what, Directory directory, BorrowedFd root) {
  return InStep(progress_, ReceiveName(what), [&](size_t step) -> Result<Received> {
    received_ = step;
    std::string name = TransferName(directory.name);
    directory.told = [&](int64_t bytes) { progress_.Part(step, name, bytes, 0, false); };
    Received received = TRY(session_->Receive(directory, root, stop_));
    progress_.Part(step, name, received.bytes, 0, true);
    return received;
  });
}

Result<std::string> Frontend::LoadDockerfile(build::Context& context,
                                             const FrontendOptions& options,
                                             const std::string& path,
                                             std::optional<std::string>* ignored) {
  UniqueFd files = TRY(context.MakeDirectory("dockerfile"));
  directory_ = OptionOf(options, "dockerfilekey", "dockerfile");
  TRY(Receive(
      "build definition from " + path,
      {.name = directory_, .excludes = {}, .followed = {path, Lower(path), path + ".dockerignore"}},
      files));
  auto text = TRY(ReadText(files, path));
  // Where the client names none, "dockerfile" will do.
  if (!text && path == "Dockerfile") text = TRY(ReadText(files, Lower(path)));
  if (!text) return NotFound("failed to read dockerfile: open {}: no such file or directory", path);
  if (text->empty()) return InvalidArgument("the Dockerfile cannot be empty");
  *ignored = TRY(ReadText(files, path + ".dockerignore"));
  return *std::move(text);
}

Result<dockerfile::IgnoreList> Frontend::LoadIgnored(build::Context& context,
                                                     const FrontendOptions& options,
                                                     std::optional<std::string> patterns) {
  if (!patterns) {
    UniqueFd beside = TRY(context.MakeDirectory("dockerignore"));
    TRY(Receive(".dockerignore",
                Directory{.name = OptionOf(options, "contextkey", "context"),
                          .excludes = {},
                          .followed = {".dockerignore"}},
                beside));
    patterns = TRY(ReadText(beside, ".dockerignore"));
  }
  if (!patterns) return dockerfile::IgnoreList();
  return TRY_WITH(dockerfile::IgnoreList::Parse(*patterns), "reading .dockerignore");
}

Result<> Frontend::LoadContext(build::Context& context, build::Cache& cache,
                               const FrontendOptions& options,
                               const dockerfile::IgnoreList& ignored) {
  std::string name = OptionOf(options, "contextkey", "context");
  Directory directory{.name = name, .excludes = ignored.Lines(), .followed = {}};
  if (session_->shared_key().empty()) {
    TRY(Receive("build context", std::move(directory), context.files()));
    return {};
  }
  // What a crash of the machine may have left is not trusted.
  std::string boot = TRY(ReadFile("/proc/sys/kernel/random/boot_id"));
  auto kept = std::make_shared<build::Cache::MountUse>(TRY(cache.TakeMount(
      {.id = name,
       .is_source = true,
       .base = session_->shared_key() + boot,
       .sharing = dockerfile::RunMount::Sharing::kPrivate},
      [](BorrowedFd) -> Result<> { return {}; }, stop_)));
  UniqueFd files = TRY(OpenFile(kept->path(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  directory.updates = true;
  Received received = TRY(Receive("build context", std::move(directory), files));
  kept->SetSize(received.size);
  std::string path = kept->path();
  context.TakeFiles(std::move(files), std::move(path), std::move(kept));
  return {};
}

// A context on a client's standard input comes over its session, under a URL of a host that there
// is not.
Result<build::RemoteFiles> Frontend::FetchRemote(const build::BuildRequest& request,
                                                 build::Context& context) {
  constexpr std::string_view kUploads = "http://buildkit-session/";
  const std::string& url = request.remote;
  if (!url.starts_with(kUploads) || session_ == nullptr) {
    return build::FetchContext(request, context, stop_);
  }
  auto pull = [&](BorrowedFd file) {
    auto write = [&](std::string_view piece) { return WriteAll(file, piece); };
    return session_->PullUpload(url.substr(kUploads.size() - 1), write, stop_);
  };
  return build::TakeContext(url, pull, context, stop_);
}

Result<std::string> Frontend::LoadRemote(build::Context& context, const FrontendOptions& options,
                                         build::BuildRequest& request) {
  std::string path = request.dockerfile;
  TRY(InStep(progress_, ReceiveName("remote build context"), [&](size_t step) -> Result<> {
    received_ = step;
    build::RemoteFiles fetched = TRY(FetchRemote(request, context));
    request.context_time = fetched.time;
    remote_material_ = std::move(fetched.material);
    if (fetched.kind == build::RemoteKind::kDockerfile) path = "Dockerfile";
    return {};
  }));
  // The client's own Dockerfile for somebody else's files.
  std::optional<std::string> ignored;
  if (options.contains("dockerfilekey")) {
    return LoadDockerfile(context, options, request.dockerfile, &ignored);
  }
  std::string text = TRY(context.ReadDockerfile(path));
  TRY(context.DropIgnored(path));
  return text;
}

Result<std::string> Frontend::ReadInput(Made& input, const std::string& path) {
  return InStep(progress_, ReceiveName("build definition from " + path),
                [&](size_t step) -> Result<std::string> {
                  received_ = step;
                  auto text = TRY(ReadText(TRY(input.OpenFiles()), path));
                  if (text) return *std::move(text);
                  return NotFound("failed to read dockerfile: open {}: no such file or directory",
                                  path);
                });
}

// Nothing is left out of it: its own .dockerignore is one of its files, as BuildKit has it.
Result<> Frontend::TakeInput(Made& input, const FrontendOptions& options, build::Context& context) {
  return InStep(progress_, ReceiveName("build context"), [&](size_t) -> Result<> {
    BorrowedFd root = TRY(input.OpenFiles());
    std::string below = OptionOf(options, "contextsubdir", "");
    UniqueFd files = TRY_WITH(kernel::OpenIn(root, below, O_RDONLY | O_DIRECTORY),
                              "opening the directory '{}' of the context", below);
    return kernel::CopyTree(files, context.files());
  });
}

Result<std::optional<FrontendAnswer>> Frontend::LoadLocal(
    build::Context& context, build::Cache& cache, const FrontendOptions& options,
    const build::BuildRequest& request, const FrontendInputs& inputs, CheckedFile* file) {
  auto find = [&](const char* name) {
    auto found = inputs.find(name);
    return found == inputs.end() ? nullptr : found->second.get();
  };
  Made* files = find("context");
  Made* definition = find("dockerfile");
  if (definition == nullptr) definition = files;
  std::optional<std::string> ignored;
  // A client that names a directory of its own means that.
  file->text = definition == nullptr || options.contains("dockerfilekey")
                   ? TRY(LoadDockerfile(context, options, request.dockerfile, &ignored))
                   : TRY(ReadInput(*definition, request.dockerfile));
  size_t received = received_;
  if (auto forward = FindForward(file->text, request); forward && !IsForwarded(options)) {
    return ForwardAnswer(*std::move(forward));
  }
  if (files != nullptr) {
    TRY(TakeInput(*files, options, context));
  } else {
    file->ignored = TRY(LoadIgnored(context, options, std::move(ignored)));
    TRY(LoadContext(context, cache, options, *file->ignored));
  }
  received_ = received;
  return std::optional<FrontendAnswer>();
}

build::BuildOutput Frontend::Output() {
  build::BuildOutput output;
  // Numbers of the builder's steps to those of progress.
  struct Steps {
    Mutex mutex;
    std::map<size_t, size_t> numbers GUARDED_BY(mutex);
    size_t Find(size_t step) {
      MutexLock lock(mutex);
      return numbers[step];
    }
  };
  auto steps = std::make_shared<Steps>();
  output.text = [](std::string_view) -> Result<> { return {}; };
  output.command = [steps, progress = &progress_](size_t step, bool to_stderr,
                                                  std::string_view text) -> Result<> {
    progress->Log(steps->Find(step), to_stderr, text);
    return {};
  };
  output.step = [steps, progress = &progress_](const build::StepEvent& event) {
    using Kind = build::StepEvent::Kind;
    if (event.kind == Kind::kBegin) {
      size_t begun = progress->Begin(event.name);
      MutexLock lock(steps->mutex);
      steps->numbers[event.number] = begun;
    } else if (event.kind == Kind::kCached) {
      progress->Cached(steps->Find(event.number));
    } else {
      progress->End(steps->Find(event.number), event.error);
    }
  };
  output.pull = [steps, progress = &progress_](size_t step, const std::string&) {
    return [number = steps->Find(step), progress](const client::Progress& part) {
      bool done = part.event == "complete" || part.event == "already exists";
      progress->Part(number, part.name, part.progress, part.total, done);
    };
  };
  return output;
}

void Frontend::AskSessionForBuild(build::BuildRequest* request) {
  AskSession(session_, stop_, request);
  request->receive_directory = [session = session_, progress = &progress_, stop = stop_](
                                   const std::string& name, BorrowedFd root) {
    return ReceiveNamed(*session, *progress, name, root, stop);
  };
}

Result<FrontendAnswer> Frontend::Run(build::Builds& builds, build::BuildRequest request,
                                     const FrontendOptions& options, ByteSource* body,
                                     const FrontendInputs& inputs) {
  const std::set<std::string>& entitled = job_.wanted().entitlements;
  request.allows_host_network = entitled.contains("network.host");
  request.allows_insecure = entitled.contains("security.insecure");
  if (session_ != nullptr) AskSessionForBuild(&request);
  build::Context context = TRY(build::Context::Create(engine_));
  CheckedFile file{.name = request.dockerfile, .text = "", .ignored = {}};
  if (body != nullptr) {
    TRY(InStep(progress_, ReceiveName("build context"), [&](size_t step) {
      received_ = step;
      return context.Receive(*body, stop_);
    }));
    file.text = TRY(context.ReadDockerfile(request.dockerfile));
    if (auto forward = FindForward(file.text, request)) return ForwardAnswer(*std::move(forward));
    TRY(context.DropIgnored(request.dockerfile));
  } else if (request.remote.empty()) {
    auto forward = TRY(LoadLocal(context, builds.cache(), options, request, inputs, &file));
    if (forward) return *std::move(forward);
  } else {
    file.text = TRY(LoadRemote(context, options, request));
    if (auto forward = FindForward(file.text, request); forward && !IsForwarded(options)) {
      return ForwardAnswer(*std::move(forward));
    }
  }
  MadeFrom from;
  if (job_.wanted().provenance) from = FromFile(request, file);
  if (!request.remote.empty()) {
    from.materials.push_back(remote_material_.value_or(build::Material{request.remote, "", ""}));
  }
  std::set<std::string> directories;
  if (request.remote.empty() && body == nullptr && !inputs.contains("context")) {
    directories.insert(OptionOf(options, "contextkey", "context"));
  }
  if (!directory_.empty()) directories.insert(directory_);
  from.directories.assign(directories.begin(), directories.end());
  FrontendAnswer answer;
  auto made = TRY(Build(builds, std::move(request), std::move(context), file));
  made->made_from = std::move(from);
  answer.made = std::move(made);
  return answer;
}

Result<std::unique_ptr<BuiltMade>> Frontend::Build(build::Builds& builds,
                                                   build::BuildRequest request,
                                                   build::Context context,
                                                   const CheckedFile& file) {
  name_ = file.name;
  text_ = file.text;
  CheckResult checked = TRY(CheckDockerfile(engine_, request, file, CheckScope::kNeededStages));
  failed_ = {checked.first_line, checked.last_line};
  TellWarnings(checked, file, 0, progress_, received_);
  TRY(FailOnWarnings(checked));
  request.cache_imports = TRY(ImportCaches(engine_, job_, session_, stop_));
  const build::BuildRequest asked = request;
  auto made = std::make_unique<BuiltMade>();
  made->output = Output();
  made->builder = std::make_unique<build::Builder>(engine_, builds.cache(), std::move(request),
                                                   std::move(context), made->output, stop_);
  TRY(made->builder->Plan(file.text));
  Result<build::BuildEnd> run = made->builder->Run();
  failed_ = made->builder->failed_lines();
  build::BuildEnd end = TRY(std::move(run));
  if (!checked.knows_bases) {
    // Those that were pulled say more. Warnings come in the order of the rules: what was told is
    // left out.
    CheckResult again = TRY(CheckDockerfile(engine_, asked, file, CheckScope::kNeededStages));
    RemoveTold(checked.warnings, &again.warnings);
    TellWarnings(again, file, 0, progress_, received_);
    TRY(FailOnWarnings(again));
  }
  if (!end.failure.empty()) {
    return MakeError(ErrorKind::kUnknown, "{}", build::ProcessFailure(end));
  }
  return made;
}

void Frontend::AddFailedLines(ErrorDetails* details) const {
  if (failed_.first == 0) return;
  pb::SourceInfo source;
  source.set_filename(name_);
  source.set_data(text_);
  source.set_language("Dockerfile");
  pb::Op from;
  from.mutable_source()->set_identifier("local://" + directory_);
  source.mutable_definition()->add_def(from.SerializeAsString());
  AddPlace(source, RangesOfLines(failed_.first, failed_.last), details);
}

Result<FrontendAnswer> Frontend::Answer(build::BuildRequest request,
                                        const FrontendOptions& options) {
  if (session_ != nullptr) AskSessionForBuild(&request);
  build::Context context = TRY(build::Context::Create(engine_));
  CheckedFile file{.name = request.dockerfile, .text = "", .ignored = {}};
  if (request.remote.empty()) {
    std::optional<std::string> ignored;
    file.text = TRY(LoadDockerfile(context, options, request.dockerfile, &ignored));
    file.ignored = TRY(LoadIgnored(context, options, std::move(ignored)));
  } else {
    file.text = TRY(LoadRemote(context, options, request));
  }
  if (auto forward = FindForward(file.text, request); forward && !IsForwarded(options)) {
    return ForwardAnswer(*std::move(forward));
  }
  FrontendAnswer answer;
  answer.metadata = TRY(AnswerSubrequest(engine_, OptionOf(options, "requestid"), request, file));
  return answer;
}

}  // namespace

namespace {

// Results that the client builds on, with the configuration that it knows of them, as JSON of
// strings in base64.
Result<> SetInputs(const FrontendOptions& options, const FrontendInputs& inputs,
                   build::BuildRequest* request) {
  for (auto& [name, context] : request->contexts) {
    if (context.kind != build::NamedContext::Kind::kInput) continue;
    auto input = inputs.find(context.value);
    if (input == inputs.end()) {
      return InvalidArgument("the build context {} is the input {}, which there is not", name,
                             context.value);
    }
    auto metadata = options.find("input-metadata:" + context.value);
    if (metadata != options.end()) {
      auto json = TRY_WITH(formats::Json::Parse(metadata->second), "reading {}", metadata->first);
      const std::string& config = json["containerimage.config"].AsString();
      if (!config.empty()) {
        TRY(input->second->SetConfig(
            TRY_WITH(formats::DecodeBase64(config), "reading {}", metadata->first)));
      }
    }
    context.input = std::make_shared<const build::StageState>(input->second->result());
  }
  return {};
}

}  // namespace

Result<FrontendAnswer> RunFrontend(const FrontendCall& call, FrontendInputs inputs) {
  build::BuildRequest request = TRY(ReadFrontendOptions(call.options));
  Frontend frontend(call.engine, call.session, call.job, call.stop);
  if (call.options.contains("requestid")) return frontend.Answer(request, call.options);
  request.one_of_several = call.one_of_several;
  TRY(SetInputs(call.options, inputs, &request));
  auto answer = frontend.Run(call.builds, std::move(request), call.options, nullptr, inputs);
  if (!answer.ok()) {
    frontend.AddFailedLines(call.details);
    return answer;
  }
  if (answer->made != nullptr) {
    for (auto& [name, input] : inputs) answer->made->HoldInput(std::move(input));
  }
  return answer;
}

Result<std::unique_ptr<Made>> RunBuild(engine::Engine& engine, build::Builds& builds,
                                       build::BuildRequest request, ByteSource* body,
                                       std::shared_ptr<Session> session, Job& job,
                                       const StopToken& stop) {
  FrontendAnswer answer = TRY(Frontend(engine, std::move(session), job, stop)
                                  .Run(builds, std::move(request), {}, body, {}));
  if (!answer.forward) return std::move(answer.made);
  return Unimplemented("the image of a front end is not run for this kind of request: {}",
                       answer.forward->image);
}

}  // namespace gantry::buildkit
