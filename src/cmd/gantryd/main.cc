// SPDX-License-Identifier: Apache-2.0
//
// gantryd: options, wiring, and waiting for a signal.
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "base/pid_file.h"
#include "base/random.h"
#include "cmd/gantryd/keeper.h"
#include "cmd/gantryd/options.h"
#include "engine/api/router.h"
#include "engine/health.h"
#include "engine/supervise.h"
#include "wire/http_server.h"

namespace gantry::gantryd {
namespace {

constexpr size_t kMaxWorkers = 512;
constexpr std::chrono::seconds kConnectBound{60};

// Before any thread is started, so that all of them inherit it.
void BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);  // nothing is reloaded
}

void WaitForSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  int number = 0;
  sigwait(&set, &number);
  log::Info("stopping on signal {}; containers go on", number);
}

Result<std::string> ProgramsDirectory() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return ErrnoErrorOf(error.value(), "reading /proc/self/exe");
  return self.parent_path().string();
}

// The engine's id: made once, kept for good.
Result<std::string> EngineId(const std::string& directory) {
  std::string path = directory + "/engine-id";
  Result<std::string> id = ReadFile(path, 256);
  if (id.ok() && !id->empty()) return id;
  std::string made = RandomHex(16);
  for (size_t dash : {20, 16, 12, 8}) made.insert(dash, 1, '-');
  TRY(ReplaceFile(path, made, 0600));
  return made;
}

Result<std::unique_ptr<engine::Supervisor>> RunContainerd(const Options& options,
                                                          const std::string& programs,
                                                          EventLoop& loop) {
  engine::SupervisedDaemon daemon;
  daemon.program = programs + "/gantry-containerd";
  daemon.pid_file = options.state + "/gantry-containerd.pid";
  daemon.arguments = {"--root",       options.root + "/containerd",
                      "--state",      options.state + "/containerd",
                      "--address",    options.state + "/containerd.sock",
                      "--pid-file",   daemon.pid_file,
                      "--log-level",  options.log_level,
                      "--log-format", options.log_format};
  return engine::Supervisor::Start(loop, std::move(daemon));
}

Result<> Run(const Options& options) {
  TRY(MakeDirectories(options.state, 0711));
  TRY(MakeDirectories(options.root + "/engine", 0700));
  PidFile pid_file = TRY(PidFile::Lock(options.pid_file));
  std::string programs = TRY(ProgramsDirectory());
  auto parked = TRY(wire::LoopThread::Start());
  std::unique_ptr<engine::Supervisor> supervisor;
  engine::EngineOptions wanted;
  wanted.root = options.root;
  wanted.state = options.state;
  wanted.programs_directory = programs;
  wanted.cgroup_parent = options.cgroup_parent;
  wanted.bridge = options.bridge;
  wanted.subnet = options.subnet;
  wanted.containerd_address = options.containerd;
  if (options.containerd.empty()) {
    supervisor = TRY(RunContainerd(options, programs, parked->loop()));
    wanted.containerd_address = options.state + "/containerd.sock";
  } else {
    // A foreign containerd knows our shim by its path only.
    wanted.runtime = programs + "/containerd-shim-gantry-v1";
  }
  auto events = TRY(engine::EventLog::Open(options.root + "/engine"));
  wanted.publish = [&events](const engine::Event& event) { events->Append(event); };
  std::unique_ptr<engine::Execs> execs;
  wanted.exec_event = [&execs](const client::TaskEvent& event) { execs->OnTaskEvent(event); };
  std::unique_ptr<engine::HealthMonitor> health;
  wanted.probe = [&health](const std::string& id, bool runs) {
    runs ? health->Begin(id) : health->End(id);
  };
  wire::WorkerPool workers(kMaxWorkers);
  auto engine = TRY(engine::Engine::Create(std::move(wanted), workers));
  execs = std::make_unique<engine::Execs>(*engine, parked->loop());
  health = std::make_unique<engine::HealthMonitor>(*engine, *execs, parked->loop());
  auto log_watcher = TRY(engine::LogWatcher::Create(parked->loop()));
  TRY(engine->Connect(kConnectBound));

  engine::api::ApiParts parts{*engine,
                              *events,
                              *execs,
                              *log_watcher,
                              workers,
                              parked->loop(),
                              TRY(EngineId(options.root + "/engine")),
                              options.root};
  auto server =
      TRY(wire::HttpServer::Create(workers, parked->loop(), [&parts](wire::Exchange& exchange) {
        engine::api::Serve(parts, exchange);
      }));
  for (const std::string& host : options.hosts) {
    TRY(server->Listen(host, options.group));
    log::Info("serving on {}", host);
    if (host.starts_with("tcp://")) {
      log::Warning("{}: whoever reaches it is root here; there is no authentication", host);
    }
  }
  WaitForSignal();
  server->Stop();
  engine->Shutdown();
  // Parked answers, relays and followers hold on to these parts from other threads: the process
  // ends without taking them apart. Everything on disk is committed.
  supervisor.reset();
  for (const std::string& host : options.hosts) {
    if (host.starts_with("unix://")) (void)::unlink(host.substr(7).c_str());
  }
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
  auto options = ParseOptions(arguments);
  if (!options.ok()) {
    fprintf(stderr, "gantryd: %s\n%s", options.error().message().c_str(), kUsage);
    return 2;
  }
  if (options->help) {
    fputs(kUsage, stdout);
    return 0;
  }
  if (options->version) {
    puts("gantryd " GANTRY_VERSION);
    return 0;
  }
  log::Configure("gantryd", options->Level(), options->Format());
  ::umask(0022);
  if (options->keep) {
    return RunKeeper(std::move(arguments));
  }
  BlockSignals();
  Result<> result = Run(*options);
  log::Failure("{}", result.error().message());
  // As above: threads may still use what would be destroyed.
  ::_exit(1);
}

}  // namespace
}  // namespace gantry::gantryd

int main(int argc, char** argv) { return gantry::gantryd::Main(argc, argv); }
