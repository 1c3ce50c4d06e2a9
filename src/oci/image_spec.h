// SPDX-License-Identifier: Apache-2.0
//
// Images as documents: descriptors, manifests, indexes and image configurations (OCI image-spec
// 1.1, and docker's schema 2 forms of the same). Parse* validates; ToJson writes. Members that
// gantry does not know are lost, so a document is kept and passed on as the bytes that came.
// Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/digest.h"
#include "formats/json.h"
#include "oci/platform.h"

namespace gantry::oci {

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerManifestList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip =
    "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerLayerZstd =
    "application/vnd.docker.image.rootfs.diff.tar.zstd";

bool IsManifest(std::string_view media_type);
bool IsIndex(std::string_view media_type);
bool IsConfig(std::string_view media_type);
// Any tar layer, foreign ones too.
bool IsLayer(std::string_view media_type);

struct Descriptor {
  std::string media_type;
  formats::Digest digest;
  int64_t size = 0;
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  std::optional<Platform> platform;
  std::string artifact_type;
  std::string data;  // base64, as it came

  bool operator==(const Descriptor&) const = default;
};

struct Manifest {
  std::string media_type;  // never empty after ParseManifest
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::map<std::string, std::string> annotations;
  std::optional<Descriptor> subject;
};

struct Index {
  std::string media_type;
  std::vector<Descriptor> manifests;
  std::map<std::string, std::string> annotations;
};

// Docker's HEALTHCHECK; durations in nanoseconds, 0 = inherit.
struct Healthcheck {
  std::vector<std::string> test;
  int64_t interval_nanos = 0;
  int64_t timeout_nanos = 0;
  int64_t start_period_nanos = 0;
  int64_t start_interval_nanos = 0;
  int64_t retries = 0;
  bool operator==(const Healthcheck&) const = default;
};

// The defaults of containers made from the image ("config" of the image configuration).
struct ContainerDefaults {
  std::string user;
  std::vector<std::string> exposed_ports;  // "80/tcp", sorted
  std::vector<std::string> env;
  std::optional<std::vector<std::string>> entrypoint;
  std::optional<std::vector<std::string>> cmd;
  std::vector<std::string> volumes;  // sorted
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::optional<int64_t> stop_timeout_seconds;
  std::optional<Healthcheck> healthcheck;
  std::vector<std::string> on_build;
  std::optional<std::vector<std::string>> shell;
  bool args_escaped = false;
};

struct HistoryEntry {
  std::string created;  // RFC 3339, as it came
  std::string created_by;
  std::string author;
  std::string comment;
  bool empty_layer = false;
};

struct ImageConfig {
  std::string created;
  std::string author;
  Platform platform;
  ContainerDefaults config;
  std::vector<formats::Digest> diff_ids;
  std::vector<HistoryEntry> history;
};

// At most this many bytes of a manifest, index or configuration are read (registries refuse more
// than 4 MiB as well).
inline constexpr size_t kMaxDocumentBytes = size_t{8} << 20;

formats::Json ToJson(const Platform& platform);
Result<Descriptor> ParseDescriptor(const formats::Json& json, std::string path);
formats::Json ToJson(const Descriptor& descriptor);

// `media_type`: what the descriptor or the registry said, or "". A document whose own mediaType
// says otherwise, or that has both "layers" and "manifests", is refused (CVE-2021-41190).
Result<Manifest> ParseManifest(std::string_view text, std::string_view media_type);
Result<Index> ParseIndex(std::string_view text, std::string_view media_type);
Result<ImageConfig> ParseImageConfig(std::string_view text);
formats::Json ToJson(const Manifest& manifest);
formats::Json ToJson(const Index& index);
formats::Json ToJson(const ImageConfig& config);

// The manifest for `wanted` in an index; kNotFound names what is there. Attestations (platform
// unknown/unknown) never match.
Result<Descriptor> SelectPlatform(const Index& index, const Platform& wanted);

// All of an index's manifests but attestations: those for `wanted` first, the best in front.
std::vector<Descriptor> RankPlatforms(const Index& index, const Platform& wanted);
bool IsAttestation(const Descriptor& descriptor);

// The name of the snapshot with layers 0..n of these (image-spec, config.md, "Layer ChainID"), one
// for each layer, base first.
std::vector<formats::Digest> ChainIds(const std::vector<formats::Digest>& diff_ids);

}  // namespace gantry::oci
