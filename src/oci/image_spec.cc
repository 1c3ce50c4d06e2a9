// SPDX-License-Identifier: Apache-2.0
#include "oci/image_spec.h"

#include <algorithm>

namespace gantry::oci {
namespace {

using formats::Digest;
using formats::Json;
using formats::JsonReader;

constexpr int64_t kMaxBlobBytes = int64_t{1} << 50;

void ReadPlatform(JsonReader& reader, Platform* platform) {
  reader.Field("os", &platform->os);
  reader.Field("architecture", &platform->architecture);
  reader.Field("variant", &platform->variant);
  reader.Field("os.version", &platform->os_version);
  reader.Field("os.features", &platform->os_features);
}

void ReadDescriptor(JsonReader& reader, Descriptor* descriptor) {
  std::string digest;
  reader.Field("mediaType", &descriptor->media_type);
  reader.Field("digest", &digest);
  reader.Field("size", &descriptor->size);
  reader.Field("urls", &descriptor->urls);
  reader.Field("annotations", &descriptor->annotations);
  reader.Field("artifactType", &descriptor->artifact_type);
  reader.Field("data", &descriptor->data);
  reader.Object("platform",
                [&](JsonReader& inner) { ReadPlatform(inner, &descriptor->platform.emplace()); });
  auto parsed = Digest::Parse(digest);
  if (!parsed.ok()) return reader.Fail("digest", parsed.error().message());
  descriptor->digest = std::move(*parsed);
  if (descriptor->size < 0 || descriptor->size > kMaxBlobBytes) {
    reader.Fail("size", fmt::format("{} is out of range", descriptor->size));
  }
}

Result<Json> ParseDocument(std::string_view text, std::string_view what) {
  if (text.size() > kMaxDocumentBytes) {
    return InvalidArgument("reading {}: {} bytes are more than {}", what, text.size(),
                           kMaxDocumentBytes);
  }
  Json json = TRY_WITH(Json::Parse(text), "reading {}", what);
  if (!json.is_object()) return InvalidArgument("reading {}: expected an object", what);
  return json;
}

// Version and media type of a manifest or index; sets the media type that counts.
Result<> CheckHead(const Json& json, std::string_view what, std::string_view declared,
                   std::string_view fallback, std::string* media_type) {
  JsonReader reader(json, std::string(what));
  int64_t version = 0;
  reader.Field("schemaVersion", &version);
  reader.Field("mediaType", media_type);
  TRY(reader.Finish());
  if (version == 1) {
    return Unimplemented("reading {}: docker's schema 1 is not supported, push the image again",
                         what);
  }
  // None is what tools write that fill Go's structs by hand; containerd takes it.
  if (version != 2 && version != 0) return InvalidArgument("{}.schemaVersion: expected 2", what);
  if (!media_type->empty() && !declared.empty() && *media_type != declared) {
    return InvalidArgument("reading {}: it says it is '{}' but came as '{}'", what, *media_type,
                           declared);
  }
  if (media_type->empty()) *media_type = declared.empty() ? fallback : declared;
  return {};
}

void ReadKeys(JsonReader& reader, std::string_view key, std::vector<std::string>* out) {
  const Json* member = reader.Raw(key);
  if (member == nullptr) return;
  if (!member->is_object()) return reader.Fail(key, "expected an object");
  for (const auto& [name, value] : member->members()) out->push_back(name);
  std::sort(out->begin(), out->end());
}

void ReadHealthcheck(JsonReader& reader, Healthcheck* check) {
  reader.Field("Test", &check->test);
  reader.Field("Interval", &check->interval_nanos);
  reader.Field("Timeout", &check->timeout_nanos);
  reader.Field("StartPeriod", &check->start_period_nanos);
  reader.Field("StartInterval", &check->start_interval_nanos);
  reader.Field("Retries", &check->retries);
}

void ReadDefaults(JsonReader& reader, ContainerDefaults* config) {
  reader.Field("User", &config->user);
  ReadKeys(reader, "ExposedPorts", &config->exposed_ports);
  reader.Field("Env", &config->env);
  reader.Field("Entrypoint", &config->entrypoint);
  reader.Field("Cmd", &config->cmd);
  ReadKeys(reader, "Volumes", &config->volumes);
  reader.Field("WorkingDir", &config->working_dir);
  reader.Field("Labels", &config->labels);
  reader.Field("StopSignal", &config->stop_signal);
  reader.Field("StopTimeout", &config->stop_timeout_seconds);
  reader.Object("Healthcheck",
                [&](JsonReader& inner) { ReadHealthcheck(inner, &config->healthcheck.emplace()); });
  reader.Field("OnBuild", &config->on_build);
  reader.Field("Shell", &config->shell);
  reader.Field("ArgsEscaped", &config->args_escaped);
}

Json KeysToJson(const std::vector<std::string>& keys) {
  Json object = Json::MakeObject();
  for (const std::string& key : keys) object.Set(key, Json::MakeObject());
  return object;
}

Json ToJson(const Healthcheck& check) {
  Json json = Json::MakeObject();
  if (!check.test.empty()) json.Set("Test", check.test);
  if (check.interval_nanos != 0) json.Set("Interval", check.interval_nanos);
  if (check.timeout_nanos != 0) json.Set("Timeout", check.timeout_nanos);
  if (check.start_period_nanos != 0) json.Set("StartPeriod", check.start_period_nanos);
  if (check.start_interval_nanos != 0) json.Set("StartInterval", check.start_interval_nanos);
  if (check.retries != 0) json.Set("Retries", check.retries);
  return json;
}

Json ToJson(const ContainerDefaults& config) {
  Json json = Json::MakeObject();
  if (!config.user.empty()) json.Set("User", config.user);
  if (!config.exposed_ports.empty()) json.Set("ExposedPorts", KeysToJson(config.exposed_ports));
  if (!config.env.empty()) json.Set("Env", config.env);
  // "ENTRYPOINT []" and none are the same in an image: the specification leaves both out.
  if (config.entrypoint && !config.entrypoint->empty()) json.Set("Entrypoint", *config.entrypoint);
  if (config.cmd && !config.cmd->empty()) json.Set("Cmd", *config.cmd);
  if (config.healthcheck) json.Set("Healthcheck", ToJson(*config.healthcheck));
  if (config.args_escaped) json.Set("ArgsEscaped", true);
  if (!config.volumes.empty()) json.Set("Volumes", KeysToJson(config.volumes));
  if (!config.working_dir.empty()) json.Set("WorkingDir", config.working_dir);
  if (!config.on_build.empty()) json.Set("OnBuild", config.on_build);
  if (!config.labels.empty()) json.Set("Labels", config.labels);
  if (!config.stop_signal.empty()) json.Set("StopSignal", config.stop_signal);
  if (config.stop_timeout_seconds) json.Set("StopTimeout", *config.stop_timeout_seconds);
  if (config.shell) json.Set("Shell", *config.shell);
  return json;
}

Json ToJson(const HistoryEntry& entry) {
  Json json = Json::MakeObject();
  if (!entry.created.empty()) json.Set("created", entry.created);
  if (!entry.created_by.empty()) json.Set("created_by", entry.created_by);
  if (!entry.author.empty()) json.Set("author", entry.author);
  if (!entry.comment.empty()) json.Set("comment", entry.comment);
  if (entry.empty_layer) json.Set("empty_layer", true);
  return json;
}

template <typename T>
Json ListToJson(const std::vector<T>& items) {
  Json list = Json::MakeArray();
  for (const T& item : items) list.Append(ToJson(item));
  return list;
}

}  // namespace

Json ToJson(const Platform& platform) {
  Json json = Json::MakeObject();
  json.Set("architecture", platform.architecture);
  json.Set("os", platform.os);
  if (!platform.os_version.empty()) json.Set("os.version", platform.os_version);
  if (!platform.os_features.empty()) json.Set("os.features", platform.os_features);
  if (!platform.variant.empty()) json.Set("variant", platform.variant);
  return json;
}

bool IsManifest(std::string_view media_type) {
  return media_type == kOciManifest || media_type == kDockerManifest;
}
bool IsIndex(std::string_view media_type) {
  return media_type == kOciIndex || media_type == kDockerManifestList;
}
bool IsConfig(std::string_view media_type) {
  return media_type == kOciConfig || media_type == kDockerConfig;
}
bool IsLayer(std::string_view media_type) {
  return media_type.rfind("application/vnd.oci.image.layer.", 0) == 0 ||
         media_type.rfind(kDockerLayer, 0) == 0 ||
         media_type.rfind("application/vnd.docker.image.rootfs.foreign.diff.tar", 0) == 0;
}

Result<Descriptor> ParseDescriptor(const Json& json, std::string path) {
  JsonReader reader(json, std::move(path));
  Descriptor descriptor;
  if (reader.ok()) ReadDescriptor(reader, &descriptor);
  TRY(reader.Finish());
  return descriptor;
}

Json ToJson(const Descriptor& descriptor) {
  Json json = Json::MakeObject();
  json.Set("mediaType", descriptor.media_type);
  json.Set("digest", descriptor.digest.text());
  json.Set("size", descriptor.size);
  if (!descriptor.urls.empty()) json.Set("urls", descriptor.urls);
  if (!descriptor.annotations.empty()) json.Set("annotations", descriptor.annotations);
  if (!descriptor.data.empty()) json.Set("data", descriptor.data);
  if (descriptor.platform) json.Set("platform", ToJson(*descriptor.platform));
  if (!descriptor.artifact_type.empty()) json.Set("artifactType", descriptor.artifact_type);
  return json;
}

Result<Manifest> ParseManifest(std::string_view text, std::string_view media_type) {
  Json json = TRY(ParseDocument(text, "manifest"));
  Manifest manifest;
  TRY(CheckHead(json, "manifest", media_type, kOciManifest, &manifest.media_type));
  if (!IsManifest(manifest.media_type)) {
    return InvalidArgument("reading manifest: '{}' is no manifest", manifest.media_type);
  }
  if (json.Find("manifests") != nullptr) {
    return InvalidArgument("reading manifest: it has members of an index too");
  }
  if (json.Find("config") == nullptr) return InvalidArgument("manifest.config: missing");
  JsonReader reader(json, "manifest");
  reader.Field("artifactType", &manifest.artifact_type);
  reader.Object("config", [&](JsonReader& inner) { ReadDescriptor(inner, &manifest.config); });
  reader.Objects(
      "layers", [&](JsonReader& inner) { ReadDescriptor(inner, &manifest.layers.emplace_back()); });
  reader.Field("annotations", &manifest.annotations);
  reader.Object("subject",
                [&](JsonReader& inner) { ReadDescriptor(inner, &manifest.subject.emplace()); });
  TRY(reader.Finish());
  return manifest;
}

Result<Index> ParseIndex(std::string_view text, std::string_view media_type) {
  Json json = TRY(ParseDocument(text, "index"));
  Index index;
  TRY(CheckHead(json, "index", media_type, kOciIndex, &index.media_type));
  if (!IsIndex(index.media_type)) {
    return InvalidArgument("reading index: '{}' is no index", index.media_type);
  }
  if (json.Find("layers") != nullptr || json.Find("config") != nullptr) {
    return InvalidArgument("reading index: it has members of a manifest too");
  }
  JsonReader reader(json, "index");
  reader.Objects("manifests", [&](JsonReader& inner) {
    ReadDescriptor(inner, &index.manifests.emplace_back());
  });
  reader.Field("annotations", &index.annotations);
  TRY(reader.Finish());
  return index;
}

Result<ImageConfig> ParseImageConfig(std::string_view text) {
  Json json = TRY(ParseDocument(text, "image configuration"));
  JsonReader reader(json, "image configuration");
  ImageConfig config;
  reader.Field("created", &config.created);
  reader.Field("author", &config.author);
  ReadPlatform(reader, &config.platform);
  reader.Object("config", [&](JsonReader& inner) { ReadDefaults(inner, &config.config); });
  reader.Object("rootfs", [&](JsonReader& inner) {
    std::vector<std::string> diff_ids;
    inner.Field("diff_ids", &diff_ids);
    for (const std::string& text : diff_ids) {
      auto digest = Digest::Parse(text);
      if (!digest.ok()) return inner.Fail("diff_ids", digest.error().message());
      config.diff_ids.push_back(std::move(*digest));
    }
  });
  reader.Objects("history", [&](JsonReader& inner) {
    HistoryEntry& entry = config.history.emplace_back();
    inner.Field("created", &entry.created);
    inner.Field("created_by", &entry.created_by);
    inner.Field("author", &entry.author);
    inner.Field("comment", &entry.comment);
    inner.Field("empty_layer", &entry.empty_layer);
  });
  TRY(reader.Finish());
  return config;
}

Json ToJson(const Manifest& manifest) {
  Json json = Json::MakeObject();
  json.Set("schemaVersion", 2);
  json.Set("mediaType", manifest.media_type);
  if (!manifest.artifact_type.empty()) json.Set("artifactType", manifest.artifact_type);
  json.Set("config", ToJson(manifest.config));
  json.Set("layers", ListToJson(manifest.layers));
  if (manifest.subject) json.Set("subject", ToJson(*manifest.subject));
  if (!manifest.annotations.empty()) json.Set("annotations", manifest.annotations);
  return json;
}

Json ToJson(const Index& index) {
  Json json = Json::MakeObject();
  json.Set("schemaVersion", 2);
  json.Set("mediaType", index.media_type);
  json.Set("manifests", ListToJson(index.manifests));
  if (!index.annotations.empty()) json.Set("annotations", index.annotations);
  return json;
}

Json ToJson(const ImageConfig& config) {
  Json json = Json::MakeObject();
  if (!config.created.empty()) json.Set("created", config.created);
  if (!config.author.empty()) json.Set("author", config.author);
  Json platform = ToJson(config.platform);
  for (const auto& [key, value] : platform.members()) json.Set(key, value);
  json.Set("config", ToJson(config.config));
  Json diff_ids = Json::MakeArray();
  for (const Digest& digest : config.diff_ids) diff_ids.Append(digest.text());
  json.Set("rootfs", Json::MakeObject({{"type", "layers"}, {"diff_ids", std::move(diff_ids)}}));
  if (!config.history.empty()) json.Set("history", ListToJson(config.history));
  return json;
}

bool IsAttestation(const Descriptor& descriptor) {
  if (descriptor.annotations.count("vnd.docker.reference.type") != 0) return true;
  return descriptor.platform && descriptor.platform->os == "unknown" &&
         descriptor.platform->architecture == "unknown";
}

std::vector<Descriptor> RankPlatforms(const Index& index, const Platform& wanted) {
  std::vector<Descriptor> out = index.manifests;
  std::erase_if(out, IsAttestation);
  // Without a platform it may be anything: better than another's.
  auto score = [&](const Descriptor& descriptor) {
    return descriptor.platform ? MatchPlatform(wanted, *descriptor.platform) : 1;
  };
  std::stable_sort(out.begin(), out.end(),
                   [&](const Descriptor& a, const Descriptor& b) { return score(a) > score(b); });
  return out;
}

Result<Descriptor> SelectPlatform(const Index& index, const Platform& wanted) {
  const Descriptor* best = nullptr;
  int best_score = 0;
  std::string offered;
  for (const Descriptor& descriptor : index.manifests) {
    if (IsAttestation(descriptor)) continue;
    // Without a platform it may be anything: better than nothing.
    int score = descriptor.platform ? MatchPlatform(wanted, *descriptor.platform) : 1;
    if (score > best_score) {
      best = &descriptor;
      best_score = score;
    }
    if (descriptor.platform && offered.size() < 200) {
      offered += (offered.empty() ? "" : ", ") + descriptor.platform->ToString();
    }
  }
  if (best != nullptr) return *best;
  return NotFound("no manifest for platform {} in the index; it has {}", wanted.ToString(),
                  offered.empty() ? "none" : offered);
}

}  // namespace gantry::oci
