// SPDX-License-Identifier: Apache-2.0
#include "buildkit/frontend_options.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/number.h"
#include "base/text.h"
#include "build/remote_context.h"
#include "formats/reference.h"
#include "oci/platform.h"

namespace gantry::buildkit {
namespace {

constexpr std::string_view kArgument = "build-arg:";
constexpr std::string_view kLabel = "label:";
constexpr std::string_view kContext = "context:";

// What asks for a thing that this front end does not have. Others that it does not know change
// nothing in the image.
Result<> RefuseOption(const std::string& key, const std::string& value) {
  bool attest = key.starts_with("attest:") && !value.empty() &&
                value.find("disabled=true") == std::string::npos;
  if (attest && key != "attest:provenance") {
    return Unimplemented("attestations of kind {} are not made", key.substr(7));
  }
  return {};
}

// Programs look for either case: who gives one gives both.
void MirrorProxies(std::map<std::string, std::optional<std::string>>* arguments) {
  for (const char* name : {"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"}) {
    std::string upper = Upper(name);
    auto lower_value = arguments->find(name);
    auto upper_value = arguments->find(upper);
    if (lower_value != arguments->end()) arguments->try_emplace(upper, lower_value->second);
    if (upper_value != arguments->end()) arguments->try_emplace(name, upper_value->second);
  }
}

// The rest behind "SCHEME:" or "SCHEME://"; nothing with another scheme.
std::optional<std::string> BehindScheme(const std::string& value, std::string_view scheme) {
  if (!value.starts_with(scheme)) return std::nullopt;
  std::string rest = value.substr(scheme.size());
  return rest.starts_with("//") ? rest.substr(2) : rest;
}

// "context:NAME" with what stands for it, maybe for one platform ("NAME::linux/arm64").
Result<> ReadNamedContext(std::string name, const std::string& value,
                          build::BuildRequest* request) {
  size_t platform = name.find("::");
  if (platform != std::string::npos) {
    oci::Platform wanted = TRY(oci::ParsePlatform(name.substr(platform + 2)));
    if (oci::MatchPlatform(oci::HostPlatform(), wanted) == 0) return {};
    name.resize(platform);
  }
  using Kind = build::NamedContext::Kind;
  constexpr std::pair<std::string_view, Kind> kKinds[] = {
      {"docker-image:", Kind::kImage},
      {"input:", Kind::kInput},  // its files come with the request (SetInputs)
      {"oci-layout:", Kind::kLayout},
      {"local:", Kind::kDirectory}};
  for (const auto& [scheme, kind] : kKinds) {
    auto rest = BehindScheme(value, scheme);
    if (!rest) continue;
    request->contexts[name] = {kind, *std::move(rest), nullptr};
    return {};
  }
  if (build::IsRemoteContext(value)) {
    request->contexts[name] = {Kind::kRemote, value, nullptr};
    return {};
  }
  return Unimplemented("a build context of that kind is not supported: {}={}", name, value);
}

Result<> ReadUlimits(const std::string& text, engine::HostConfig* host) {
  for (const std::string& one : SplitWords(text, ",")) {
    size_t equals = one.find('=');
    size_t colon = one.find(':', equals);
    auto soft =
        equals == std::string::npos
            ? std::nullopt
            : ParseNumber<int64_t>(std::string_view(one).substr(equals + 1, colon - equals - 1));
    auto hard = colon == std::string::npos
                    ? soft
                    : ParseNumber<int64_t>(std::string_view(one).substr(colon + 1));
    if (!soft || !hard) return InvalidArgument("invalid ulimit: {}", one);
    host->ulimits.push_back({one.substr(0, equals), *soft, *hard});
  }
  return {};
}

}  // namespace

std::string OptionOf(const FrontendOptions& options, const std::string& key,
                     std::string_view fallback) {
  auto found = options.find(key);
  return found == options.end() || found->second.empty() ? std::string(fallback) : found->second;
}

bool IsOwnFrontend(const std::string& source) {
  std::string name = source;
  constexpr std::string_view kScheme = "docker-image://";
  if (name.starts_with(kScheme)) name.erase(0, kScheme.size());
  auto reference = formats::ParseReference(name);
  for (std::string_view ours : {"docker/dockerfile", "docker/dockerfile-upstream"}) {
    if (reference.ok() && reference->path == ours) return true;
  }
  return false;
}

Result<build::BuildRequest> ReadFrontendOptions(const FrontendOptions& options) {
  build::BuildRequest request;
  for (const auto& [key, value] : options) {
    TRY(RefuseOption(key, value));
    if (key.starts_with(kArgument)) request.arguments[key.substr(kArgument.size())] = value;
    if (key.starts_with(kContext)) {
      TRY(ReadNamedContext(key.substr(kContext.size()), value, &request));
    }
    if (key.starts_with(kLabel)) request.labels[key.substr(kLabel.size())] = value;
  }
  MirrorProxies(&request.arguments);
  request.hostname = OptionOf(options, "hostname");
  auto hostname = request.arguments.find("BUILDKIT_SANDBOX_HOSTNAME");
  if (hostname != request.arguments.end()) request.hostname = hostname->second.value_or("");
  std::string context = OptionOf(options, "context");
  if (build::IsRemoteContext(context)) {
    request.remote = context;
  } else if (!context.empty() && !context.starts_with("local:")) {
    return Unimplemented("a context of that kind is not supported: {}", context);
  }
  request.dockerfile = OptionOf(options, "filename", "Dockerfile");
  request.target = OptionOf(options, "target");
  request.keeps_failed = false;
  // Without names it is all stages.
  request.no_cache_stages = SplitWords(OptionOf(options, "no-cache"), ",");
  request.no_cache = options.contains("no-cache") && request.no_cache_stages.empty();
  request.pull = OptionOf(options, "image-resolve-mode") == "pull";
  request.platform = OptionOf(options, "platform");
  if (!request.platform.empty()) TRY(oci::ParsePlatform(request.platform));
  engine::HostConfig& host = request.host;
  std::string network = OptionOf(options, "force-network-mode");
  if (network != "sandbox") host.network_mode = network;
  host.cgroup_parent = OptionOf(options, "cgroup-parent");
  for (const std::string& one : SplitWords(OptionOf(options, "add-hosts"), ",")) {
    size_t equals = one.find('=');
    host.extra_hosts.push_back(one.substr(0, equals) + ":" +
                               one.substr(std::min(one.size(), equals + 1)));
  }
  std::string shared_memory = OptionOf(options, "shm-size");
  if (!shared_memory.empty()) {
    auto size = ParseNumber<int64_t>(shared_memory);
    if (!size) return InvalidArgument("invalid shm-size: {}", shared_memory);
    host.shm_size = *size;
  }
  TRY(ReadUlimits(OptionOf(options, "ulimit"), &host));
  return request;
}

}  // namespace gantry::buildkit
