// SPDX-License-Identifier: Apache-2.0
//
// What the front end says of a Dockerfile without building it: warnings of its rules
// (dockerfile/lint.h), in a build's progress or as the answer of a subrequest ("requestid":
// frontend.lint, frontend.outline, frontend.targets, frontend.subrequests.describe), in the forms
// that BuildKit's clients read. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "build/request.h"
#include "buildkit/progress.h"
#include "dockerfile/lint.h"
#include "engine/engine.h"

namespace gantry::buildkit {

struct CheckedFile {
  std::string name;  // as the client calls it
  std::string text;
  // Of the context; nothing where that is not known.
  std::optional<dockerfile::IgnoreList> ignored;
};

struct CheckResult {
  std::vector<dockerfile::Warning> warnings;
  bool knows_bases = true;  // false: an image is not here, what it has is not known
  bool fails = false;       // the file wants a warning to end the build
  std::optional<Error> error;
  int first_line = 0, last_line = 0;  // of the error; 0: it has none
};
enum class CheckScope : uint8_t { kNeededStages, kAllStages };
// kInvalidArgument: "# check" says something else.
Result<CheckResult> CheckDockerfile(engine::Engine& engine, const build::BuildRequest& request,
                                    const CheckedFile& file, CheckScope scope);

// Warnings behind the first `told` ones, as those of a step.
void TellWarnings(const CheckResult& result, const CheckedFile& file, size_t told,
                  Progress& progress, size_t step);
// kFailedPrecondition: there are warnings, and the file wants none.
Result<> FailOnWarnings(const CheckResult& result);

// The metadata of the answer: "result.json", "result.txt", "version", … kUnimplemented.
Result<std::map<std::string, std::string>> AnswerSubrequest(engine::Engine& engine,
                                                            const std::string& id,
                                                            const build::BuildRequest& request,
                                                            const CheckedFile& file);

}  // namespace gantry::buildkit
