// SPDX-License-Identifier: Apache-2.0
#include "containerd/status_server.h"

#include <sys/time.h>
#include <unistd.h>

#include <future>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "containerd/call_metrics.h"
#include "containerd/cgroups/v1/metrics.pb.h"
#include "containerd/cgroups/v2/metrics.pb.h"
#include "containerd/event_exchange.h"
#include "containerd/event_log.h"
#include "containerd/options.h"
#include "containerd/parts.h"
#include "containerd/shim_directory.h"
#include "containerd/task_calls.h"
#include "formats/json.h"

namespace gantry::containerd {
namespace {

namespace cgroups_v1 = ::io::containerd::cgroups::v1;
namespace cgroups_v2 = ::io::containerd::cgroups::v2;

// A shim that takes longer is left out of a scrape.
constexpr auto kStatsTime = std::chrono::seconds(5);
constexpr size_t kProcBytes = size_t{64} << 10;

void AddGauge(std::string_view name, std::string_view labels, double value, std::string* out) {
  *out += fmt::format("{}{} {}\n", name, labels, value);
}

void AddTyped(std::string_view name, std::string_view type, double value, std::string* out) {
  *out += fmt::format("# TYPE {} {}\n", name, type);
  AddGauge(name, "", value, out);
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

size_t CountEntries(const std::string& path) {
  DirectoryHandle directory(::opendir(path.c_str()));
  size_t count = 0;
  while (directory && ::readdir(directory.get()) != nullptr) ++count;
  return count > 2 ? count - 2 : 0;
}

// This process under Prometheus' usual names.
Result<> AddProcess(std::string* out) {
  std::string stat = TRY(ReadFile("/proc/self/stat", kProcBytes));
  // After the name, which may hold blanks; the fields then count from 3 (proc(5)).
  auto fields = SplitWords(std::string_view(stat).substr(stat.rfind(')') + 1));
  auto field = [&](size_t number) { return std::strtod(fields.at(number - 3).c_str(), nullptr); };
  if (fields.size() < 24) return Internal("reading '/proc/self/stat': too short");
  auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  AddTyped("process_cpu_seconds_total", "counter", (field(14) + field(15)) / ticks, out);
  AddTyped("process_resident_memory_bytes", "gauge",
           field(24) * static_cast<double>(::sysconf(_SC_PAGESIZE)), out);
  AddTyped("process_virtual_memory_bytes", "gauge", field(23), out);
  AddTyped("process_threads", "gauge", field(20), out);
  AddTyped("process_open_fds", "gauge", static_cast<double>(CountEntries("/proc/self/fd")), out);
  std::string uptime = TRY(ReadFile("/proc/uptime", kProcBytes));
  double since_boot = std::strtod(uptime.c_str(), nullptr);
  double now = static_cast<double>(UnixNanos(WallClock::now())) / 1e9;
  AddTyped("process_start_time_seconds", "gauge", now - since_boot + field(22) / ticks, out);
  return {};
}

// containerd's names, as its cgroups plugin has them for either version.
void AddContainer(const Shim& shim, const shim_api::StatsResponse& stats, std::string* out) {
  std::string labels = fmt::format("{{container_id=\"{}\",namespace=\"{}\"}}", Escaped(shim.id()),
                                   Escaped(shim.ns()));
  auto add = [&](std::string_view name, uint64_t value) {
    AddGauge(name, labels, static_cast<double>(value), out);
  };
  std::string_view type = stats.stats().type_url();
  cgroups_v1::Metrics v1;
  cgroups_v2::Metrics v2;
  if (type.ends_with("cgroups.v1.Metrics") && v1.ParseFromString(stats.stats().value())) {
    add("container_cpu_total_nanoseconds", v1.cpu().usage().total());
    add("container_cpu_kernel_nanoseconds", v1.cpu().usage().kernel());
    add("container_cpu_user_nanoseconds", v1.cpu().usage().user());
    add("container_memory_usage_usage_bytes", v1.memory().usage().usage());
    add("container_memory_usage_limit_bytes", v1.memory().usage().limit());
    add("container_pids_current", v1.pids().current());
    add("container_pids_limit", v1.pids().limit());
  } else if (type.ends_with("cgroups.v2.Metrics") && v2.ParseFromString(stats.stats().value())) {
    add("container_cpu_usage_usec_microseconds", v2.cpu().usage_usec());
    add("container_cpu_user_usec_microseconds", v2.cpu().user_usec());
    add("container_cpu_system_usec_microseconds", v2.cpu().system_usec());
    add("container_memory_usage_bytes", v2.memory().usage());
    add("container_memory_usage_limit_bytes", v2.memory().usage_limit());
    add("container_pids_current", v2.pids().current());
    add("container_pids_limit", v2.pids().limit());
  }
}

void AddContainers(Parts* parts, std::string* out) {
  using Answers = std::vector<std::pair<std::shared_ptr<Shim>, shim_api::StatsResponse>>;
  std::promise<Answers> answered;
  auto future = answered.get_future();
  CallEach<shim_api::StatsResponse>(
      parts->shims->All(), "Stats",
      [](const Shim& shim) {
        shim_api::StatsRequest request;
        request.set_id(shim.id());
        return request.SerializeAsString();
      },
      kStatsTime, [&](Answers answers) { answered.set_value(std::move(answers)); });
  for (const auto& [shim, stats] : future.get()) AddContainer(*shim, stats, out);
}

formats::Json Threads() {
  formats::Json threads = formats::Json::MakeArray();
  DirectoryHandle directory(::opendir("/proc/self/task"));
  while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
    if (entry->d_name[0] == '.') continue;
    std::string path = std::string("/proc/self/task/") + entry->d_name;
    // A thread may end while it is looked at.
    std::string stat = ReadFile(path + "/stat", kProcBytes).value_or("");
    size_t open = stat.find('(');
    size_t close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 2 >= stat.size()) {
      continue;
    }
    threads.Append(
        formats::Json::MakeObject({{"id", entry->d_name},
                                   {"name", stat.substr(open + 1, close - open - 1)},
                                   {"state", stat.substr(close + 2, 1)},
                                   {"wait", ReadFile(path + "/wchan", kProcBytes).value_or("")}}));
  }
  return threads;
}

formats::Json Names(const std::vector<std::shared_ptr<Shim>>& shims) {
  formats::Json names = formats::Json::MakeArray();
  for (const auto& shim : shims) {
    names.Append(formats::Json::MakeObject(
        {{"namespace", shim->ns()}, {"id", shim->id()}, {"address", shim->endpoint().address}}));
  }
  return names;
}

formats::Json Variables(const Parts& parts) {
  return formats::Json::MakeObject(
      {{"version", GANTRY_VERSION},
       {"uuid", parts.uuid},
       {"pid", static_cast<int64_t>(::getpid())},
       {"root", parts.root},
       {"tasks", Names(parts.shims->All())},
       {"sandboxes", Names(parts.sandboxes->All())},
       {"event_subscribers", static_cast<uint64_t>(parts.events->subscribers())},
       {"events", parts.events->log()->next() - 1}});
}

}  // namespace

Result<std::unique_ptr<StatusServer>> StatusServer::Start(const Options& options, Parts* parts,
                                                          CallMetrics* calls) {
  std::unique_ptr<StatusServer> server;
  if (options.debug_address.empty() && options.metrics_address.empty()) return server;
  server.reset(new StatusServer(parts, calls));
  TRY(server->Listen(options));
  return server;
}

Result<> StatusServer::Listen(const Options& options) {
  parked_ = TRY(wire::LoopThread::Start());
  if (!options.metrics_address.empty()) {
    metrics_server_ = TRY(
        wire::HttpServer::Create(*parts_->workers, parked_->loop(),
                                 [this](wire::Exchange& exchange) { Handle(exchange, false); }));
    TRY_WITH(metrics_server_->Listen("tcp://" + options.metrics_address, ""), "serving metrics");
  }
  if (!options.debug_address.empty()) {
    debug_server_ =
        TRY(wire::HttpServer::Create(*parts_->workers, parked_->loop(),
                                     [this](wire::Exchange& exchange) { Handle(exchange, true); }));
    TRY_WITH(debug_server_->Listen("unix://" + options.debug_address, ""),
             "serving the debug socket");
    debug_path_ = options.debug_address;
  }
  return {};
}

StatusServer::~StatusServer() {
  if (metrics_server_ != nullptr) metrics_server_->Stop();
  if (debug_server_ != nullptr) debug_server_->Stop();
  if (!debug_path_.empty()) ::unlink(debug_path_.c_str());
}

void StatusServer::Handle(wire::Exchange& exchange, bool debug) {
  const std::string& path = exchange.path();
  Result<> answered;
  if (exchange.request().method != "GET") {
    exchange.headers().Set("Allow", "GET");
    answered = exchange.Respond(405, "only GET\n");
  } else if (path == "/metrics" || path == "/v1/metrics") {
    exchange.headers().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    answered = exchange.Respond(200, Metrics());
  } else if (debug && (path == "/debug/vars" || path == "/debug/threads")) {
    exchange.headers().Set("Content-Type", "application/json");
    formats::Json json = path == "/debug/vars" ? Variables(*parts_) : Threads();
    answered = exchange.Respond(200, json.Dump(2) + "\n");
  } else {
    answered = exchange.Respond(404, "page not found\n");
  }
  if (!answered.ok()) log::Debug("answering '{}': {}", path, answered.error().message());
}

std::string StatusServer::Metrics() {
  std::string out = "# TYPE containerd_build_info_total counter\n";
  out += "containerd_build_info_total{revision=\"gantry\",version=\"" GANTRY_VERSION "\"} 1\n";
  auto process = AddProcess(&out);
  if (!process.ok()) log::Warning("collecting metrics: {}", process.error().message());
  AddTyped("gantry_tasks", "gauge", static_cast<double>(parts_->shims->All().size()), &out);
  AddTyped("gantry_sandboxes", "gauge", static_cast<double>(parts_->sandboxes->All().size()), &out);
  AddTyped("gantry_event_subscribers", "gauge", static_cast<double>(parts_->events->subscribers()),
           &out);
  AddTyped("gantry_events_total", "counter", static_cast<double>(parts_->events->log()->next() - 1),
           &out);
  calls_->Write(&out);
  AddContainers(parts_, &out);
  return out;
}

}  // namespace gantry::containerd
