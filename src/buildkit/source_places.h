// SPDX-License-Identifier: Apache-2.0
//
// Where in its sources a build has failed, as details of gRPC's status: clients show the lines. The
// form is BuildKit's errdefs.Source, as JSON. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "buildkit/rpc.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::buildkit {

void AddPlace(const pb::SourceInfo& source, const std::vector<pb::Range>& ranges,
              ErrorDetails* details);

// Those that a client has told of an operation, by its digest.
void AddPlacesOf(const pb::Definition& definition, const std::string& operation,
                 ErrorDetails* details);

// Lines from 1, each a range of its own.
std::vector<pb::Range> RangesOfLines(int first, int last);

}  // namespace gantry::buildkit
