// SPDX-License-Identifier: Apache-2.0
#include "build/base_image.h"

#include <optional>
#include <utility>

#include "engine/images.h"
#include "formats/reference.h"
#include "oci/platform.h"

namespace gantry::build {
namespace {

// Of a base that is removed again before it is used.
constexpr int kPullTries = 3;

Result<engine::NamedImage> FindPulled(engine::Engine& engine, const ImageWanted& wanted) {
  if (!wanted.platform.empty()) {
    oci::Platform platform = TRY(oci::ParsePlatform(wanted.platform));
    auto exact = engine.images().Resolve(wanted.name, &platform);
    if (exact.ok()) return exact;
  }
  // A registry that has the image for one platform only gives that.
  return engine.images().Resolve(wanted.name);
}

}  // namespace

Result<engine::NamedImage> FindOrPullImage(engine::Engine& engine, const BuildRequest& request,
                                           const ImageWanted& wanted, const StopToken& stop) {
  if (!wanted.pulls) {
    std::optional<oci::Platform> platform;
    if (!wanted.platform.empty()) platform = TRY(oci::ParsePlatform(wanted.platform));
    Result<engine::NamedImage> here =
        engine.images().Resolve(wanted.name, platform ? &*platform : nullptr);
    // One that comes for many machines, of which only another's is here, is got for this one.
    bool of_others = here.ok() && !platform && oci::IsIndex(here->image.target.media_type) &&
                     oci::MatchPlatform(oci::HostPlatform(), here->documents->config.platform) == 0;
    if (here.ok() && !of_others && TRY(wanted.hold(*here))) {
      TRY(engine::EnsureUnpacked(engine, *here));
      return here;
    }
    if (!here.ok() && here.error().kind() != ErrorKind::kNotFound) return here;
  }
  formats::Reference reference = TRY(formats::ParseReference(wanted.name));
  engine::PullImageRequest pull;
  pull.repository = wanted.name;
  pull.platform = wanted.platform;
  auto login = request.credentials.find(reference.domain);
  if (login != request.credentials.end()) {
    pull.credentials = login->second;
  } else if (request.find_login) {
    pull.credentials = TRY(request.find_login(reference.domain));
  }
  for (int tries = 0; tries < kPullTries; ++tries) {
    TRY(engine::PullImage(engine, pull,
                          wanted.progress ? wanted.progress() : client::ProgressCallback(), stop));
    Result<engine::NamedImage> pulled = FindPulled(engine, wanted);
    if (pulled.ok() && TRY(wanted.hold(*pulled))) return pulled;
  }
  return NotFound("No such image: {}: it is removed as soon as it is pulled", wanted.name);
}

}  // namespace gantry::build
