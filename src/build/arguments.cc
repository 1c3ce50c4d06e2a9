// SPDX-License-Identifier: Apache-2.0
#include "build/arguments.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "dockerfile/expand.h"
#include "engine/image_instructions.h"

namespace gantry::build {
namespace {

constexpr auto kUndeclared = std::to_array<std::string_view>(
    {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY",
     "no_proxy", "ALL_PROXY", "all_proxy"});

bool NeedsNoDeclaration(const std::string& name) {
  return std::find(kUndeclared.begin(), kUndeclared.end(), name) != kUndeclared.end();
}

}  // namespace

std::map<std::string, std::string> PlatformArguments(const oci::Platform& platform) {
  std::map<std::string, std::string> out;
  for (const char* side : {"TARGET", "BUILD"}) {
    std::string prefix = side;
    out[prefix + "PLATFORM"] = platform.ToString();
    out[prefix + "OS"] = platform.os;
    out[prefix + "ARCH"] = platform.architecture;
    out[prefix + "VARIANT"] = platform.variant;
  }
  return out;
}

Arguments::Arguments(std::map<std::string, Value> given, const oci::Platform& platform)
    : given_(std::move(given)) {
  for (const auto& [name, value] : PlatformArguments(platform)) global_[name] = value;
}

Arguments::Value Arguments::Given(const std::string& name) const {
  auto found = given_.find(name);
  return found == given_.end() ? std::nullopt : found->second;
}

void Arguments::SetTarget(const std::string& name) {
  global_["TARGETSTAGE"] = name.empty() ? "default" : name;
}

Result<> Arguments::DeclareGlobals(const dockerfile::Dockerfile& file) {
  dockerfile::Expander expander{[this](const auto& name) { return Global(name); }, file.escape};
  for (const dockerfile::Instruction& in : file.arguments) {
    for (const dockerfile::Pair& pair : in.pairs) {
      Value fallback;
      if (pair.has_value && !IsGiven(pair.name)) fallback = TRY(expander.Word(pair.value));
      declared_.insert(pair.name);
      Value given = Given(pair.name);
      global_[pair.name] = given ? given : fallback;
    }
  }
  return {};
}

Arguments::Value Arguments::Global(const std::string& name) const {
  auto found = global_.find(name);
  return found == global_.end() ? std::nullopt : found->second;
}

void Arguments::Replace(const std::string& name, const Value& value) {
  for (auto* values : {&given_, &global_}) {
    if (auto found = values->find(name); found != values->end()) found->second = value;
  }
}

void Arguments::Declare(const std::string& name, const Value& fallback) {
  declared_.insert(name);
  Value value = Given(name);
  if (!value) value = fallback;
  if (!value) value = Global(name);
  stage_[name] = value;
}

Arguments::Value Arguments::Get(const std::string& name) const {
  auto found = stage_.find(name);
  if (found != stage_.end()) return found->second;
  return NeedsNoDeclaration(name) ? Given(name) : std::nullopt;
}

std::map<std::string, std::string> Arguments::ForHistory(
    const engine::ContainerConfig& config) const {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : stage_) {
    if (value && !engine::VariableOf(config, name)) out[name] = *value;
  }
  return out;
}

std::map<std::string, std::string> Arguments::ForCommand(
    const engine::ContainerConfig& config) const {
  std::map<std::string, std::string> out = ForHistory(config);
  for (const auto& [name, value] : given_) {
    if (value && NeedsNoDeclaration(name) && !engine::VariableOf(config, name)) {
      out.try_emplace(name, *value);
    }
  }
  return out;
}

std::vector<std::string> Arguments::Unused(const std::set<std::string>& declared) const {
  std::vector<std::string> out;
  for (const auto& [name, value] : given_) {
    // What the builder itself is told.
    bool of_builder = name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_");
    if (!declared.contains(name) && !NeedsNoDeclaration(name) && !of_builder) out.push_back(name);
  }
  return out;
}

}  // namespace gantry::build
