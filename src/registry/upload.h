// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a blob on their way up (distribution-spec 1.1, "Pushing blobs"): one PUT of the
// whole. Where a connection broke the registry is asked how much it has (end-13) and gets the rest;
// where it, or a proxy before it, takes no body of that size (413) it gets chunks. For client.cc.
// One thread.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "formats/digest.h"
#include "registry/http_transfer.h"

namespace gantry::registry {

struct UploadTarget {
  // One host, with authorisation. An answer of any status is no error.
  std::function<Result<HttpAnswer>(HttpRequest request)> ask;
  std::function<std::string()> base;  // of the host, as it is known by now
  std::string start;                  // below it: where an upload begins
};

// `session` is the 202 that began the upload. The answer to the last PUT, which is 2xx.
// kUnavailable: it is worth beginning anew.
Result<HttpAnswer> Upload(const UploadTarget& target, const HttpAnswer& session,
                          const formats::Digest& digest, const HttpUpload& body,
                          const StopToken& stop);

}  // namespace gantry::registry
