// SPDX-License-Identifier: Apache-2.0
//
// gantryd: options, wiring, and waiting for a signal; `fsck` checks what it keeps.
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/pid_file.h"
#include "base/random.h"
#include "build/builds.h"
#include "cmd/gantryd/cluster.h"
#include "cmd/gantryd/fsck_command.h"
#include "cmd/gantryd/keeper.h"
#include "cmd/gantryd/listeners.h"
#include "cmd/gantryd/metrics.h"
#include "cmd/gantryd/options.h"
#include "cmd/gantryd/reload.h"
#include "cmd/gantryd/signals.h"
#include "cmd/gantryd/socket_holder.h"
#include "engine/api/image_list_cache.h"
#include "engine/api/list_rows.h"
#include "engine/api/router.h"
#include "engine/api/stats_feed.h"
#include "engine/fsck.h"
#include "engine/health.h"
#include "engine/log_forwarder.h"
#include "engine/supervise.h"
#include "kernel/descriptor_limit.h"
#include "wire/http_server.h"

namespace gantry::gantryd {
namespace {

constexpr size_t kMaxWorkers = 512;
constexpr size_t kMaxEngineIdBytes = 256;
constexpr std::chrono::seconds kConnectBound{60};

// How long requests get to end; -1: as long as it takes.
void LetRequestsEnd(const engine::Engine& engine, wire::WorkerPool& workers) {
  int64_t seconds = engine.settings()->shutdown_timeout;
  std::chrono::milliseconds bound = std::chrono::hours(24);
  if (seconds >= 0) bound = std::chrono::seconds(seconds);
  if (!workers.Drain(bound)) log::Warning("some requests do not end, leaving them");
}

// A service manager that can't be told changes nothing here.
void Notify(std::string_view state) {
  Result<> told = NotifyServiceManager(state);
  if (!told.ok()) log::Warning("{}", told.error().message());
}

// gantry-containerd talks to registries and inherits these.
void SetProxies(const engine::Settings& settings) {
  auto set = [](const char* name, const std::string& value) {
    if (!value.empty()) (void)::setenv(name, value.c_str(), 1);
  };
  set("HTTP_PROXY", settings.http_proxy);
  set("http_proxy", settings.http_proxy);
  set("HTTPS_PROXY", settings.https_proxy);
  set("https_proxy", settings.https_proxy);
  set("NO_PROXY", settings.no_proxy);
  set("no_proxy", settings.no_proxy);
}

Result<std::string> ProgramsDirectory() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return ErrnoErrorOf(error.value(), "reading /proc/self/exe");
  return self.parent_path().string();
}

// The engine's id: made once, and taken along with the data. Like docker's it may be any text, and
// who removes the file (of a machine that was cloned) gets another one.
Result<std::string> EngineId(const std::string& root) {
  std::string path = root + "/engine-id";
  Result<std::string> id = ReadFile(path, kMaxEngineIdBytes);
  if (!id.ok() && id.error().kind() != ErrorKind::kNotFound) return id;
  if (id.ok() && !id->empty()) return id;
  std::string made = RandomHex(16);
  for (size_t dash : {20, 16, 12, 8}) made.insert(dash, 1, '-');
  TRY(ReplaceFile(path, made, 0600));
  return made;
}

std::string LevelName(const Options& options) {
  if (options.settings.debug) return "debug";
  return options.log_level == "fatal" ? "error" : options.log_level;
}

Result<std::unique_ptr<engine::Supervisor>> RunContainerd(const Options& options,
                                                          const std::string& programs,
                                                          EventLoop& loop) {
  engine::SupervisedDaemon daemon;
  daemon.program = programs + "/gantry-containerd";
  daemon.pid_file = options.state + "/gantry-containerd.pid";
  daemon.arguments = {"--root",
                      options.root + "/containerd",
                      "--state",
                      options.state + "/containerd",
                      "--address",
                      options.state + "/containerd.sock",
                      "--pid-file",
                      daemon.pid_file,
                      "--log-level",
                      LevelName(options),
                      "--log-format",
                      options.log_format,
                      "--parallel-layers",
                      std::to_string(options.settings.max_concurrent_downloads)};
  return engine::Supervisor::Start(loop, std::move(daemon));
}

// More may be on the disk, or less may be allowed.
bool ChangesDiskNeed(const engine::Event& event) {
  static const std::set<std::string_view> kAdding = {"import", "load", "pull", "tag"};
  if (event.type == "image") return kAdding.contains(event.action);
  return event.type == "daemon" && event.action == "reload";
}

// What is known of the engine before its parts are there.
Result<engine::EngineOptions> EngineOptionsOf(const Options& options, const std::string& programs) {
  engine::EngineOptions wanted;
  wanted.root = options.root;
  wanted.state = options.state;
  wanted.programs_directory = programs;
  wanted.snapshotter = options.snapshotter;
  wanted.layer_bytes = options.layer_bytes;
  wanted.cgroup_parent = options.cgroup_parent;
  wanted.networks = options.networks;
  wanted.networks.bridge = options.bridge;
  wanted.networks.enable_forwarding = options.ip_forward.value_or(
      options.networks.firewall.backend != networks::FirewallBackend::kNone);
  wanted.engine_id = TRY(EngineId(options.root));
  wanted.remap = options.remap;
  wanted.settings = options.settings;
  wanted.containerd_namespace = options.containerd_namespace;
  return wanted;
}

// Who speaks HTTP/2 from the first byte on wants BuildKit's API.
void ServeGrpc(wire::HttpServer& server, buildkit::Server& buildkit) {
  server.HandHttp2To([&buildkit](UniqueFd socket) {
    Result<> served = buildkit.Serve(std::move(socket));
    if (!served.ok()) log::Warning("serving gRPC: {}", served.error().message());
  });
}

// Both are there as long as the engine is; `budget` holds nullptr until it can be told.
void LogEvents(engine::EventLog& events, std::atomic<build::DiskBudget*>& budget,
               engine::EngineOptions* wanted) {
  wanted->publish = [&](const engine::Event& event) {
    events.Append(event);
    build::DiskBudget* told = budget;
    if (told != nullptr && ChangesDiskNeed(event)) told->CheckSoon();
  };
  wanted->told = [&events](const engine::Event& event) { return events.HasRecent(event); };
  wanted->told_since = [&events] { return events.recent_since(); };
}

Result<> Run(Options options, const std::vector<std::string>& arguments) {
  TRY(kernel::RaiseDescriptorLimit());
  TRY(RemapUsers(&options));
  for (const std::string& warning : options.warnings) log::Warning("{}", warning);
  TRY(MakeDirectories(options.state, 0711));
  TRY(MakeDirectories(options.root + "/engine", 0700));
  PidFile pid_file = TRY(PidFile::Lock(options.pid_file));
  PidFile root_lock = TRY(PidFile::Lock(engine::EngineLock(options.root)));
  std::string group = TRY(SocketGroup(options));
  TRY(PrepareSettings(&options));
  SetProxies(options.settings);
  std::string programs = TRY(ProgramsDirectory());
  auto parked = TRY(wire::LoopThread::Start());
  std::unique_ptr<engine::Supervisor> supervisor;
  engine::EngineOptions wanted = TRY(EngineOptionsOf(options, programs));
  std::unique_ptr<overlay::Hosts> cluster = TRY(MakeCluster(options.cluster, wanted.engine_id));
  wanted.networks.cluster = cluster.get();
  wanted.containerd_address = options.containerd;
  if (options.containerd.empty()) {
    supervisor = TRY(RunContainerd(options, programs, parked->loop()));
    wanted.containerd_address = options.state + "/containerd.sock";
  } else {
    // A foreign containerd knows our shim by its path only.
    wanted.runtime = programs + "/containerd-shim-gantry-v1";
  }
  auto events = TRY(engine::EventLog::Open(options.root + "/engine"));
  std::atomic<build::DiskBudget*> budget = nullptr;  // once it is there
  LogEvents(*events, budget, &wanted);
  std::unique_ptr<engine::Execs> execs;
  wanted.exec_event = [&execs](const client::TaskEvent& event) { execs->OnTaskEvent(event); };
  wanted.removed = [&execs](const std::string& id) { execs->ForgetAllOf(id); };
  std::unique_ptr<engine::HealthMonitor> health;
  wanted.probe = [&health](const std::string& id, bool runs) {
    runs ? health->Begin(id) : health->End(id);
  };
  std::unique_ptr<engine::LogForwarder> forwarder;
  wanted.forward_log = [&forwarder](const std::string& id, bool exists) {
    exists ? forwarder->Begin(id) : forwarder->Remove(id);
  };
  wire::WorkerPool workers(kMaxWorkers);
  auto engine = TRY(engine::Engine::Create(std::move(wanted), workers));
  execs = std::make_unique<engine::Execs>(*engine, parked->loop());
  health = std::make_unique<engine::HealthMonitor>(*engine, *execs, parked->loop());
  auto log_watcher = TRY(engine::LogWatcher::Create(parked->loop()));
  forwarder = std::make_unique<engine::LogForwarder>(*engine, *log_watcher, parked->loop());
  TRY(engine->Connect(kConnectBound));
  build::Builds builds(*engine);
  TRY(builds.Open());
  buildkit::Server buildkit(*engine, *execs, builds, workers);
  build::DiskBudget disk_budget(*engine, builds);
  budget = &disk_budget;

  std::shared_ptr<wire::HttpServer> metrics;
  if (!options.metrics_address.empty()) {
    metrics = TRY(
        ServeMetrics(options.metrics_address, *engine, *events, builds, workers, parked->loop()));
  }
  Listeners listeners = TRY(OpenListeners(options, group, programs + "/gantryd"));
  engine::api::ApiParts parts{
      *engine,
      *events,
      *execs,
      *log_watcher,
      builds,
      buildkit,
      disk_budget,
      workers,
      parked->loop(),
      TRY(EngineId(options.root)),
      options.root,
      listeners.open_hosts,
      std::make_shared<engine::api::ListRows>(),
      std::make_shared<engine::api::ImageListCache>(engine::ImageListFile(options.root)),
      std::make_shared<engine::api::StatsFeeds>(workers, parked->loop())};
  auto server =
      TRY(wire::HttpServer::Create(workers, parked->loop(), [&parts](wire::Exchange& exchange) {
        engine::api::Serve(parts, exchange);
      }));
  ServeGrpc(*server, buildkit);
  for (Listeners::Socket& socket : listeners.sockets) {
    TRY(server->Adopt(std::move(socket.fd), std::move(socket.wrap)));
  }
  for (const std::string& host : options.hosts) log::Info("serving on {}", host);
  Reloader reloader(*engine, parts.engine_id, arguments, options);
  Notify("READY=1\nSTATUS=serving");
  WaitUntilStopped(&reloader, options.state);
  Notify("STOPPING=1");
  server->Stop();
  LetRequestsEnd(*engine, workers);
  engine->Shutdown();
  // Parked answers, relays and followers hold on to these parts from other threads: the process
  // ends without taking them apart. Everything on disk is committed.
  supervisor.reset();
  for (const std::string& path : listeners.own_paths) (void)::unlink(path.c_str());
  (void)::unlink(options.pid_file.c_str());
  ::_exit(0);
}

int RunKeeper(std::vector<std::string> arguments) {
  std::erase(arguments, "--keep");
  auto keep = [&]() -> Result<int> {
    return Keep(TRY(ProgramsDirectory()) + "/gantryd", arguments);
  };
  Result<int> ended = keep();
  if (ended.ok()) return *ended;
  log::Failure("{}", ended.error().message());
  return 1;
}

int Main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == kHoldSocketFlag) {
    return HoldSocket({arguments.begin() + 1, arguments.end()});
  }
  if (!arguments.empty() && arguments[0] == kFsckCommand) {
    arguments.erase(arguments.begin());
    auto checked = [&]() -> Result<int> { return RunFsck(arguments, TRY(ProgramsDirectory())); }();
    if (checked.ok()) return *checked;
    fprintf(stderr, "gantryd: %s\n", checked.error().message().c_str());
    return 1;
  }
  auto options = ParseOptions(arguments);
  if (!options.ok()) {
    fprintf(stderr, "%s\nSee 'gantryd --help'.\n", options.error().message().c_str());
    return 1;
  }
  if (options->help) {
    fputs(Usage().c_str(), stdout);
    return 0;
  }
  if (options->version) {
    puts("gantryd " GANTRY_VERSION);
    return 0;
  }
  if (options->validate) {
    for (const std::string& warning : options->warnings) {
      fprintf(stderr, "warning: %s\n", warning.c_str());
    }
    fputs("configuration OK\n", stderr);
    return 0;
  }
  log::Configure("gantryd", options->Level(), options->Format());
  ::umask(0022);
  if (options->keep) {
    return RunKeeper(std::move(arguments));
  }
  BlockSignals();
  Result<> result = Run(*std::move(options), arguments);
  log::Failure("{}", result.error().message());
  // As above: threads may still use what would be destroyed.
  ::_exit(1);
}

}  // namespace
}  // namespace gantry::gantryd

int main(int argc, char** argv) { return gantry::gantryd::Main(argc, argv); }
