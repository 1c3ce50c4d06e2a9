// SPDX-License-Identifier: Apache-2.0
//
// The instructions of a Dockerfile, checked as far as they can be without knowing any variable, and
// the stages that they make. Words still have their quotes and variables (expand.h). Pure; any
// thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dockerfile/expand.h"
#include "dockerfile/lines.h"

namespace gantry::dockerfile {

enum class Kind : uint8_t {
  kAdd,
  kArg,
  kCmd,
  kCopy,
  kEntrypoint,
  kEnv,
  kExpose,
  kFrom,
  kHealthcheck,
  kLabel,
  kMaintainer,
  kOnBuild,
  kRun,
  kShell,
  kStopSignal,
  kUser,
  kVolume,
  kWorkdir,
};

struct Pair {
  std::string name;
  std::string value;
  bool has_value = true;  // false: "ARG name"
  bool spaced = false;    // "ENV name value", without "="
};

struct Instruction {
  Kind kind = Kind::kRun;
  std::string keyword;
  std::string written;                // the keyword as it is written
  std::string text;                   // as progress shows it
  int line = 0;                       // from 1; the first
  int last_line = 0;                  // here-documents too
  int empty_line = 0;                 // of the end of a continuation with empty lines; 0: none
  std::vector<std::string> comments;  // above it, the text of each line
  std::vector<Flag> flags;
  std::vector<Heredoc> heredocs;
  // RUN, CMD, ENTRYPOINT, HEALTHCHECK CMD, SHELL: the words of the JSON form, or one word for a
  // shell. ADD, COPY: sources, then the destination. EXPOSE, VOLUME; FROM: the image.
  std::vector<std::string> words;
  bool json_form = false;
  std::vector<Pair> pairs;  // ARG, ENV, LABEL
  // The rest of the line: MAINTAINER, USER, WORKDIR, STOPSIGNAL, the trigger of ONBUILD.
  // FROM: the stage's name, lower case. HEALTHCHECK: "NONE" or "CMD".
  std::string argument;

  // The last flag of that name; nullptr without it.
  const Flag* FindFlag(std::string_view name) const;
};

struct Stage {
  Instruction from;
  std::vector<Instruction> instructions;
};

struct Dockerfile {
  char escape = '\\';
  std::string syntax;
  std::string check;
  std::vector<Instruction> arguments;  // ARG before the first FROM
  std::vector<Stage> stages;           // at least one
  // The numbers of the stages that have a name, which several may have.
  std::map<std::string, std::vector<size_t>, std::less<>> named;

  // By name or number; -1 when there is none. Stages at `before` and later are not looked at.
  int FindStage(std::string_view name, size_t before) const;
  // The position of the stage that is asked for; the last one without a name. kInvalidArgument.
  Result<size_t> FindTarget(const std::string& name) const;
  // By number: `target` and what it is made of. `global`: the variables that FROM sees.
  // `is_elsewhere`: what a name means that is no stage's because the client says so.
  std::vector<bool> NeededStages(
      size_t target, const Lookup& global,
      const std::function<bool(const std::string& name)>& is_elsewhere) const;
};

// kInvalidArgument with the line's number.
Result<Dockerfile> Parse(std::string_view text);
// The same for who wants what is before the error as well.
struct Parsed {
  Dockerfile file;
  std::optional<Error> error;
  int first_line = 0, last_line = 0;  // of the error, where an instruction has it
};
Parsed ParseAsFarAsPossible(std::string_view text);

// One instruction: a trigger of ONBUILD, a --change of commit.
Result<Instruction> ParseInstruction(std::string_view text, char escape = '\\');

}  // namespace gantry::dockerfile
