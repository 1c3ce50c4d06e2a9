// SPDX-License-Identifier: Apache-2.0
#include "buildkit/solve.h"

#include <utility>

#include "buildkit/definitions.h"
#include "buildkit/frontend.h"
#include "buildkit/frontend_image.h"

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
  image.options = std::move(options);
  image.inputs.insert(wanted.inputs.begin(), wanted.inputs.end());
  image.depth = wanted.depth + 1;
  return RunFrontendImage(shared, job, std::move(image), stop);
}

Result<Solved> Make(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                    const StopToken& stop) {
  if (wanted.definition.def_size() > 0) {
    auto made = TRY(SolveDefinition(shared, *job, wanted.definition, stop, wanted.details));
    return Solved{TRY(job->Keep(std::move(made))), {}};
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
  FrontendInputs inputs;
  // What is asked of the Dockerfile needs nothing else.
  if (!options.contains("requestid")) {
    for (const auto& [name, definition] : wanted.inputs) {
      inputs[name] = TRY(SolveDefinition(shared, *job, definition, stop, wanted.details));
    }
  }
  auto session = TRY(shared.sessions.Find(job->wanted().session, kBeginBound));
  FrontendAnswer answer = TRY(RunFrontend(
      {shared.engine, shared.builds, options, std::move(session), *job, stop, wanted.details},
      std::move(inputs)));
  if (answer.forward) {
    options["source"] = answer.forward->image;
    options["cmdline"] = answer.forward->line;
    return RunImage(shared, job, wanted, std::move(options), stop);
  }
  if (answer.made == nullptr) return Solved{"", std::move(answer.metadata)};
  return Solved{TRY(job->Keep(std::move(answer.made))), {}};
}

}  // namespace

Result<Solved> Solve(Shared& shared, const std::shared_ptr<Job>& job, const Solvable& wanted,
                     const StopToken& stop) {
  auto solved = Make(shared, job, wanted, stop);
  if (!solved.ok()) return WithoutCode(solved.error());
  return solved;
}

}  // namespace gantry::buildkit
