// SPDX-License-Identifier: Apache-2.0
//
// Images without a name, "<none>" to users: what a pull, load, commit or import leaves of an image
// whose name it takes, and what an archive without names brings. In the store such an image is
// called "moby-dangling@sha256:…", as docker's own records are. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/undo.h"
#include "client/containerd.h"

namespace gantry::engine {

// What records of images without a name begin with; the digest of their target follows.
inline constexpr std::string_view kDanglingRepository = "moby-dangling";
inline constexpr std::string_view kDanglingName = "moby-dangling@";

// Also of one that came back with an archive, whose names are made whole.
inline bool IsDangling(std::string_view store_name) {
  std::string_view whole = "docker.io/library/";
  if (store_name.starts_with(whole)) store_name.remove_prefix(whole.size());
  return store_name.starts_with(kDanglingName);
}

// Made before names are given to other images, kept afterwards.
class ReplacedImages {
 public:
  // What has the name now; "": every image, for names that nobody knows yet.
  static Result<ReplacedImages> Note(client::Containerd& containerd, const std::string& store_name);
  // Each image that lost its last name since then becomes a nameless one. Between the change and
  // this nobody owns its content; the collector is not started by a change of a name
  // (docs/garbage-collection.md).
  Result<> Keep();

 private:
  ReplacedImages(client::Containerd& containerd, std::vector<client::Image> images)
      : containerd_(&containerd), before_(std::move(images)) {}
  client::Containerd* containerd_;
  std::vector<client::Image> before_;
};

// A nameless record beside the named ones of an image, for as long as the object is there; one that
// a kill leaves behind expires after an hour.
class NamelessRecord {
 public:
  static Result<NamelessRecord> Of(client::Containerd& containerd, client::Image image);
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  Undo remove_;
};

}  // namespace gantry::engine
