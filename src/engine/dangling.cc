// SPDX-License-Identifier: Apache-2.0
#include "engine/dangling.h"

#include <map>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace gantry::engine {
namespace {

constexpr std::chrono::hours kLife(1);

}  // namespace

Result<ReplacedImages> ReplacedImages::Note(client::Containerd& containerd,
                                            const std::string& store_name) {
  if (store_name.empty()) return ReplacedImages(containerd, TRY(containerd.ListImages()));
  Result<client::Image> image = containerd.GetImage(store_name);
  if (image.ok()) return ReplacedImages(containerd, {*std::move(image)});
  if (image.error().kind() == ErrorKind::kNotFound) return ReplacedImages(containerd, {});
  return std::move(image).error();
}

Result<> ReplacedImages::Keep() {
  if (before_.empty()) return {};
  if (before_.size() == 1) {
    // Mostly it is what it was, or nothing: then nobody else has to be looked at.
    Result<client::Image> now = containerd_->GetImage(before_.front().name);
    if (!now.ok() && now.error().kind() == ErrorKind::kNotFound) return {};
    if (now.ok() && now->target.digest == before_.front().target.digest) return {};
  }
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

Result<NamelessRecord> NamelessRecord::Of(client::Containerd& containerd, client::Image image) {
  NamelessRecord out;
  out.name_ = std::string(kDanglingName) + image.target.digest;
  Result<client::Image> there = containerd.GetImage(out.name_);
  if (there.ok()) return out;
  if (there.error().kind() != ErrorKind::kNotFound) return std::move(there).error();
  image.name = out.name_;
  image.labels = {{"containerd.io/gc.expire", FormatRfc3339Nano(WallClock::now() + kLife)}};
  TRY(containerd.PutImage(image));
  out.remove_.Push([&containerd, name = out.name_] {
    Result<> removed = containerd.DeleteImage(name, /*collect=*/false);
    if (!removed.ok()) log::Warning("forgetting '{}': {}", name, removed.error().message());
  });
  return out;
}

}  // namespace gantry::engine
