// SPDX-License-Identifier: Apache-2.0
//
// The provenance of a result (SLSA, versions 1 and 0.2, in BuildKit's form), which clients wish for
// with the option "attest:provenance": in-toto statements about an image. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "build/image_set.h"
#include "buildkit/job.h"
#include "buildkit/made.h"

namespace gantry::buildkit {

// Of the options that Solve has. kUnimplemented for an attestation of another kind.
Result<std::optional<ProvenanceWish>> ReadProvenanceWish(
    const std::map<std::string, std::string>& options);

// About the image with that manifest, for each of its names.
struct ProvenanceSubject {
  std::vector<std::string> names;
  std::string digest;
  oci::Platform platform;
};
build::Statement MakeProvenance(const ProvenanceWish& wish, const MadeFrom& from, const Job& job,
                                const ProvenanceSubject& subject);

}  // namespace gantry::buildkit
