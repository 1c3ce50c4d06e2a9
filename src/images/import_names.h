// SPDX-License-Identifier: Apache-2.0
//
// Under which names an archive's images are recorded: containerd's rules of a transfer into the
// image store (its ImageReference messages). Pure functions.
#pragma once

#include <string>
#include <vector>

#include "formats/digest.h"

namespace gantry::images {

struct NameRule {
  // A whole reference, or with `is_prefix` a repository, or the beginning of one.
  std::string name;
  bool is_prefix = false;
  // A name in the archive counts though it does not begin with the prefix.
  bool allow_overwrite = false;
  bool add_digest = false;         // also PREFIX@sha256:…
  bool skip_named_digest = false;  // … but only for what got no name
};

// What the archive says of a manifest.
struct NamesInArchive {
  std::string full;  // io.containerd.image.name, or a tag of docker's manifest.json
  std::string ref;   // org.opencontainers.image.ref.name: a whole name, or a tag alone
};

// Of a manifest that the archive's index lists; empty when no rule fits.
std::vector<std::string> ManifestNames(const std::vector<NameRule>& rules,
                                       const NamesInArchive& archive,
                                       const formats::Digest& digest);

// Of the index itself: `name` unless it is empty, and what the rules name without the archive.
std::vector<std::string> IndexNames(const std::string& name, const std::vector<NameRule>& rules,
                                    const formats::Digest& digest);

}  // namespace gantry::images
