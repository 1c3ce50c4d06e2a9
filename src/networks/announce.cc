// SPDX-License-Identifier: Apache-2.0
//
// A container that has just come to a bridge: its neighbours, who may know its addresses as those
// of another one that had them before, are told whose they are now, as docker does from version 28
// on: three times, a second apart, unless the network's options say otherwise. From the background
// thread, which forgets it when the endpoint has gone.
#include <algorithm>

#include "base/log.h"
#include "base/number.h"
#include "kernel/announcement.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

constexpr int kUsualMessages = 3;
constexpr int kUsualInterval = 1000;  // ms

// The options were checked when the network was made.
int OptionOf(const Network& network, const char* key, int usual) {
  auto given = network.options.find(key);
  if (given == network.options.end()) return usual;
  return ParseNumber<int>(given->second).value_or(usual);
}

}  // namespace

void KernelController::AnnounceLater(const Endpoint& endpoint) {
  auto network = InspectNetwork(endpoint.network_id);
  if (!network.ok() || !endpoint.has_host_link()) return;
  int times = OptionOf(*network, kOptionAnnouncements, kUsualMessages);
  auto interval =
      std::chrono::milliseconds(OptionOf(*network, kOptionAnnounceInterval, kUsualInterval));
  if (times == 0) return;
  loop_->Post([this, endpoint, times, interval] { Announce(endpoint, times, interval); });
}

// In the loop's thread.
void KernelController::Announce(const Endpoint& endpoint, int times,
                                std::chrono::milliseconds interval) {
  auto still = FindEndpoint(endpoint.container_id, endpoint.network_id);
  if (!still.ok() || still->id != endpoint.id) return;
  int index = 0;
  bool icc = false;
  {
    MutexLock lock(mutex_);
    auto network = networks_.find(endpoint.network_id);
    if (network == networks_.end()) return;
    index = network->second.bridge_index;
    icc = network->second.network.icc;
  }
  if (index == 0) return;
  auto told = TellHost(endpoint, index);
  // Others can't use what they would learn, and between linked ones the host stands (linked.cc).
  if (told.ok() && icc) told = TellNeighbours(endpoint, index);
  if (!told.ok()) {
    return log::Warning("container '{}': {}", endpoint.container_id, told.error().message());
  }
  if (times == 1) return;
  loop_->After(interval,
               [this, endpoint, times, interval] { Announce(endpoint, times - 1, interval); });
}

Result<> KernelController::TellHost(const Endpoint& endpoint, int bridge_index) {
  auto socket = TRY(route_sockets_.Take());
  const kernel::HardwareAddress& mac = endpoint.mac.bytes;
  if (endpoint.has_ipv4()) {
    in_addr address = InAddr(endpoint.address);
    TRY(kernel::UpdateNeighbour(socket.get(), bridge_index, address, mac));
  }
  if (endpoint.address6) {
    in6_addr address = InAddr6(*endpoint.address6);
    TRY(kernel::UpdateNeighbour6(socket.get(), bridge_index, address, mac));
  }
  return {};
}

Result<> KernelController::TellNeighbours(const Endpoint& endpoint, int bridge_index) {
  if (!announcer_.valid()) announcer_ = TRY(kernel::OpenAnnouncer());
  const kernel::HardwareAddress& mac = endpoint.mac.bytes;
  if (endpoint.has_ipv4()) {
    std::string frame = kernel::AnnouncementFrame(InAddr(endpoint.address), mac);
    TRY(kernel::SendFrame(announcer_, bridge_index, frame));
  }
  if (endpoint.address6) {
    std::string frame = kernel::AnnouncementFrame6(InAddr6(*endpoint.address6), mac);
    TRY(kernel::SendFrame(announcer_, bridge_index, frame));
  }
  return {};
}

}  // namespace gantry::networks
