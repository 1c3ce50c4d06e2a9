// SPDX-License-Identifier: Apache-2.0
//
// gantry-registry: a registry of images over a directory, `gantry registry serve`
// (docs/registry.md).
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/log.h"
#include "base/notify.h"
#include "cmd/gantry-registry/options.h"
#include "distribution/daemon/daemon_store.h"
#include "distribution/directory_store.h"
#include "distribution/passwords.h"
#include "distribution/service.h"
#include "wire/http_server.h"
#include "wire/listener.h"
#include "wire/loop_thread.h"
#include "wire/tls.h"
#include "wire/worker_pool.h"

namespace gantry::distribution {
namespace {

constexpr int kUsageError = 2;
constexpr size_t kMaxWorkers = 64;

// Before any thread is started, so that all of them inherit it.
sigset_t BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return set;
}

void Notify(std::string_view state) {
  auto told = NotifyServiceManager(state);
  if (!told.ok()) log::Warning("{}", told.error().message());
}

Result<> Listen(const Options& options, wire::HttpServer* server, wire::TlsServer* tls) {
  wire::HttpServer::Wrapper wrap;
  if (tls != nullptr) {
    wrap = [tls](UniqueFd accepted) { return tls->Wrap(std::move(accepted)); };
  }
  for (const std::string& address : options.addresses) {
    bool local = address.starts_with("unix://");
    std::string url = local ? address : "tcp://" + address;
    UniqueFd listener = TRY_WITH(wire::OpenListener(url, ""), "listening on '{}'", address);
    TRY(server->Adopt(std::move(listener), local ? nullptr : wrap));
    log::Info("serving '{}' on {}{}", options.store ? options.containerd : options.root, address,
              tls && !local ? " with TLS" : "");
  }
  return {};
}

Result<> Run(const Options& options) {
  sigset_t signals = BlockSignals();
  std::unique_ptr<Passwords> passwords;
  if (!options.passwords.empty()) passwords = TRY(Passwords::Read(options.passwords));
  std::unique_ptr<wire::TlsServer> tls;
  if (!options.certificate.empty()) {
    tls =
        TRY(wire::TlsServer::Create({options.certificate, options.key, options.client_authority}));
  }
  std::unique_ptr<Store> store;
  if (options.store) {
    store = TRY(DaemonStore::Open(options.containerd, options.name_space));
  } else {
    store = TRY(DirectoryStore::Open(options.root));
  }
  Service service(store.get(),
                  {.read_only = options.read_only || (options.store && !options.writable),
                   .passwords = passwords.get(),
                   .anonymous_pull = options.anonymous_pull,
                   .sources = options.store});
  wire::WorkerPool workers(kMaxWorkers);
  auto parked = TRY(wire::LoopThread::Start());
  auto server = TRY(wire::HttpServer::Create(
      workers, parked->loop(), [&](wire::Exchange& exchange) { service.Handle(exchange); }));
  TRY(Listen(options, server.get(), tls.get()));
  Notify("READY=1\nSTATUS=serving");
  int signal = 0;
  sigwait(&signals, &signal);
  log::Info("stopping on signal {}", signal);
  Notify("STOPPING=1");
  server->Stop();
  return {};
}

int Main(int argc, char** argv) {
  auto options = ParseOptions(std::vector<std::string>(argv + 1, argv + argc));
  if (!options.ok()) {
    fprintf(stderr, "gantry-registry: %s\n", options.error().message().c_str());
    return kUsageError;
  }
  if (options->help || options->version) {
    fputs(options->help ? kUsage : "gantry-registry " GANTRY_VERSION "\n", stdout);
    return 0;
  }
  log::Configure("gantry-registry", log::Level::kInfo, log::Format::kText);
  ::umask(0022);
  auto result = Run(*options);
  if (!result.ok()) {
    log::Failure("{}", result.error().message());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace gantry::distribution

int main(int argc, char** argv) { return gantry::distribution::Main(argc, argv); }
