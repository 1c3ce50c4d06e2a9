// SPDX-License-Identifier: Apache-2.0
//
// What of a document an API version has. Handlers make the newest form with everything in it; the
// route table (routes.cc) says which document a route answers with; RespondJson calls Shape, which
// takes away what the client's version does not know and puts back what older ones had. All of it
// is one table, from docker's "Engine API version history". Pure; any thread.
#pragma once

#include "formats/json.h"

namespace gantry::engine::api {

enum class AnswerForm {
  kNone,
  kVersion,
  kInfo,
  kContainer,      // inspect
  kContainerList,  // an array
  kImage,
  kImageList,
  kNetwork,
  kNetworkList,
  kVolume,
  kDiskUsage,
  kEvent,
};

// The version is 1.`minor`.
void Shape(AnswerForm form, int minor, formats::Json* json);

}  // namespace gantry::engine::api
