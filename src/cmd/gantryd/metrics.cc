// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

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
  void Sample(double value, std::string_view labels = {}) {
    text_ += labels.empty() ? fmt::format("{} {:g}\n", name_, value)
                            : fmt::format("{}{{{}}} {:g}\n", name_, labels, value);
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
  Result<std::string> pages = ReadFile("/proc/self/statm", 256);
  if (!pages.ok()) return;
  std::vector<std::string> words = SplitWords(*pages);
  if (words.size() < 2) return;
  page->Begin("process_resident_memory_bytes", "gauge", "Resident memory");
  page->Whole(std::atoll(words[1].c_str()) * ::sysconf(_SC_PAGESIZE));
}

void Answer(engine::Engine& engine, engine::EventLog& events, wire::Exchange& exchange) {
  const std::string& method = exchange.request().method;
  Result<> sent;
  if (exchange.path() != "/metrics" || (method != "GET" && method != "HEAD")) {
    exchange.headers().Set("Content-Type", "text/plain; charset=utf-8");
    sent = exchange.Respond(404, "404 page not found\n");
  } else {
    Page page;
    AddEngine(engine, events, &page);
    AddProcess(&page);
    exchange.headers().Set("Content-Type", kTextForm);
    sent = exchange.Respond(200, page.text());
  }
  if (!sent.ok()) log::Debug("{}", sent.error().message());
}

}  // namespace

Result<std::shared_ptr<wire::HttpServer>> ServeMetrics(const std::string& address,
                                                       engine::Engine& engine,
                                                       engine::EventLog& events,
                                                       wire::WorkerPool& workers,
                                                       EventLoop& parked) {
  auto server =
      TRY(wire::HttpServer::Create(workers, parked, [&engine, &events](wire::Exchange& exchange) {
        Answer(engine, events, exchange);
      }));
  TRY_WITH(server->Listen("tcp://" + address, ""), "serving metrics");
  log::Info("metrics on http://{}/metrics", address);
  return server;
}

}  // namespace gantry::gantryd
