// SPDX-License-Identifier: Apache-2.0
#include "engine/api/image_list.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/api/image_json.h"
#include "engine/image_usage.h"
#include "formats/human_units.h"
#include "formats/reference.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr int kManifestsMinor = 47;
constexpr int kIdentityMinor = 54;

std::string Listed(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "" : " ") + value;
  return out;
}

// One of the patterns, as Go's path.Match has them, fits the name as users see it or the whole one,
// with tag or digest or without.
bool MatchesPatterns(const std::vector<std::string>& patterns, const std::string& name) {
  std::vector<std::string> forms = {name};
  Result<formats::Reference> reference = formats::ParseReference(name);
  if (reference.ok()) {
    forms.push_back(reference->FamiliarRepository());
    forms.push_back(reference->ToString());
    forms.push_back(reference->Repository());
  }
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return std::any_of(forms.begin(), forms.end(), [&](const std::string& form) {
      return ::fnmatch(pattern.c_str(), form.c_str(), FNM_PATHNAME) == 0;
    });
  });
}

// Leaves the names that a filter by reference asks for; false: none.
bool KeepMatching(const std::vector<std::string>& patterns, ImageUsage* image) {
  if (patterns.empty()) return true;
  auto other = [&](const std::string& name) { return !MatchesPatterns(patterns, name); };
  std::erase_if(image->tags, other);
  std::erase_if(image->digests, other);
  return !image->tags.empty() || !image->digests.empty();
}

// What all of the filters say of an image.
struct Choice {
  const Filters& filters;
  std::optional<bool> dangling;
  WallTime before = WallTime::max();
  WallTime since = WallTime::min();
  std::optional<WallTime> until;

  bool Takes(const ImageUsage& image) const {
    WallTime created = image.created();
    if (created >= before || created <= since || (until && created >= *until)) return false;
    if (dangling && *dangling != image.dangling()) return false;
    const auto& labels = image.documents->config.config.labels;
    if (!filters.MatchLabels("label", labels)) return false;
    return !filters.Has("label!") || !filters.MatchLabels("label!", labels);
  }
};

Result<WallTime> CreationOf(Call& call, const std::string& reference) {
  NamedImage image = TRY(call.engine().images().Resolve(reference));
  return ParseRfc3339(image.documents->config.created);
}

}  // namespace

Result<std::optional<bool>> DanglingFilter(const Filters& filters) {
  const std::vector<std::string>& values = filters.Values("dangling");
  if (values.empty()) return std::optional<bool>();
  std::string_view value = values.front();
  if (values.size() == 1 && (value == "true" || value == "1")) return std::optional(true);
  if (values.size() == 1 && (value == "false" || value == "0")) return std::optional(false);
  return InvalidArgument("Invalid filter 'dangling=[{}]'", Listed(values));
}

Result<std::optional<WallTime>> UntilFilter(const Filters& filters) {
  const std::vector<std::string>& values = filters.Values("until");
  if (values.empty()) return std::optional<WallTime>();
  if (values.size() > 1) return InvalidArgument("more than one until filter specified");
  return std::optional(TRY(ParseUntil(values.front())));
}

Result<WallTime> ParseUntil(const std::string& text) {
  Result<std::chrono::nanoseconds> ago = formats::ParseGoDuration(text);
  if (ago.ok()) return WallTime(WallClock::now() - *ago);
  Result<WallTime> moment = ParseRfc3339(text);
  if (moment.ok()) return moment;
  // "2026-11-29", "2026-11-29T10:00:00": of the engine's time zone in docker, UTC here.
  for (const char* rest : {"T00:00:00Z", "Z", ":00Z"}) {
    moment = ParseRfc3339(text + rest);
    if (moment.ok()) return moment;
  }
  moment = ParseTime(text);
  if (moment.ok()) return moment;
  return InvalidArgument("failed to parse value as time or duration: \"{}\"", text);
}

Result<> ListImages(Call& call) {
  Filters filters = TRY(Filters::Parse(call.query().Get("filters")));
  TRY(filters.CheckKeys({"before", "dangling", "label", "label!", "reference", "since", "until"}));
  Choice choice{filters, TRY(DanglingFilter(filters)), WallTime::max(), WallTime::min(), {}};
  for (const std::string& text : filters.Values("until")) {
    WallTime until = TRY(ParseUntil(text));
    choice.until = std::min(choice.until.value_or(until), until);
  }
  for (const std::string& other : filters.Values("before")) {
    choice.before = std::min(choice.before, TRY(CreationOf(call, other)));
  }
  for (const std::string& other : filters.Values("since")) {
    choice.since = std::max(choice.since, TRY(CreationOf(call, other)));
  }
  ImageUsages usages = TRY(ListImageUsage(call.engine()));
  std::vector<std::string> patterns = filters.Values("reference");
  // Before API 1.25 the pattern was a parameter of its own.
  std::string_view filter = call.query().Get("filter");
  if (call.minor < 25 && patterns.empty() && !filter.empty()) patterns.emplace_back(filter);
  std::vector<const ImageUsage*> found;
  for (ImageUsage& image : usages.images) {
    if (choice.Takes(image) && KeepMatching(patterns, &image)) found.push_back(&image);
  }
  std::stable_sort(found.begin(), found.end(), [](const ImageUsage* a, const ImageUsage* b) {
    return a->created() > b->created();
  });
  bool shared = call.query().GetBool("shared-size");
  bool manifests = call.minor >= kManifestsMinor && call.query().GetBool("manifests");
  if (call.query().GetBool("identity") && !manifests && call.minor >= kIdentityMinor) {
    return InvalidArgument("conflicting options: identity requires manifests=1");
  }
  Json out = Json::MakeArray();
  for (const ImageUsage* image : found) {
    Json entry = ImageSummary(*image, shared ? image->shared : -1);
    if (manifests) entry.Set("Manifests", TRY(ManifestsJson(call.engine(), image->target)));
    out.Append(std::move(entry));
  }
  return RespondJson(call, 200, std::move(out));
}

}  // namespace gantry::engine::api
