// SPDX-License-Identifier: Apache-2.0
#include "buildkit/solve.h"

#include <utility>
#include <vector>

#include "base/text.h"
#include "buildkit/definitions.h"
#include "buildkit/frontend.h"
#include "buildkit/frontend_image.h"
#include "formats/json.h"
#include "oci/platform.h"

namespace gantry::buildkit {
namespace {

// Clients put the name of a code before its message; BuildKit has none for what is wrong with a
// Dockerfile, context or operation.
Error WithoutCode(const Error& error) {
  bool said = error.kind() == ErrorKind::kCancelled || error.kind() == ErrorKind::kUnavailable ||
              error.kind() == ErrorKind::kUnimplemented;
  return MakeError(said ? error.kind() : ErrorKind::kUnknown, "{}", error.message());
}

Result<Solved> RunImage(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                        FrontendOptions options, const StopToken& stop) {
  FrontendImage image;
  image.options = options;
  image.inputs.insert(wanted.inputs.begin(), wanted.inputs.end());
  image.depth = wanted.depth + 1;
  Solved solved = TRY(RunFrontendImage(shared, job, std::move(image), stop));
  for (const Solved::Ref& ref : solved.refs) {
    TRY(job->Get(ref.name))->SetRequest("gateway.v0", options);
  }
  return solved;
}

enum class Several : uint8_t { kNo, kYes };  // platforms
// What this engine's own front end makes, unless the Dockerfile names another one.
Result<Solved> RunOwn(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                      FrontendOptions options, Several several, const StopToken& stop) {
  FrontendInputs inputs;
  // What is asked of the Dockerfile needs nothing else.
  if (!options.contains("requestid")) {
    for (const auto& [name, definition] : wanted.inputs) {
      inputs[name] = TRY(SolveDefinition(shared, *job, definition, stop, wanted.details));
    }
  }
  auto session = TRY(shared.sessions.Find(job->wanted().session, kBeginBound));
  FrontendAnswer answer =
      TRY(RunFrontend({shared.engine, shared.builds, options, std::move(session), *job, stop,
                       wanted.details, several == Several::kYes},
                      std::move(inputs)));
  if (answer.forward) {
    options["source"] = answer.forward->image;
    options["cmdline"] = answer.forward->line;
    return RunImage(shared, job, wanted, std::move(options), stop);
  }
  if (answer.made == nullptr) return Solved{{}, std::move(answer.metadata)};
  answer.made->SetRequest(wanted.frontend, options);
  return Solved{{{TRY(job->Keep(std::move(answer.made))), ""}}, {}};
}

// Of each platform in turn. `options` without "platform".
Result<Solved> RunForPlatforms(Shared& shared, const std::shared_ptr<Job>& job,
                               const Solvable& wanted, FrontendOptions options,
                               const std::vector<std::string>& platforms, const StopToken& stop) {
  Solved all;
  formats::Json list = formats::Json::MakeArray();
  for (const std::string& text : platforms) {
    oci::Platform platform = TRY(oci::ParsePlatform(text));
    options["platform"] = platform.ToString();
    Solved one = TRY(RunOwn(shared, job, wanted, options, Several::kYes, stop));
    if (one.refs.size() != 1) return one;  // an answer
    const std::string id = platform.ToString();
    formats::Json described =
        formats::Json::MakeObject({{"architecture", platform.architecture}, {"os", platform.os}});
    if (!platform.variant.empty()) described.Set("variant", platform.variant);
    list.Append(formats::Json::MakeObject({{"ID", id}, {"Platform", std::move(described)}}));
    all.metadata["containerimage.config/" + id] =
        build::DocumentOf(TRY(job->Get(one.refs[0].name))->result()).Dump();
    all.refs.push_back({one.refs[0].name, id});
  }
  all.metadata["refs.platforms"] =
      formats::Json::MakeObject({{"Platforms", std::move(list)}}).Dump();
  return all;
}

Result<Solved> Make(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                    const StopToken& stop) {
  if (wanted.definition.def_size() > 0) {
    auto made = TRY(SolveDefinition(shared, *job, wanted.definition, stop, wanted.details));
    return Solved{{{TRY(job->Keep(std::move(made))), ""}}, {}};
  }
  FrontendOptions options(wanted.options.begin(), wanted.options.end());
  if (wanted.frontend == "gateway.v0") {
    auto source = options.find("source");
    if (source == options.end() || source->second.empty()) {
      return InvalidArgument("gateway.v0 needs the name of a front end's image (source)");
    }
    if (!IsOwnFrontend(source->second)) {
      return RunImage(shared, job, wanted, std::move(options), stop);
    }
  } else if (wanted.frontend != "dockerfile.v0") {
    return Unimplemented("there is no front end '{}'", wanted.frontend);
  }
  auto option = [&](const char* name) {
    auto found = options.find(name);
    return found == options.end() ? std::string() : found->second;
  };
  std::vector<std::string> platforms = SplitWords(option("platform"), ",");
  bool several = platforms.size() > 1 || option("multi-platform") == "true";
  if (!several) return RunOwn(shared, job, wanted, std::move(options), Several::kNo, stop);
  if (platforms.empty()) platforms = {oci::HostPlatform().ToString()};
  return RunForPlatforms(shared, job, wanted, std::move(options), platforms, stop);
}

}  // namespace

Result<Solved> Solve(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                     const StopToken& stop) {
  auto solved = Make(shared, job, wanted, stop);
  if (!solved.ok()) return WithoutCode(solved.error());
  return solved;
}

}  // namespace gantry::buildkit
