// SPDX-License-Identifier: Apache-2.0
//
// POST /containers/{id}/update: limits, restart policy, rates and published ports of a container,
// running or not. For limits the kernel is asked first, so that the record never promises what was
// refused.
#include <algorithm>
#include <type_traits>

#include "base/log.h"
#include "engine/config_checks.h"
#include "engine/engine.h"
#include "engine/net_rates.h"
#include "engine/oci_spec.h"
#include "engine/port_bindings.h"
#include "engine/store.h"

namespace gantry::engine {
namespace {

constexpr int64_t kUnlimitedPids = -1;

Error Conflicting(std::string_view what) {
  return MakeError(ErrorKind::kAborted, "Conflicting options: {}", what);
}

// A limit by --cpus is a quota with a period: the two ways exclude each other.
Result<> CheckCpuLimits(const HostConfig& asked, const HostConfig& host) {
  if (asked.nano_cpus > 0 && host.cpu_period > 0) {
    return Conflicting("Nano CPUs cannot be updated as CPU Period has already been set");
  }
  if (asked.nano_cpus > 0 && host.cpu_quota > 0) {
    return Conflicting("Nano CPUs cannot be updated as CPU Quota has already been set");
  }
  if (asked.cpu_period > 0 && host.nano_cpus > 0) {
    return Conflicting("CPU Period cannot be updated as NanoCPUs has already been set");
  }
  if (asked.cpu_quota > 0 && host.nano_cpus > 0) {
    return Conflicting("CPU Quota cannot be updated as NanoCPUs has already been set");
  }
  return {};
}

}  // namespace

Result<> MergeUpdate(const HostConfig& asked, HostConfig* host) {
  TRY(CheckCpuLimits(asked, *host));
  if (asked.memory != 0 && asked.memory_swap == 0 && asked.memory > host->memory_swap) {
    return MakeError(
        ErrorKind::kAborted,
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap "
        "at the same time");
  }
  const std::string& policy = asked.restart_policy.name;
  if (host->auto_remove && !policy.empty() && policy != "no") {
    return MakeError(
        ErrorKind::kAborted,
        "Restart policy cannot be updated because AutoRemove is enabled for the container");
  }
  auto take = [](auto* target, const auto& value) {
    if (value != std::remove_cvref_t<decltype(value)>{}) *target = value;
  };
  auto take_list = [](auto* target, const auto& list) {
    if (!list.empty()) *target = list;
  };
  take(&host->cpu_shares, asked.cpu_shares);
  take(&host->memory, asked.memory);
  take(&host->nano_cpus, asked.nano_cpus);
  take(&host->blkio_weight, asked.blkio_weight);
  take_list(&host->blkio_weight_device, asked.blkio_weight_device);
  take_list(&host->blkio_device_read_bps, asked.blkio_device_read_bps);
  take_list(&host->blkio_device_write_bps, asked.blkio_device_write_bps);
  take_list(&host->blkio_device_read_iops, asked.blkio_device_read_iops);
  take_list(&host->blkio_device_write_iops, asked.blkio_device_write_iops);
  take(&host->cpu_period, asked.cpu_period);
  take(&host->cpu_quota, asked.cpu_quota);
  take(&host->cpu_realtime_period, asked.cpu_realtime_period);
  take(&host->cpu_realtime_runtime, asked.cpu_realtime_runtime);
  take(&host->cpuset_cpus, asked.cpuset_cpus);
  take(&host->cpuset_mems, asked.cpuset_mems);
  take(&host->memory_reservation, asked.memory_reservation);
  take(&host->memory_swap, asked.memory_swap);
  MergeNetRates(asked, host);
  // Zero and less take a limit away.
  if (asked.pids_limit) host->pids_limit = std::max<int64_t>(*asked.pids_limit, 0);
  if (!policy.empty()) host->restart_policy = asked.restart_policy;
  return {};
}

Result<std::vector<std::string>> Engine::Update(std::string_view reference,
                                                const formats::Json& body) {
  HostConfig asked = TRY(ParseUpdate(body));
  if (asked.pids_limit && *asked.pids_limit <= 0) asked.pids_limit = kUnlimitedPids;
  Warnings warnings = TRY(CheckUpdate(Facts(), &asked));
  auto container = TRY(Find(reference));
  auto turn = TRY(container->TakeTurn());
  Container::RecordPointer record = container->record();
  auto cannot = [&](const Error& error) {
    return Error(error).AddContext(fmt::format("Cannot update container {}", record->id));
  };
  if (record->state.phase == Phase::kRemoving || record->state.phase == Phase::kDead) {
    return cannot(
        MakeError(ErrorKind::kAborted, "container is marked for removal and cannot be \"update\""));
  }
  HostConfig host = record->host;
  Result<> merged = MergeUpdate(asked, &host);
  if (!merged.ok()) return cannot(merged.error());
  Result<> rates = CheckNetRates(host);
  if (!rates.ok()) return cannot(rates.error());
  Result<bool> ports = ChangePortBindings(body, &host);
  if (!ports.ok()) return cannot(ports.error());
  Result<std::vector<networks::PortRequest>> requests = ParsePortBindings(record->config, host);
  if (!requests.ok()) return cannot(requests.error());
  if (*ports && (host.network_mode == "host" || host.network_mode == "none" ||
                 host.network_mode.starts_with("container:"))) {
    return cannot(InvalidArgument("conflicting options: port publishing and the {} network mode",
                                  host.network_mode));
  }
  if (record->state.IsAlive()) {
    Result<oci::Resources> resources = MakeResources(asked);
    if (!resources.ok()) return cannot(resources.error());
    Result<> changed = containerd_->Update(record->id, oci::ToJson(*resources).Dump());
    if (!changed.ok()) return cannot(changed.error());
  }
  container->Update([&](ContainerRecord& changed) { changed.host = host; });
  Event event = ContainerEvent("update", *container->record());
  TRY(Save(*container, &event));
  // The record first: after a crash rates and ports of a running container are made what it says.
  auto follow = [&]() -> Result<> {
    TRY(networks_->SetRates(record->id, RatesOf(host)));
    if (!*ports) return {};
    auto set = networks_->SetPorts(record->id, *requests, settings()->port_address);
    if (set.ok()) return {};
    Result<> undone = networks_->SetRates(record->id, RatesOf(record->host));
    if (!undone.ok()) log::Warning("container {}: {}", record->id, undone.error().message());
    return std::move(set).error();
  };
  Result<> followed = record->state.IsAlive() ? follow() : Result<>();
  if (!followed.ok()) {
    container->Update([&](ContainerRecord& changed) {
      changed.host.port_bindings = record->host.port_bindings;
      changed.host.net_rate = record->host.net_rate;
      changed.host.net_ceil = record->host.net_ceil;
    });
    store_->untold().Done(event);
    TRY(Save(*container));
    return cannot(followed.error());
  }
  Publish(std::move(event));
  return warnings;
}

}  // namespace gantry::engine
