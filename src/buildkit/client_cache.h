// SPDX-License-Identifier: Apache-2.0
//
// A build's cache in a content store of the client's, over its session (type=local of --cache-to
// and --cache-from). One thread.
#pragma once

#include <memory>
#include <string>

#include "base/stop_token.h"
#include "build/cache_place.h"
#include "buildkit/session.h"

namespace gantry::buildkit {

// `directory`: as the client names the store. `manifest`: what is read, its digest; "" for a place
// that is only written to.
std::unique_ptr<build::CachePlace> OpenClientCache(std::shared_ptr<Session> session,
                                                   const std::string& directory,
                                                   const std::string& manifest,
                                                   const StopToken& stop);

}  // namespace gantry::buildkit
