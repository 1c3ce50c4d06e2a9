// SPDX-License-Identifier: Apache-2.0
//
// What every handler of the Engine API gets: the parts of the engine (ApiParts) and one request
// (Call). A handler answers through the call's exchange, or returns an Error, which becomes
// {"message": …} with the status of its kind (docs/errors.md). Handlers run on workers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/event_loop.h"
#include "build/builds.h"
#include "build/disk_budget.h"
#include "buildkit/server.h"
#include "engine/api/version_shape.h"
#include "engine/engine.h"
#include "engine/event_log.h"
#include "engine/execs.h"
#include "engine/logs.h"
#include "formats/json.h"
#include "wire/http_exchange.h"
#include "wire/worker_pool.h"

namespace gantry::engine::api {

// Versions of docker's API as 1.MINOR.
inline constexpr int kMinMinor = 24;
inline constexpr int kMaxMinor = 55;

class ImageListCache;
class ListRows;
class StatsFeeds;

struct ApiParts {
  Engine& engine;
  EventLog& events;
  Execs& execs;
  LogWatcher& log_watcher;
  build::Builds& builds;
  buildkit::Server& buildkit;
  build::DiskBudget& disk_budget;
  wire::WorkerPool& workers;
  EventLoop& parked;
  std::string engine_id;
  std::string data_root;
  // tcp listeners without TLS, each with docker's warning in GET /info.
  std::vector<std::string> open_hosts;
  std::shared_ptr<ListRows> list_rows;
  std::shared_ptr<ImageListCache> image_list;
  std::shared_ptr<StatsFeeds> stats;
};

struct Call {
  ApiParts& parts;
  wire::Exchange& exchange;
  int minor = kMaxMinor;          // of the API version that the client speaks
  std::vector<std::string> args;  // what stood for each {…} of the pattern
  AnswerForm form = AnswerForm::kNone;

  Engine& engine() { return parts.engine; }
  const wire::Query& query() const { return exchange.query(); }
  const std::string& arg(size_t index = 0) const { return args.at(index); }
};

using Handler = Result<> (*)(Call&);

// Answers with a document in the form of the client's API version, or with nothing (204).
Result<> RespondJson(Call& call, int status, formats::Json body);
Result<> RespondEmpty(Call& call, int status = 204);

// The body as JSON; no body at all is null. kInvalidArgument otherwise.
Result<formats::Json> ReadJsonBody(Call& call);

// The query parameter as an integer; `fallback` when missing or empty.
Result<int64_t> IntParameter(const Call& call, std::string_view name, int64_t fallback);
// A terminal's height or width; `what` is its name in messages.
Result<uint32_t> SizeParameter(const Call& call, std::string_view name, std::string_view what);
// "1795324543", "1795324543.5" or RFC 3339.
Result<WallTime> ParseTime(std::string_view text);
// The query parameter as a time; `fallback` when missing or "0".
Result<WallTime> TimeParameter(const Call& call, std::string_view name, WallTime fallback);

// docs/errors.md: the HTTP status of an error.
int StatusOf(const Error& error);
Error Conflict(std::string message);

}  // namespace gantry::engine::api
