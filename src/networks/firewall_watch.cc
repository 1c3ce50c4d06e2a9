// SPDX-License-Identifier: Apache-2.0
//
// Somebody else changes the host's rules: dockerd starts and sets a policy, ufw is enabled,
// nftables is restarted and flushes everything. The background thread hears of it and makes our
// rules right.
#include "base/log.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

// Who changes rules makes many changes.
constexpr auto kFirewallPause = std::chrono::milliseconds(200);

}  // namespace

Result<> KernelController::RepairFirewall() {
  std::unique_lock<std::shared_mutex> alone(operations_);
  for (const std::string& change : TRY(firewall_->Repair(BridgedNetworks(), ListEndpoints({})))) {
    log::Info("networks: {}", change);
  }
  return {};
}

void KernelController::WatchFirewall() {
  {
    MutexLock lock(mutex_);
    if (!firewall_->has_rules() || std::exchange(watching_firewall_, true)) return;
  }
  loop_->Post([this] {
    auto opened = kernel::NftWatch::Open();
    if (!opened.ok()) return log::Warning("{}", opened.error().message());
    firewall_watch_ = std::move(opened).value();
    auto watched = loop_->Watch(firewall_watch_->fd(), EPOLLIN, [this](uint32_t) {
      auto changed = firewall_watch_->Changed([this](std::string_view table) {
        return table == "filter" || table == "nat" || table == "gantry-" + options_.bridge;
      });
      if (!changed.ok()) {
        log::Failure("{}", changed.error().message());
        loop_->Unwatch(firewall_watch_->fd());
      } else if (*changed) {
        RepairFirewallLater();
      }
    });
    if (!watched.ok()) log::Failure("{}", watched.error().message());
  });
}

// In the loop's thread.
void KernelController::RepairFirewallLater() {
  if (std::exchange(repair_planned_, true)) return;
  loop_->After(kFirewallPause, [this] {
    repair_planned_ = false;
    {
      MutexLock lock(mutex_);
      if (!proxy_wanted_) return;  // RemoveEverything took the rules away
    }
    auto repaired = RepairFirewall();
    if (!repaired.ok()) log::Failure("repairing the firewall: {}", repaired.error().message());
  });
}

}  // namespace gantry::networks
