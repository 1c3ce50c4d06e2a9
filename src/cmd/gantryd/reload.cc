// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/reload.h"

#include <unistd.h>

#include <utility>

#include "base/log.h"
#include "base/notify.h"
#include "cmd/gantryd/settings_files.h"
#include "formats/json.h"
#include "registry/hosts.h"

namespace gantry::gantryd {
namespace {

using formats::Json;

void Notify(const std::string& state) {
  Result<> told = NotifyServiceManager(state);
  if (!told.ok()) log::Warning("{}", told.error().message());
}

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

Json RuntimesJson(const engine::Settings& settings) {
  Json out = Json::MakeObject(
      {{std::string(engine::kBuiltInRuntime), Json::MakeObject({{"path", "gantry-runtime"}})}});
  for (const auto& [name, runtime] : settings.runtimes) {
    Json entry = Json::MakeObject({{"path", runtime.path}});
    if (!runtime.arguments.empty()) entry.Set("runtimeArgs", runtime.arguments);
    out.Set(name, std::move(entry));
  }
  return out;
}

}  // namespace

Result<> PrepareSettings(Options* options) {
  TRY(WriteRegistryHosts(options->state, registry::kHostsDirectories, &options->settings));
  std::string& hosts = options->settings.registry_hosts_directory;
  if (options->containerd.empty() && !hosts.empty()) {
    // Our own container daemon takes a list: what is put there later counts from the next pull on.
    for (std::string_view directory : registry::kHostsDirectories) {
      hosts += fmt::format(":{}", directory);
    }
  }
  return WriteRuntimeScripts(options->root, &options->settings);
}

void Reloader::Reload() {
  log::Info("reading the configuration again");
  auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now().time_since_epoch());
  Notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", micros.count()));
  Result<> applied = Apply();
  if (!applied.ok()) log::Failure("nothing is reloaded: {}", applied.error().message());
  Notify("READY=1");
}

Result<> Reloader::Apply() {
  Options wanted = TRY(ParseOptions(arguments_));
  TRY(RemapUsers(&wanted));
  TRY(PrepareSettings(&wanted));
  for (const std::string& warning : wanted.warnings) log::Warning("{}", warning);
  for (const std::string& key : NeedRestart(present_, wanted)) {
    log::Warning("\"{}\" has changed: it holds from the next start on", key);
  }
  log::SetLevel(wanted.Level());
  engine_.SetSettings(wanted.settings);
  present_.settings = wanted.settings;
  present_.log_level = wanted.log_level;
  PublishReload(wanted.settings);
  // Somebody may have changed the rules of legacy iptables, which nobody tells of.
  TRY(engine_.networks().RepairFirewall());
  return {};
}

// The attributes are dockerd's.
void Reloader::PublishReload(const engine::Settings& settings) {
  engine::Event event;
  event.type = "daemon";
  event.action = "reload";
  event.actor_id = engine_id_;
  auto list = [](const std::vector<std::string>& items) { return Json(items).Dump(); };
  auto number = [](int64_t value) { return std::to_string(value); };
  event.attributes = {
      {"name", HostName()},
      {"debug", settings.debug ? "true" : "false"},
      {"labels", list(settings.labels)},
      {"live-restore", "true"},
      {"default-runtime", settings.default_runtime},
      {"runtimes", RuntimesJson(settings).Dump()},
      {"default-shm-size", number(settings.default_shm_size)},
      {"default-ipc-mode", settings.default_ipc_mode},
      {"default-cgroupns-mode", settings.default_cgroupns_mode},
      {"shutdown-timeout", number(settings.shutdown_timeout)},
      {"registry-mirrors", list(settings.registry_mirrors)},
      {"insecure-registries", list(settings.insecure_registries)},
      {"max-concurrent-downloads", number(settings.max_concurrent_downloads)},
      {"log-driver", settings.log.type},
      {"init", settings.init ? "true" : "false"},
  };
  engine_.Publish(std::move(event));
}

}  // namespace gantry::gantryd
