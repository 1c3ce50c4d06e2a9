// SPDX-License-Identifier: Apache-2.0
#include "engine/api/absent_handlers.h"

namespace gantry::engine::api {

using formats::Json;

Result<> NoSwarmManager(Call&) {
  return Unavailable(
      "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
      "connect this node to swarm and try again.");
}

Result<> NoSwarmManagerForBody(Call& call) {
  Json body = TRY(ReadJsonBody(call));
  if (body.is_null()) return InvalidArgument("got EOF while reading request body");
  return NoSwarmManager(call);
}

Result<> LeaveSwarm(Call&) { return Unavailable("This node is not part of a swarm"); }

Result<> NoSwarmMode(Call&) { return Unimplemented("this engine has no swarm mode"); }

Result<> NoClusterVolume(Call&) {
  return Unavailable("volume update only valid for cluster volumes, but swarm is unavailable");
}

Result<> ListPlugins(Call& call) { return RespondJson(call, 200, Json::MakeArray()); }

Result<> NoSuchPlugin(Call& call) { return NotFound("plugin \"{}\" not found", call.arg()); }

Result<> NoPlugins(Call&) { return Unimplemented("this engine has no plugins"); }

Result<> AnswerOptions(Call& call) { return RespondEmpty(call, 200); }

}  // namespace gantry::engine::api
