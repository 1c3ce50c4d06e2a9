// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/host_info.h"

namespace gantry::gantryd {
namespace {

constexpr char kTextForm[] = "text/plain; version=0.0.4; charset=utf-8";

// The samples of one name, with its type and what it is.
class Page {
 public:
  void Begin(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
    name_ = name;
  }
  void Sample(double value, std::string_view labels = {}) { Sample("", value, labels); }
  // One of several series of a name, such as "_sum".
  void Sample(std::string_view series, double value, std::string_view labels) {
    text_ += labels.empty() ? fmt::format("{}{} {}\n", name_, series, value)
                            : fmt::format("{}{}{{{}}} {}\n", name_, series, labels, value);
  }
  void Whole(int64_t value) { text_ += fmt::format("{} {}\n", name_, value); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::string name_;
};

void AddEngine(engine::Engine& engine, engine::EventLog& events, Page* page) {
  engine::HostInfo host = engine::ReadHostInfo();
  std::map<std::string, int> states = {{"paused", 0}, {"running", 0}, {"stopped", 0}};
  for (const auto& record : engine.List()) {
    bool running = record->state.phase == engine::Phase::kRunning;
    bool paused = record->state.phase == engine::Phase::kPaused;
    ++states[running ? "running" : paused ? "paused" : "stopped"];
  }
  page->Begin("engine_daemon_container_states_containers", "gauge",
              "The count of containers in various states");
  for (const auto& [state, count] : states) page->Sample(count, "state=\"" + state + "\"");
  page->Begin("engine_daemon_engine_cpus_cpus", "gauge", "The number of cpus of the host");
  page->Whole(host.cpus);
  page->Begin("engine_daemon_engine_memory_bytes", "gauge", "The memory of the host");
  page->Whole(host.memory_bytes);
  page->Begin("engine_daemon_engine_info", "gauge", "What engine and host this is");
  page->Sample(1, fmt::format("architecture=\"{}\",graphdriver=\"{}\",kernel=\"{}\",os=\"{}\","
                              "os_type=\"linux\",os_version=\"{}\",version=\"{}\"",
                              host.machine, engine.options().snapshotter, host.kernel_version,
                              host.operating_system, host.os_version, GANTRY_VERSION));
  page->Begin("engine_daemon_events_total", "counter", "Events that were published");
  page->Whole(static_cast<int64_t>(events.last_number()));
  page->Begin("engine_daemon_events_subscribers_total", "gauge", "Clients that follow events");
  page->Whole(events.listeners());
}

void AddHistogram(std::string_view labels, const engine::ActionTimes::Histogram& times,
                  Page* page) {
  using engine::ActionTimes;
  for (size_t i = 0; i < ActionTimes::kBounds.size(); ++i) {
    page->Sample("_bucket", static_cast<double>(times.at_most[i]),
                 fmt::format("{},le=\"{:g}\"", labels, ActionTimes::kBounds[i]));
  }
  page->Sample("_bucket", static_cast<double>(times.count), fmt::format("{},le=\"+Inf\"", labels));
  page->Sample("_sum", times.seconds, labels);
  page->Sample("_count", static_cast<double>(times.count), labels);
}

void AddActions(engine::Engine& engine, build::Builds& builds, Page* page) {
  page->Begin("engine_daemon_container_actions_seconds", "histogram",
              "The number of seconds it takes to process each container action");
  for (const char* action : {"changes", "commit", "create", "delete", "start"}) {
    AddHistogram(fmt::format("action=\"{}\"", action), engine.action_times().Of(action), page);
  }
  page->Begin("engine_daemon_network_actions_seconds", "histogram",
              "The number of seconds it takes to process each network action");
  for (const char* action : {"allocate", "connect", "release"}) {
    AddHistogram(fmt::format("action=\"{}\"", action),
                 engine.action_times().Of(fmt::format("network {}", action)), page);
  }
  page->Begin("engine_daemon_host_info_functions_seconds", "histogram",
              "The number of seconds it takes to call functions gathering info about the host");
  for (const char* function : {"system_info", "system_version"}) {
    AddHistogram(fmt::format("function=\"{}\"", function),
                 engine.action_times().Of(fmt::format("host {}", function)), page);
  }
  page->Begin("engine_daemon_health_checks_total", "counter", "Probes that were made");
  page->Whole(engine.probes());
  page->Begin("engine_daemon_health_checks_failed_total", "counter", "Probes that failed");
  page->Whole(engine.failed_probes());
  page->Begin("builder_builds_triggered_total", "counter", "Builds that were begun");
  page->Whole(builds.begun());
  page->Begin("builder_builds_failed_total", "counter", "Builds that failed");
  page->Sample(static_cast<double>(builds.cancelled()), "reason=\"build_canceled\"");
  page->Sample(static_cast<double>(builds.failed()), "reason=\"error_processing_commands_error\"");
}

// Seconds since 1970: field 22 of /proc/self/stat counts ticks since the boot (proc(5)).
double StartTime() {
  Result<std::string> text = ReadFile("/proc/self/stat", 4096);
  if (!text.ok()) return 0;
  std::vector<std::string> words = SplitWords(std::string_view(*text).substr(text->rfind(')') + 1));
  timespec up{};
  if (words.size() < 20 || ::clock_gettime(CLOCK_BOOTTIME, &up) < 0) return 0;
  double age = static_cast<double>(up.tv_sec) + static_cast<double>(up.tv_nsec) / 1e9 -
               std::atof(words[19].c_str()) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return static_cast<double>(UnixNanos(WallClock::now())) / 1e9 - age;
}

void AddProcess(Page* page) {
  engine::HostInfo host = engine::ReadHostInfo();
  rusage used{};
  (void)::getrusage(RUSAGE_SELF, &used);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  page->Begin("process_cpu_seconds_total", "counter", "User and system CPU time");
  page->Sample(seconds(used.ru_utime) + seconds(used.ru_stime));
  page->Begin("process_open_fds", "gauge", "Open descriptors");
  page->Whole(host.open_descriptors);
  page->Begin("process_threads", "gauge", "Threads");
  page->Whole(host.threads);
  rlimit descriptors{};
  (void)::getrlimit(RLIMIT_NOFILE, &descriptors);
  page->Begin("process_max_fds", "gauge", "Descriptors that may be open");
  page->Sample(static_cast<double>(descriptors.rlim_cur));
  rlimit memory{};
  (void)::getrlimit(RLIMIT_AS, &memory);
  page->Begin("process_virtual_memory_max_bytes", "gauge", "The most virtual memory");
  page->Sample(static_cast<double>(memory.rlim_cur));
  page->Begin("process_start_time_seconds", "gauge", "When this process began, since 1970");
  page->Sample(StartTime());
  Result<std::string> pages = ReadFile("/proc/self/statm", 256);
  if (!pages.ok()) return;
  std::vector<std::string> words = SplitWords(*pages);
  if (words.size() < 2) return;
  page->Begin("process_virtual_memory_bytes", "gauge", "Virtual memory");
  page->Whole(std::atoll(words[0].c_str()) * ::sysconf(_SC_PAGESIZE));
  page->Begin("process_resident_memory_bytes", "gauge", "Resident memory");
  page->Whole(std::atoll(words[1].c_str()) * ::sysconf(_SC_PAGESIZE));
}

void Answer(engine::Engine& engine, engine::EventLog& events, build::Builds& builds,
            wire::Exchange& exchange) {
  const std::string& method = exchange.request().method;
  Result<> sent;
  if (exchange.path() != "/metrics" || (method != "GET" && method != "HEAD")) {
    exchange.headers().Set("Content-Type", "text/plain; charset=utf-8");
    sent = exchange.Respond(404, "404 page not found\n");
  } else {
    Page page;
    AddEngine(engine, events, &page);
    AddActions(engine, builds, &page);
    AddProcess(&page);
    exchange.headers().Set("Content-Type", kTextForm);
    sent = exchange.Respond(200, page.text());
  }
  if (!sent.ok()) log::Debug("{}", sent.error().message());
}

}  // namespace

Result<std::shared_ptr<wire::HttpServer>> ServeMetrics(
    const std::string& address, engine::Engine& engine, engine::EventLog& events,
    build::Builds& builds, wire::WorkerPool& workers, EventLoop& parked) {
  auto server = TRY(wire::HttpServer::Create(workers, parked,
                                             [&engine, &events, &builds](wire::Exchange& exchange) {
                                               Answer(engine, events, builds, exchange);
                                             }));
  TRY_WITH(server->Listen("tcp://" + address, ""), "serving metrics");
  log::Info("metrics on http://{}/metrics", address);
  return server;
}

}  // namespace gantry::gantryd
