// SPDX-License-Identifier: Apache-2.0
//
// gantry stats: what containers use. Every container has a stream of its own, all read by one loop;
// containers that come and go while it runs are told by /events.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "formats/human_units.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{500};

ListingSpec StatsSpec() {
  ListingSpec spec;
  spec.default_table =
      "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t"
      "{{.PIDs}}";
  spec.default_quiet = "{{.ID}}";
  spec.root_type = "*container.statsContext";
  spec.headers = Json::MakeObject({{"BlockIO", "BLOCK I/O"},
                                   {"CPUPerc", "CPU %"},
                                   {"Container", "CONTAINER"},
                                   {"ID", "CONTAINER ID"},
                                   {"MemPerc", "MEM %"},
                                   {"MemUsage", "MEM USAGE / LIMIT"},
                                   {"Name", "NAME"},
                                   {"NetIO", "NET I/O"},
                                   {"PIDs", "PIDS"}});
  return spec;
}

// Page cache that the kernel can take back any time is not counted: total_inactive_file of cgroup
// v1, inactive_file of v2.
double MemoryInUse(const Json& memory) {
  double usage = memory["usage"].AsDouble();
  const Json& stats = memory["stats"];
  const Json* inactive = stats.Find("total_inactive_file");
  if (inactive == nullptr) inactive = stats.Find("inactive_file");
  if (inactive != nullptr && inactive->AsDouble() < usage) return usage - inactive->AsDouble();
  return usage;
}

double CpuPercent(const Json& sample) {
  const Json& now = sample["cpu_stats"];
  const Json& before = sample["precpu_stats"];
  double used =
      now["cpu_usage"]["total_usage"].AsDouble() - before["cpu_usage"]["total_usage"].AsDouble();
  double system = now["system_cpu_usage"].AsDouble() - before["system_cpu_usage"].AsDouble();
  double cpus = now["online_cpus"].AsDouble();
  if (cpus == 0) cpus = static_cast<double>(now["cpu_usage"]["percpu_usage"].size());
  return used > 0 && system > 0 ? used / system * cpus * 100 : 0;
}

std::string TransferOf(double in, double out) {
  return formats::HumanSize(in, 3) + " / " + formats::HumanSize(out, 3);
}

std::string NetworkIo(const Json& sample) {
  double received = 0, sent = 0;
  for (const auto& [name, network] : sample["networks"].members()) {
    received += network["rx_bytes"].AsDouble();
    sent += network["tx_bytes"].AsDouble();
  }
  return TransferOf(received, sent);
}

std::string BlockIo(const Json& sample) {
  double read = 0, written = 0;
  for (const Json& item : sample["blkio_stats"]["io_service_bytes_recursive"].items()) {
    std::string_view kind = item["op"].AsString();
    if (kind == "read" || kind == "Read") read += item["value"].AsDouble();
    if (kind == "write" || kind == "Write") written += item["value"].AsDouble();
  }
  return TransferOf(read, written);
}

struct Watched {
  std::string asked;  // as the user named it
  std::string id;
  std::string name;
  Json sample;  // null: none yet
  std::optional<ApiStream> stream;
  std::optional<JsonStream> objects;
  bool ended = false;
};

Json StatsRow(const Watched& watched, bool truncate) {
  const Json& sample = watched.sample;
  std::string id = truncate ? ShortId(watched.id) : watched.id;
  bool known = !sample.is_null();
  double limit = sample["memory_stats"]["limit"].AsDouble();
  double used = MemoryInUse(sample["memory_stats"]);
  auto shown = [&](std::string text) { return known ? std::move(text) : std::string("--"); };
  return Json::MakeObject(
      {{"BlockIO", shown(BlockIo(sample))},
       {"CPUPerc", shown(fmt::format("{:.2f}%", CpuPercent(sample)))},
       {"Container", watched.asked},
       {"ID", watched.id.empty() ? "--" : id},
       {"MemPerc", shown(fmt::format("{:.2f}%", limit > 0 ? used / limit * 100 : 0))},
       {"MemUsage", known ? formats::BinarySize(used) + " / " + formats::BinarySize(limit)
                          : std::string("-- / --")},
       {"Name", watched.name.empty() ? "--" : watched.name},
       {"NetIO", shown(NetworkIo(sample))},
       {"PIDs", shown(fmt::format("{}", sample["pids_stats"]["current"].AsInt()))}});
}

class StatsView {
 public:
  StatsView(Api* api, Listing listing, bool truncate)
      : api_(api), listing_(std::move(listing)), truncate_(truncate) {}

  Result<> Add(const std::string& asked, bool stream) {
    ApiRequest request;
    request.path = ContainerPath(asked, "/stats");
    request.query.Add("stream", stream ? "1" : "0");
    wire::HttpConnection connection = TRY(api_->Start(request));
    pending_.push_back({asked, request, std::move(connection)});
    return {};
  }

  // The answers' heads, after all requests are on their way: a sample takes the daemon a second.
  Result<> Receive() {
    for (Pending& pending : std::exchange(pending_, {})) {
      auto watched = std::make_unique<Watched>();
      watched->asked = pending.asked;
      watched->stream = TRY(api_->Receive(std::move(pending.connection), pending.request));
      watched->objects.emplace(&watched->stream->connection);
      watched_.push_back(std::move(watched));
    }
    return {};
  }

  Result<> ReadOne(Watched* watched) {
    Result<Json> sample = watched->objects->Next();
    // A container that ends takes its stream along.
    if (!sample.ok() || sample->is_null()) {
      watched->ended = true;
      return {};
    }
    watched->id = (*sample)["id"].AsString();
    watched->name = (*sample)["name"].AsString();
    if (watched->name.substr(0, 1) == "/") watched->name.erase(0, 1);
    watched->sample = std::move(*sample);
    return {};
  }

  Result<std::string> Text() const {
    std::vector<Json> rows;
    for (const auto& watched : watched_) {
      if (!watched->id.empty()) rows.push_back(StatsRow(*watched, truncate_));
    }
    return listing_.Format(rows);
  }

  std::vector<std::unique_ptr<Watched>>& watched() { return watched_; }
  bool Has(const std::string& id) const {
    return std::any_of(watched_.begin(), watched_.end(),
                       [&](const auto& each) { return each->id == id || each->asked == id; });
  }

 private:
  struct Pending {
    std::string asked;
    ApiRequest request;
    wire::HttpConnection connection;
  };

  Api* api_;
  Listing listing_;
  bool truncate_;
  std::vector<Pending> pending_;
  std::vector<std::unique_ptr<Watched>> watched_;
};

// On a terminal each table replaces the former one; in a pipe they follow each other.
void Draw(const std::string& text, bool terminal) {
  if (!terminal) {
    PrintText(text);
  } else {
    PrintText("\x1b[H");
    for (size_t at = 0; at < text.size();) {
      size_t end = text.find('\n', at);
      Print("{}\x1b[K\n", text.substr(at, end - at));
      at = end + 1;
    }
    PrintText("\x1b[J");
  }
}

Result<std::vector<std::string>> ContainersToWatch(Api* api, bool all) {
  wire::Query query;
  if (all) query.Add("all", "1");
  Json containers = TRY(api->Get("/containers/json", query));
  std::vector<std::string> ids;
  for (const Json& container : containers.items()) ids.push_back(container["Id"].AsString());
  return ids;
}

// Containers that start join, those that are removed leave.
Result<> OnEvent(const Json& event, StatsView* view) {
  const std::string& id = event["Actor"]["ID"].AsString();
  const std::string& action = event["Action"].AsString();
  if (action == "start" && !view->Has(id)) {
    if (view->Add(id, true).ok()) (void)view->Receive();
  } else if (action == "die" || action == "destroy") {
    for (auto& watched : view->watched()) watched->ended = watched->ended || watched->id == id;
  }
  return {};
}

Result<int> Follow(Api* api, StatsView* view, bool follow_events) {
  bool terminal = kernel::IsTerminal(BorrowedFd(STDOUT_FILENO));
  std::optional<ApiStream> event_stream;
  std::optional<JsonStream> events;
  if (follow_events) {
    ApiRequest request;
    request.path = "/events";
    request.query.Add("filters", FormatFilters({"type=container"}));
    event_stream = TRY(api->Open(request));
    events.emplace(&event_stream->connection);
  }
  if (terminal) PrintText("\x1b[2J");
  SteadyClock::time_point next = SteadyClock::now();
  for (;;) {
    std::vector<pollfd> wait;
    for (auto& watched : view->watched()) {
      wait.push_back({watched->stream->connection.fd().get(), POLLIN, 0});
    }
    if (events) wait.push_back({event_stream->connection.fd().get(), POLLIN, 0});
    auto left = std::chrono::ceil<std::chrono::milliseconds>(next - SteadyClock::now());
    int timeout = static_cast<int>(std::max<int64_t>(0, left.count()));
    if (::poll(wait.data(), wait.size(), timeout) < 0) return ErrnoError("waiting for samples");
    size_t count = view->watched().size();
    for (size_t i = 0; i < count; ++i) {
      if (wait[i].revents != 0) TRY(view->ReadOne(view->watched()[i].get()));
    }
    if (events && wait.back().revents != 0) {
      Json event = TRY(events->Next());
      if (event.is_null()) return Unavailable("the daemon has closed the stream of events");
      TRY(OnEvent(event, view));
    }
    std::erase_if(view->watched(), [](const auto& watched) { return watched->ended; });
    if (view->watched().empty() && !events) return 0;
    if (SteadyClock::now() < next) continue;
    next = SteadyClock::now() + kRedraw;
    Draw(TRY(view->Text()), terminal);
    if (!FlushOutput()) return 1;
  }
}

}  // namespace

Result<int> StatsCommand(Cli& cli, Invocation& call) {
  bool all = false, no_stream = false, no_truncate = false;
  std::string format;
  call.flags.Bool("all", 'a', &all, "Also containers that do not run");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("no-stream", 0, &no_stream, "Show it once");
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show everything in full");
  if (auto code = call.Parse(ArgCount::AtLeast(0))) return *code;
  format = TRY(cli.FormatOr(format, "statsFormat"));
  Listing listing = TRY(Listing::Create(StatsSpec(), format, false));
  Api* api = TRY(cli.Connect());
  std::vector<std::string> names = call.args();
  bool every = names.empty();
  if (every) names = TRY(ContainersToWatch(api, all));
  StatsView view(api, std::move(listing), !no_truncate);
  for (const std::string& name : names) TRY(view.Add(name, !no_stream));
  TRY(view.Receive());
  if (!no_stream) return Follow(api, &view, every);
  for (auto& watched : view.watched()) TRY(view.ReadOne(watched.get()));
  PrintText(TRY(view.Text()));
  return 0;
}

}  // namespace gantry::cli
