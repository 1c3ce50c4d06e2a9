// SPDX-License-Identifier: Apache-2.0
//
// gantry build: an image of a Dockerfile, over BuildKit's API or the classic one.
#include "cmd/gantry/build_flags.h"
#include "cmd/gantry/command_list.h"

namespace gantry::cli {

Result<int> BuildCommand(Cli& cli, Invocation& call) {
  BuildFlags flags;
  BindBuildFlags(&call.flags, &flags);
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  BuildContext context = TRY(OpenBuildContext(call.args()[0], flags.file));
  BuildChoice choice = TRY(ChooseBuildWay(call.flags, context));
  if (choice.way == BuildWay::kClassic) return BuildClassic(cli, flags, context);
  Result<int> built = BuildByBuildKit(cli, flags, context);
  bool without = !built.ok() && built.error().kind() == ErrorKind::kUnimplemented;
  if (!without || !choice.may_change) return built;
  return BuildClassic(cli, flags, context);
}

}  // namespace gantry::cli
