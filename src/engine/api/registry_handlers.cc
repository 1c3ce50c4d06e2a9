// SPDX-License-Identifier: Apache-2.0
#include "engine/api/registry_handlers.h"

#include <algorithm>
#include <utility>

#include "engine/api/filters.h"
#include "engine/api/image_json.h"
#include "engine/api/platform_parameter.h"
#include "engine/api/progress_stream.h"
#include "engine/api/registry_auth.h"
#include "engine/images.h"
#include "formats/reference.h"
#include "oci/image_spec.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr int64_t kSearchLimit = 25;
constexpr int64_t kMaxSearchLimit = 100;

// "true" or "false" of a filter that may be given once; nothing without it.
Result<std::optional<bool>> BoolFilter(const Filters& filters, std::string_view key) {
  const std::vector<std::string>& values = filters.Values(key);
  if (values.empty()) return std::optional<bool>();
  if (values.size() == 1 && (values[0] == "true" || values[0] == "1")) return std::optional(true);
  if (values.size() == 1 && (values[0] == "false" || values[0] == "0")) return std::optional(false);
  return InvalidArgument("invalid filter '{}={}'", key, Json(values).Dump());
}

// One image of a push; what it became over there.
constexpr int kPushPlatformMinor = 46;

Result<> PushOne(Call& call, ProgressStream* stream, const PushImageRequest& request) {
  PushedImage pushed =
      TRY(engine::PushImage(call.engine(), request, stream->PushCallback(), StopToken()));
  TRY(stream->Send(Json::MakeObject({{"status", fmt::format("{}: digest: {} size: {}", pushed.tag,
                                                            pushed.digest, pushed.size)}})));
  return stream->Send(Json::MakeObject(
      {{"progressDetail", Json::MakeObject()},
       {"aux", Json::MakeObject(
                   {{"Tag", pushed.tag}, {"Digest", pushed.digest}, {"Size", pushed.size}})}}));
}

}  // namespace

Result<> CheckAuth(Call& call) {
  RegistryLogin login = ReadLogin(TRY(ReadJsonBody(call)));
  std::string token = TRY(CheckLogin(*call.engine().settings(), login));
  return RespondJson(call, 200,
                     Json::MakeObject({{"IdentityToken", token}, {"Status", "Login Succeeded"}}));
}

Result<> GetDistribution(Call& call) {
  DistributionAnswer answer = TRY(InspectDistribution(
      *call.engine().settings(), call.arg(), LoginOfHeader(call).value_or(RegistryLogin())));
  Json platforms = Json::MakeArray();
  for (const oci::Platform& platform : answer.platforms) platforms.Append(oci::ToJson(platform));
  Json descriptor = Json::MakeObject({{"mediaType", answer.descriptor.media_type},
                                      {"digest", answer.descriptor.digest.text()},
                                      {"size", answer.descriptor.size}});
  return RespondJson(call, 200,
                     Json::MakeObject({{"Descriptor", descriptor}, {"Platforms", platforms}}));
}

Result<> SearchImages(Call& call) {
  int64_t limit = TRY(IntParameter(call, "limit", kSearchLimit));
  if (limit == 0) limit = kSearchLimit;
  if (limit < 1 || limit > kMaxSearchLimit) {
    return InvalidArgument("Limit {} is outside the range of [1, {}]", limit, kMaxSearchLimit);
  }
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"is-automated", "is-official", "stars"}));
  std::optional<bool> automated = TRY(BoolFilter(filters, "is-automated"));
  std::optional<bool> official = TRY(BoolFilter(filters, "is-official"));
  int64_t stars = 0;
  for (const std::string& text : filters.Values("stars")) {
    char* end = nullptr;
    int64_t number = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0') return InvalidArgument("invalid filter 'stars=[{}]'", text);
    stars = std::max(stars, number);
  }
  std::vector<SearchResult> found =
      TRY(SearchIndex(*call.engine().settings(), std::string(call.query().Get("term")), limit,
                      LoginOfHeader(call).value_or(RegistryLogin())));
  Json out = Json::MakeArray();
  for (const SearchResult& result : found) {
    // Nothing is built automatically any more: indexes say false for all.
    bool wanted = !(automated && *automated) && (!official || *official == result.official) &&
                  result.stars >= stars;
    if (!wanted) continue;
    out.Append(Json::MakeObject({{"star_count", result.stars},
                                 {"is_official", result.official},
                                 {"name", result.name},
                                 {"is_automated", false},
                                 {"description", result.description}}));
  }
  return RespondJson(call, 200, std::move(out));
}

Result<> PushImage(Call& call) {
  formats::Reference name = TRY(formats::ParseReference(call.arg()));
  std::string tag(call.query().Get("tag"));
  if (!tag.empty() && !formats::IsValidTag(tag)) return InvalidArgument("invalid tag format");
  if (tag.empty()) tag = name.tag;
  name.tag = tag;
  std::vector<formats::Reference> all = {name};
  // Without a tag: all there are.
  if (tag.empty() && name.digest.empty()) all = TRY(TagsOfRepository(call.engine(), name));
  auto platform = TRY(PlatformParameter(call, kPushPlatformMinor));
  if (platform) {
    for (const formats::Reference& one : all) {
      TRY(call.engine().images().Resolve(one.Familiar(), &*platform));
    }
  }
  ProgressStream stream(call, ProgressStream::Detail::kBars);
  TRY(stream.Send(Json::MakeObject(
      {{"status", fmt::format("The push refers to repository [{}]", name.Repository())}})));
  if (all.empty()) {
    return stream.Fail(
        NotFound("An image does not exist locally with the tag: {}", name.FamiliarRepository()));
  }
  for (const formats::Reference& one : all) {
    Result<> pushed = PushOne(call, &stream, {one, platform, CredentialsOfHeader(call)});
    if (!pushed.ok()) return stream.Fail(std::move(pushed).error());
  }
  return stream.Finish();
}

}  // namespace gantry::engine::api
