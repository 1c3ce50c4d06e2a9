// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a build's result: an image of the store ("moby", "image"), maybe pushed, or what
// the client takes over its session: files ("local", "tar") or an archive of the image ("oci",
// "docker"). Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "buildkit/job.h"
#include "buildkit/provenance.h"
#include "buildkit/shared.h"
#include "oci/platform.h"

namespace gantry::buildkit {

// One that the client wants for the image ("annotation-manifest[linux/amd64].NAME").
struct AnnotationWish {
  // kDescriptor: where an index names the manifest.
  enum class Place : uint8_t { kManifest, kDescriptor, kIndex, kIndexDescriptor };
  Place place = Place::kManifest;
  std::optional<oci::Platform> platform;  // of images for this one alone
  std::string name, value;
};

struct Export {
  enum class Kind : uint8_t { kImage, kLocal, kTar, kOci, kDocker };
  Kind kind = Kind::kImage;
  int number = 0;                  // among the client's exporters
  std::vector<std::string> names;  // as the store has them
  bool pushes = false;
  bool by_digest = false;  // it is named and pushed by its digest alone
  bool canonical = false;  // its digest is a name, too
  bool has_tag = false;    // one of the names, as the client gave it
  std::vector<AnnotationWish> annotations;
  std::optional<ProvenanceWish> provenance;
  bool platform_split = true;  // files of several platforms in a directory each
};

// kUnimplemented for an exporter, or a wish of one, that there is not.
Result<std::vector<Export>> ReadExports(const Wanted& wanted);

// `told`: what the client hears of it.
Result<> RunExport(Shared& shared, Job& job, const MadeResult& made, const Export& wanted,
                   google::protobuf::Map<std::string, std::string>* told, const StopToken& stop);

}  // namespace gantry::buildkit
