// SPDX-License-Identifier: Apache-2.0
#include "engine/dangling.h"

#include <map>
#include <set>
#include <utility>

namespace gantry::engine {

Result<ReplacedImages> ReplacedImages::Note(client::Containerd& containerd) {
  return ReplacedImages(containerd, TRY(containerd.ListImages()));
}

Result<> ReplacedImages::Keep() {
  std::map<std::string, std::string> targets;
  std::set<std::string> named;
  for (const client::Image& image : TRY(containerd_->ListImages())) {
    targets[image.name] = image.target.digest;
    named.insert(image.target.digest);
  }
  for (client::Image& image : before_) {
    auto now = targets.find(image.name);
    // One whose name is gone was removed, not replaced.
    if (now == targets.end() || named.contains(image.target.digest)) continue;
    image.name = std::string(kDanglingName) + image.target.digest;
    TRY_WITH(containerd_->PutImage(image), "keeping the image that '{}' was", now->first);
    named.insert(image.target.digest);
  }
  return {};
}

}  // namespace gantry::engine
