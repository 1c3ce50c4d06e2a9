// SPDX-License-Identifier: Apache-2.0
#include "buildkit/image_lookup.h"

#include "build/base_image.h"
#include "buildkit/definitions.h"
#include "buildkit/progress.h"

namespace gantry::buildkit {

Result<engine::NamedImage> FindJobImage(Shared& shared, Job& job, const JobImage& wanted,
                                        const StopToken& stop) {
  build::BuildRequest request;
  if (!job.wanted().session.empty()) {
    AskSession(TRY(shared.sessions.Find(job.wanted().session, kBeginBound)), stop, &request);
  }
  build::ImageWanted image;
  image.name = wanted.name;
  const pb::Platform& platform = wanted.platform;
  if (!platform.os().empty()) {
    image.platform = platform.os() + "/" + platform.architecture();
    if (!platform.variant().empty()) image.platform += "/" + platform.variant();
  }
  image.pulls = wanted.pulls;
  image.hold = wanted.hold;
  if (!image.hold) image.hold = [](const engine::NamedImage&) -> Result<bool> { return true; };
  return InStep(
      job.progress(), "resolve image config for docker-image://" + wanted.name,
      [&](size_t) { return build::FindOrPullImage(shared.engine, request, image, stop); });
}

}  // namespace gantry::buildkit
