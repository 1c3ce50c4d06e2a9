// SPDX-License-Identifier: Apache-2.0
#include "engine/api/platform_parameter.h"

#include <string>

namespace gantry::engine::api {
namespace {

// docker's errors.
Result<oci::Platform> DecodePlatform(const std::string& text) {
  using formats::JsonReader;
  oci::Platform out;
  formats::Json json = TRY_WITH(formats::Json::Parse(text), "failed to parse platform");
  JsonReader reader(json, "platform", JsonReader::Keys::kAnyCase);
  reader.Field("os", &out.os);
  reader.Field("architecture", &out.architecture);
  reader.Field("variant", &out.variant);
  reader.Field("os.version", &out.os_version);
  reader.Field("os.features", &out.os_features);
  TRY_WITH(reader.Finish(), "failed to parse platform");
  bool optional = !out.variant.empty() || !out.os_version.empty() || !out.os_features.empty();
  if (out.os.empty() && out.architecture.empty() && optional) {
    return InvalidArgument(
        "optional platform fields provided, but OS and Architecture are missing");
  }
  if (out.os.empty() || out.architecture.empty()) {
    return InvalidArgument("both OS and Architecture must be provided");
  }
  return oci::Normalize(std::move(out));
}

}  // namespace

Result<std::optional<oci::Platform>> PlatformParameter(const Call& call, int since) {
  std::string text(call.query().Get("platform"));
  if (call.minor < since || text.empty()) return std::optional<oci::Platform>();
  return std::optional(TRY(DecodePlatform(text)));
}

Result<std::vector<oci::Platform>> PlatformParameters(const Call& call, std::string_view name,
                                                      int since) {
  std::vector<oci::Platform> out;
  if (call.minor < since) return out;
  for (const std::string& text : call.query().GetAll(name)) {
    out.push_back(TRY(DecodePlatform(text)));
  }
  return out;
}

}  // namespace gantry::engine::api
