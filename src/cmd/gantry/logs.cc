// SPDX-License-Identifier: Apache-2.0
//
// gantry logs.
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/relay.h"
#include "cmd/gantry/time_spec.h"

namespace gantry::cli {
namespace {

// Servers before API 1.42 name the same type for both kinds of stream; then the container's
// settings tell.
Result<bool> IsMultiplexed(Api* api, const ApiStream& stream, const std::string& name) {
  std::string_view type = stream.head.headers.Get("Content-Type");
  if (type == "application/vnd.docker.multiplexed-stream") return true;
  Json info = TRY(api->Get(ContainerPath(name, "/json")));
  return !info["Config"]["Tty"].AsBool();
}

}  // namespace

Result<int> LogsCommand(Cli& cli, Invocation& call) {
  bool follow = false, timestamps = false, details = false;
  std::string since, until, tail = "all";
  call.flags.Bool("details", 0, &details, "Show extra attributes");
  call.flags.Bool("follow", 'f', &follow, "Go on as lines are written");
  call.flags.String("since", 0, &since, "Only lines since a time, or an age such as 42m");
  call.flags.String("until", 0, &until, "Only lines before a time, or an age such as 42m");
  call.flags.String("tail", 'n', &tail, "Number of last lines to show (default \"all\")");
  call.flags.Bool("timestamps", 't', &timestamps, "Show the time of each line");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& name = call.args()[0];
  ApiRequest request;
  request.path = ContainerPath(name, "/logs");
  request.query.Add("stdout", "1").Add("stderr", "1");
  if (follow) request.query.Add("follow", "1");
  if (timestamps) request.query.Add("timestamps", "1");
  if (details) request.query.Add("details", "1");
  WallTime now = WallClock::now();
  if (!since.empty()) {
    request.query.Add("since", TRY_WITH(ParseTimeSpec(since, now), "invalid value for \"since\""));
  }
  if (!until.empty()) {
    request.query.Add("until", TRY_WITH(ParseTimeSpec(until, now), "invalid value for \"until\""));
  }
  request.query.Add("tail", tail);
  Api* api = TRY(cli.Connect());
  ApiStream stream = TRY(api->Open(request));
  bool multiplexed = TRY(IsMultiplexed(api, stream, name));
  FlushOutput();
  Demultiplexer demultiplexer{BorrowedFd(STDOUT_FILENO), BorrowedFd(STDERR_FILENO)};
  for (;;) {
    std::string_view piece = TRY(stream.connection.ReadBody());
    if (piece.empty()) return 0;
    if (multiplexed) {
      TRY(demultiplexer.Feed(piece));
    } else {
      TRY(WriteAll(BorrowedFd(STDOUT_FILENO), piece));
    }
  }
}

}  // namespace gantry::cli
