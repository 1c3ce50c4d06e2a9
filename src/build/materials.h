// SPDX-License-Identifier: Apache-2.0
//
// What a build was made of, for its provenance (SLSA, "resolvedDependencies"): images, git
// repositories and files of the web by their URIs and digests. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/mutex.h"
#include "build/git_source.h"
#include "build/git_url.h"
#include "engine/image_index.h"
#include "oci/platform.h"

namespace gantry::build {

struct Material {
  std::string uri;
  std::string algorithm;  // "sha256"; "" where no digest is known
  std::string digest;     // hexadecimal
  bool operator==(const Material&) const = default;
};

// The package URL of an image ("pkg:docker/alpine@3?platform=linux%2Famd64"), whatever its name is;
// the name itself where it is none.
std::string ImagePackageUrl(const std::string& name, const oci::Platform& platform);

// A tree of a repository, by its commit.
Material MaterialOf(const GitUrl& url, const GitTree& tree);

class Materials {
 public:
  void Add(Material material);
  void AddImage(const std::string& name, const engine::NamedImage& image);
  // Each once, in the order of their URIs.
  std::vector<Material> List() const;

 private:
  mutable Mutex mutex_;
  std::vector<Material> all_ GUARDED_BY(mutex_);
};

}  // namespace gantry::build
