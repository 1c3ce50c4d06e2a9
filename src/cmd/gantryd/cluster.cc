// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/cluster.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <unistd.h>

#include <utility>

#include "base/number.h"
#include "base/text.h"
#include "etcd/client.h"

namespace gantry::gantryd {
namespace {

constexpr std::string_view kScheme = "etcd://";
constexpr int64_t kLeastLife = 5;  // seconds
constexpr int64_t kLongestLife = 24 * 60 * 60;
constexpr int64_t kLeastKeyLife = 5;
constexpr int64_t kLongestKeyLife = 30 * 24 * 60 * 60;

struct Store {
  etcd::Options etcd;
  overlay::HostOptions host;
};

// "etcd://HOST:PORT,HOST:PORT/PATH"
Result<> ReadStore(const std::string& text, Store* store) {
  if (!text.starts_with(kScheme)) {
    return InvalidArgument("\"cluster-store\" must be etcd://HOST:PORT[,HOST:PORT…][/PATH]: {}",
                           text);
  }
  std::string rest = text.substr(kScheme.size());
  size_t slash = std::min(rest.find('/'), rest.size());
  std::string path = rest.substr(slash);
  for (const std::string& member : Split(rest.substr(0, slash), ',')) {
    size_t colon = member.rfind(':');
    bool fine = colon != std::string::npos && colon > 0 &&
                ParseNumber<uint16_t>(member.substr(colon + 1)).has_value();
    if (!fine) return InvalidArgument("\"cluster-store\" names no HOST:PORT: '{}'", member);
    store->etcd.members.push_back(member);
  }
  while (path.ends_with('/')) path.pop_back();
  if (!path.empty()) store->host.prefix = path + store->host.prefix;
  return {};
}

Result<> ReadOptions(const std::map<std::string, std::string>& options, Store* store) {
  for (const auto& [name, value] : options) {
    if (name == "kv.cacertfile") {
      store->etcd.ca = value;
    } else if (name == "kv.certfile") {
      store->etcd.certificate = value;
    } else if (name == "kv.keyfile") {
      store->etcd.key = value;
    } else if (name == "kv.user") {
      store->etcd.user = value;
    } else if (name == "kv.password") {
      store->etcd.password = value;
    } else if (name == "kv.path") {
      store->host.prefix = "/" + std::string(Trim(value, "/")) + store->host.prefix;
    } else if (name == "discovery.ttl") {
      auto seconds = ParseNumber<int64_t>(value);
      if (!seconds || *seconds < kLeastLife || *seconds > kLongestLife) {
        return InvalidArgument("\"discovery.ttl\" must be {} to {} seconds: {}", kLeastLife,
                               kLongestLife, value);
      }
      store->host.lease = std::chrono::seconds(*seconds);
    } else if (name == "encryption.rotation") {
      auto seconds = ParseNumber<int64_t>(value);
      if (!seconds || *seconds < kLeastKeyLife || *seconds > kLongestKeyLife) {
        return InvalidArgument("\"encryption.rotation\" must be {} to {} seconds: {}",
                               kLeastKeyLife, kLongestKeyLife, value);
      }
      store->host.key_life = std::chrono::seconds(*seconds);
    } else {
      return InvalidArgument("\"cluster-store-opts\" has no {}", name);
    }
  }
  if (store->etcd.certificate.empty() != store->etcd.key.empty()) {
    return InvalidArgument("\"kv.certfile\" and \"kv.keyfile\" belong together");
  }
  return {};
}

Result<Store> Read(const ClusterOptions& options) {
  Store store;
  TRY(ReadStore(options.store, &store));
  TRY(ReadOptions(options.store_options, &store));
  if (options.advertise.empty()) {
    return InvalidArgument(
        "\"cluster-store\" needs \"cluster-advertise\": the address, or the interface, that other "
        "hosts reach this one at");
  }
  return store;
}

// "ADDRESS[:PORT]" or "INTERFACE[:PORT]"; the port meant something to dockerd alone.
Result<formats::Ipv4Address> AddressOf(const std::string& advertise) {
  std::string name = advertise.substr(0, advertise.find(':'));
  auto address = formats::Ipv4Address::Parse(name);
  if (address.ok()) return address;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) < 0) return ErrnoError("listing interfaces");
  std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(all, ::freeifaddrs);
  for (const ifaddrs* item = all; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr || item->ifa_addr->sa_family != AF_INET) continue;
    if (name != item->ifa_name) continue;
    const auto* in = reinterpret_cast<const sockaddr_in*>(item->ifa_addr);
    return formats::Ipv4Address{ntohl(in->sin_addr.s_addr)};
  }
  return InvalidArgument(
      "\"cluster-advertise\" is no IPv4 address and no interface that has one: {}", advertise);
}

std::string HostName() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

Result<> CheckCluster(const ClusterOptions& options) {
  if (options.store.empty()) return {};
  TRY(Read(options));
  return {};
}

Result<std::unique_ptr<overlay::Hosts>> MakeCluster(const ClusterOptions& options,
                                                    const std::string& engine_id) {
  if (options.store.empty()) return std::unique_ptr<overlay::Hosts>();
  Store store = TRY(Read(options));
  store.host.address = TRY(AddressOf(options.advertise));
  store.host.id = engine_id;
  store.host.name = HostName();
  return std::make_unique<overlay::Hosts>(store.host, TRY(etcd::Client::Create(store.etcd)));
}

}  // namespace gantry::gantryd
