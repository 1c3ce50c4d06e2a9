// SPDX-License-Identifier: Apache-2.0
#include "buildkit/provenance.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/text.h"
#include "build/git_url.h"
#include "build/materials.h"
#include "formats/base64.h"
#include "formats/json.h"

namespace gantry::buildkit {
namespace {

using formats::Json;

constexpr const char* kBuildType =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
constexpr const char* kOldBuildType = "https://mobyproject.org/buildkit@v1";
constexpr std::string_view kVcs = "vcs:";

Result<bool> SwitchOf(const std::string& name, const std::string& value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return InvalidArgument("failed to parse {} flag \"{}\"", name, value);
}

Result<ProvenanceWish> ReadWish(const std::string& text) {
  ProvenanceWish wish;
  for (const std::string& field : SplitWords(text, ",")) {
    size_t equals = field.find('=');
    std::string name = field.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : field.substr(equals + 1);
    if (name == "mode") {
      if (value != "min" && value != "max" && value != "full") {
        return InvalidArgument("invalid mode \"{}\"", value);
      }
      wish.all = value != "min";
    } else if (name == "version") {
      if (value != "v1" && value != "v0.2") {
        return InvalidArgument("invalid provenance SLSA version: {}", value);
      }
      wish.is_old = value == "v0.2";
    } else if (name == "builder-id") {
      wish.builder = value;
    } else if (name == "reproducible") {
      wish.reproducible = TRY(SwitchOf(name, value));
    } else if (name == "inline-only") {
      wish.is_default = TRY(SwitchOf(name, value));
    }
  }
  return wish;
}

// What is the same wherever the build runs.
bool IsOfRequest(const std::string& option) {
  return option != "cgroup-parent" && option != "image-resolve-mode" && option != "platform" &&
         option != "cache-imports" && !option.starts_with("attest:") &&
         !option.starts_with("build-arg:BUILDKIT_ATTEST_");
}

Json MaterialJson(const build::Material& material) {
  Json out = Json::MakeObject({{"uri", build::WithoutCredentials(material.uri)}});
  if (!material.digest.empty()) {
    out.Set("digest", Json::MakeObject({{material.algorithm, material.digest}}));
  }
  return out;
}

Json MaterialsJson(const std::vector<build::Material>& materials) {
  Json out = Json::MakeArray();
  for (const build::Material& material : materials) out.Append(MaterialJson(material));
  return out;
}

Json IdsJson(const std::vector<std::string>& ids, const char* key) {
  Json out = Json::MakeArray();
  for (const std::string& id : ids) out.Append(Json::MakeObject({{key, id}}));
  return out;
}

// The parts of a predicate that both versions have.
struct Parts {
  Json source = Json::MakeObject();   // where the Dockerfile is from
  Json request = Json::MakeObject();  // what was asked of the front end
  Json details = Json::MakeObject();  // BuildKit's own
  bool has_request = true;            // all of it
  bool has_materials = true;          // all of them
};

Parts PartsOf(const ProvenanceWish& wish, const MadeFrom& from) {
  Parts out;
  Json arguments = Json::MakeObject();
  Json vcs = Json::MakeObject();
  for (const auto& [key, value] : from.options) {
    if (!IsOfRequest(key) || value.empty()) continue;
    if (key == "filename") {
      out.source.Set("path", value);
    } else if (key == "context") {
      out.source.Set("uri", build::WithoutCredentials(value));
      for (const build::Material& material : from.materials) {
        if (material.uri == build::WithoutCredentials(value) && !material.digest.empty()) {
          out.source.Set("digest", Json::MakeObject({{material.algorithm, material.digest}}));
        }
      }
    } else if (key.starts_with(kVcs)) {
      vcs.Set(key.substr(kVcs.size()), build::WithoutCredentials(value));
    } else if (!wish.all && (key.starts_with("build-arg:") || key.starts_with("label:"))) {
      out.has_request = false;
    } else {
      arguments.Set(key, key.starts_with("context:") ? build::WithoutCredentials(value) : value);
    }
  }
  if (!from.frontend.empty()) out.request.Set("frontend", from.frontend);
  if (arguments.size() > 0) out.request.Set("args", std::move(arguments));
  if (wish.all && !from.secrets.empty()) out.request.Set("secrets", IdsJson(from.secrets, "id"));
  if (wish.all && !from.agents.empty()) out.request.Set("ssh", IdsJson(from.agents, "id"));
  if (!from.directories.empty()) out.request.Set("locals", IdsJson(from.directories, "name"));
  out.has_request &= !from.frontend.empty();
  out.has_materials = from.directories.empty() &&
                      std::none_of(from.materials.begin(), from.materials.end(),
                                   [](const build::Material& one) { return one.digest.empty(); });
  if (vcs.size() > 0) out.details.Set("vcs", std::move(vcs));
  if (wish.all && !from.text.empty()) {
    Json info = Json::MakeObject({{"filename", from.file},
                                  {"language", "Dockerfile"},
                                  {"data", formats::EncodeBase64(from.text)}});
    out.details.Set("source", Json::MakeObject({{"infos", Json::MakeArray({std::move(info)})}}));
  }
  return out;
}

Json Predicate(const ProvenanceWish& wish, const MadeFrom& from, const Job& job) {
  Parts parts = PartsOf(wish, from);
  Json platform = oci::HostPlatform().ToString();
  bool hermetic = parts.has_materials && !from.uses_network;
  std::string started = FormatRfc3339Nano(job.begun());
  std::string finished = FormatRfc3339Nano(WallClock::now());
  Json builder = Json::MakeObject({{"id", wish.builder}});
  if (wish.is_old) {
    Json source = std::move(parts.source);
    if (const Json* path = source.Find("path")) {
      Json name = *path;
      source.Erase("path");
      source.Set("entryPoint", std::move(name));
    }
    Json metadata = Json::MakeObject(
        {{"buildInvocationID", job.ref()},
         {"buildStartedOn", started},
         {"buildFinishedOn", finished},
         {"completeness", Json::MakeObject({{"parameters", parts.has_request},
                                            {"environment", true},
                                            {"materials", parts.has_materials}})},
         {"reproducible", wish.reproducible},
         {"https://mobyproject.org/buildkit@v1#metadata", std::move(parts.details)}});
    if (hermetic) metadata.Set("https://mobyproject.org/buildkit@v1#hermetic", true);
    return Json::MakeObject(
        {{"builder", std::move(builder)},
         {"buildType", kOldBuildType},
         {"materials", MaterialsJson(from.materials)},
         {"invocation",
          Json::MakeObject({{"configSource", std::move(source)},
                            {"parameters", std::move(parts.request)},
                            {"environment", Json::MakeObject({{"platform", platform}})}})},
         {"metadata", std::move(metadata)}});
  }
  Json metadata =
      Json::MakeObject({{"invocationId", job.ref()},
                        {"startedOn", started},
                        {"finishedOn", finished},
                        {"buildkit_metadata", std::move(parts.details)},
                        {"buildkit_completeness",
                         Json::MakeObject({{"request", parts.has_request},
                                           {"resolvedDependencies", parts.has_materials}})}});
  if (hermetic) metadata.Set("buildkit_hermetic", true);
  if (wish.reproducible) metadata.Set("buildkit_reproducible", true);
  Json definition = Json::MakeObject(
      {{"buildType", kBuildType},
       {"externalParameters", Json::MakeObject({{"configSource", std::move(parts.source)},
                                                {"request", std::move(parts.request)}})},
       {"internalParameters", Json::MakeObject({{"builderPlatform", platform}})},
       {"resolvedDependencies", MaterialsJson(from.materials)}});
  return Json::MakeObject({{"buildDefinition", std::move(definition)},
                           {"runDetails", Json::MakeObject({{"builder", std::move(builder)},
                                                            {"metadata", std::move(metadata)}})}});
}

}  // namespace

Result<std::optional<ProvenanceWish>> ReadProvenanceWish(
    const std::map<std::string, std::string>& options) {
  constexpr std::string_view kOption = "attest:";
  constexpr std::string_view kArgument = "build-arg:BUILDKIT_ATTEST_";
  std::optional<ProvenanceWish> wish;
  for (const auto& [key, value] : options) {
    std::string kind;
    if (key.starts_with(kOption)) kind = Lower(key.substr(kOption.size()));
    if (key.starts_with(kArgument)) kind = Lower(key.substr(kArgument.size()));
    if (kind.empty() || value.find("disabled=true") != std::string::npos) continue;
    if (kind != "provenance") return Unimplemented("attestations of kind {} are not made", kind);
    wish = TRY(ReadWish(value));
  }
  return wish;
}

build::Statement MakeProvenance(const ProvenanceWish& wish, const MadeFrom& from, const Job& job,
                                const ProvenanceSubject& subject) {
  std::string type =
      wish.is_old ? "https://slsa.dev/provenance/v0.2" : "https://slsa.dev/provenance/v1";
  size_t colon = subject.digest.find(':');
  Json digest =
      Json::MakeObject({{subject.digest.substr(0, colon), subject.digest.substr(colon + 1)}});
  Json subjects = Json::MakeArray();
  for (const std::string& name : subject.names) {
    subjects.Append(Json::MakeObject(
        {{"name", build::ImagePackageUrl(name, subject.platform)}, {"digest", digest}}));
  }
  Json statement = Json::MakeObject({{"_type", "https://in-toto.io/Statement/v1"},
                                     {"predicateType", type},
                                     {"subject", std::move(subjects)},
                                     {"predicate", Predicate(wish, from, job)}});
  return {std::move(type), statement.Dump()};
}

}  // namespace gantry::buildkit
