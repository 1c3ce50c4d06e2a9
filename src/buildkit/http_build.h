// SPDX-License-Identifier: Apache-2.0
//
// BuildKit's build over one plain request, as docker's command line before 23 and SDKs have it
// (POST /build with version=2, docs/build.md): what is built comes with the request or from the
// client's session, progress is told as it is made. Any thread; the call blocks.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "build/request.h"
#include "buildkit/shared.h"

namespace gantry::buildkit {

struct HttpBuild {
  struct Output {
    std::string type;  // of the exporter
    std::map<std::string, std::string> attributes;
  };
  std::string ref;              // unique; "": one is made up
  build::BuildRequest request;  // its names are the image's where no output is asked for
  std::string session;          // ""; none
  std::set<std::string> entitlements;
  std::vector<Output> outputs;
  ByteSource* body = nullptr;  // a tar of the context; nullptr: the session has it
  bool uploaded = false;       // the body of another request is (uploads.h), under this reference
};

// The image's id; "" when the outputs make none. `tell` gets each update, a serialized
// moby.buildkit.v1.StatusResponse, in order, from threads of the build.
Result<std::string> RunHttpBuild(Shared& shared, HttpBuild build,
                                 const std::function<void(const std::string& update)>& tell,
                                 const StopToken& stop);

}  // namespace gantry::buildkit
