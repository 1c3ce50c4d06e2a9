// SPDX-License-Identifier: Apache-2.0
//
// Names of images as docker's users write them (distribution's reference grammar):
//
//   reference  := name [ ":" tag ] [ "@" digest ]
//   name       := [ domain "/" ] component { "/" component }
//   domain     := host [ ":" port ]; the first part is a domain when it has a '.', a ':', an upper
//                 case letter, or is "localhost"
//   component  := alphanum { ( "_" | "__" | "." | "-"+ ) alphanum }, lower case
//   tag        := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//
// Plain data.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/digest.h"

namespace gantry::formats {

struct Reference {
  std::string domain;  // "docker.io"
  std::string path;    // "library/busybox"
  std::string tag;     // may be empty
  Digest digest;       // may be empty

  // "docker.io/library/busybox"
  std::string Repository() const { return domain + "/" + path; }
  // "docker.io/library/busybox:latest", with "@sha256:…" when there is a digest.
  std::string ToString() const;
  // As users see it: "busybox:latest", "gantry/busybox", "localhost:5000/a".
  std::string Familiar() const;
  std::string FamiliarRepository() const;
  // The host of the registry's API: registry-1.docker.io for docker.io.
  std::string RegistryHost() const;
  bool operator==(const Reference&) const = default;
};

// Normalises: "busybox" is docker.io/library/busybox; no tag is added (WithDefaultTag does).
// kInvalidArgument, "invalid reference format", as docker says it.
Result<Reference> ParseReference(std::string_view text);
// Adds ":latest" when there is neither tag nor digest.
Reference WithDefaultTag(Reference reference);
bool IsValidTag(std::string_view tag);

}  // namespace gantry::formats
