// SPDX-License-Identifier: Apache-2.0
//
// What is questionable in a Dockerfile: the rules of BuildKit's checks, by their names
// (https://docs.docker.com/reference/build-checks/), each with the lines that it is about. Pure;
// any thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dockerfile/instruction.h"
#include "dockerfile/patterns.h"

namespace gantry::dockerfile {

struct Rule {
  std::string_view name;
  std::string_view page;  // of its description, in docker's documentation; "": it has none
  std::string_view description;
  bool experimental = false;  // only where it is asked for

  std::string Url() const;
};

struct Warning {
  const Rule* rule = nullptr;  // lives for ever
  std::string detail;
  int first_line = 0, last_line = 0;  // from 1

  // "MaintainerDeprecated: … (line 3)"
  std::string Short() const;
};

// "skip=A,B;experimental=all;error=true": the directive "# check", or the build argument
// BUILDKIT_DOCKERFILE_CHECK. Rules that there are not change nothing.
struct CheckOptions {
  bool skips_all = false;
  bool tries_all = false;
  bool fails = false;  // a warning ends the build
  std::set<std::string, std::less<>> skipped, tried;
};
// kInvalidArgument.
Result<CheckOptions> ParseCheckOptions(std::string_view text);

struct PlatformParts {
  std::string os, architecture;
};

// What a stage begins with.
struct BaseFacts {
  std::map<std::string, std::string> variables;
  bool has_shell = false;                 // its configuration says which
  std::string platform, wanted_platform;  // "os/arch"; "": nothing is known of them
};

struct LintRequest {
  const Dockerfile& file;
  bool whole = true;  // false: an error has ended `file`
  CheckOptions options;
  std::vector<bool> stages;  // by number: whose instructions are looked at
  std::map<std::string, std::optional<std::string>> given;  // build arguments
  std::map<std::string, std::string> predefined;            // TARGETPLATFORM and the like
  const IgnoreList* ignored = nullptr;                      // of the context, where it is known
  // Of an image; nothing when it is not known: then nothing is said of the stage's variables.
  std::function<std::optional<BaseFacts>(const std::string& image, const std::string& platform)>
      find_base;
  std::function<std::optional<PlatformParts>(const std::string& text)> read_platform;
};

// At most a thousand.
std::vector<Warning> Lint(const LintRequest& request);

}  // namespace gantry::dockerfile
