// SPDX-License-Identifier: Apache-2.0
//
// The variables that ARG declares: which values they have where (docker's scopes). An ARG before
// the first FROM is seen by FROM alone, and gives its value to an ARG of that name in a stage. One
// thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dockerfile/instruction.h"
#include "engine/config.h"
#include "oci/platform.h"

namespace gantry::build {

// TARGETPLATFORM, BUILDARCH, …: what FROM sees without any ARG.
std::map<std::string, std::string> PlatformArguments(const oci::Platform& platform);

class Arguments {
 public:
  using Value = std::optional<std::string>;

  // `given`: --build-arg.
  Arguments(std::map<std::string, Value> given, const oci::Platform& platform);

  // TARGETSTAGE: the name of what is built.
  void SetTarget(const std::string& name);
  // Those before the first FROM. kInvalidArgument: a default that can't be expanded.
  Result<> DeclareGlobals(const dockerfile::Dockerfile& file);
  Value Global(const std::string& name) const;
  // Where it is given or declared before the first FROM: another value from now on, or none.
  void Replace(const std::string& name, const Value& value);
  // A value is given: what the Dockerfile has instead is not even looked at.
  bool IsGiven(const std::string& name) const { return Given(name).has_value(); }

  void BeginStage() { stage_.clear(); }
  void Declare(const std::string& name, const Value& fallback);
  Value Get(const std::string& name) const;

  // What a command's environment gets: not what the stage's own ENV has set.
  std::map<std::string, std::string> ForCommand(const engine::ContainerConfig& config) const;
  // The same without those that users need not declare (proxies), which no cache and no history
  // depends on.
  std::map<std::string, std::string> ForHistory(const engine::ContainerConfig& config) const;

  const std::set<std::string>& declared() const { return declared_; }
  // Given and not `declared` anywhere.
  std::vector<std::string> Unused(const std::set<std::string>& declared) const;

 private:
  Value Given(const std::string& name) const;

  std::map<std::string, Value> given_;
  std::map<std::string, Value> global_;
  std::map<std::string, Value> stage_;
  std::set<std::string> declared_;
};

}  // namespace gantry::build
