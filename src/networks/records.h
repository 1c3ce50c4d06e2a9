// SPDX-License-Identifier: Apache-2.0
//
// What is written down about networks and endpoints, and the store that keeps it. The engine keeps
// the records in its database; tests keep them in memory. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "formats/ip_address.h"

namespace gantry::networks {

enum class Protocol : uint8_t { kTcp, kUdp, kSctp };
std::string_view ProtocolName(Protocol protocol);  // "tcp", "udp", "sctp"
// kInvalidArgument for anything else; "" is tcp.
Result<Protocol> ParseProtocol(std::string_view name);

// A port that works: what `docker port` shows. `host_ip` is as the user said it; "" was said as
// nothing and is published as two entries, "0.0.0.0" and, where the host has IPv6, "::".
struct PublishedPort {
  std::string host_ip;
  uint16_t host_port = 0;
  uint16_t container_port = 0;
  Protocol protocol = Protocol::kTcp;
  bool operator==(const PublishedPort&) const = default;
};

// A port that a container listens at, published or not.
struct ExposedPort {
  uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const ExposedPort&) const = default;
};

// One entry of `IPAM.Config` as the user wrote it: inspect shows it back.
struct IpamConfig {
  std::string subnet;
  std::string ip_range;
  std::string gateway;
  std::map<std::string, std::string> auxiliary;
  bool operator==(const IpamConfig&) const = default;
};

// How a network of one family meets the world (docs/networks.md).
enum class GatewayMode : uint8_t {
  kNat,             // masqueraded; only published ports are reached, at the host's addresses
  kNatUnprotected,  // masqueraded; every port is reached at the container's address
  kRouted,          // containers' own addresses outside; published ports are reached there
  kIsolated,        // internal networks alone: the bridge has no address of this family
};
std::string_view GatewayModeName(GatewayMode mode);  // "nat", "nat-unprotected", …
// kInvalidArgument, in docker's words.
Result<GatewayMode> ParseGatewayMode(std::string_view name);

// A further subnet of a network without a bridge. Its addresses are taken when those of the ones
// before are.
template <typename Prefix>
struct BasicSubnet {
  using Address = decltype(Prefix::network);
  Prefix subnet;
  std::optional<Address> gateway;
  std::optional<Prefix> ip_range;
  std::vector<Address> auxiliary;
  bool operator==(const BasicSubnet&) const = default;
};
using Subnet = BasicSubnet<formats::Ipv4Prefix>;
using Subnet6 = BasicSubnet<formats::Ipv6Prefix>;

inline constexpr uint32_t kDefaultMtu = 1500;

// All others are plugins' names.
bool IsBuiltInDriver(std::string_view driver);
// The IPAM driver that has no addresses.
inline constexpr std::string_view kNoIpam = "null";

struct Network {
  std::string id;  // 64 hexadecimal digits
  std::string name;
  std::string driver = "bridge";
  std::string bridge;  // the interface's name, at most 15 characters; "" of other drivers
  // Of macvlan and ipvlan (sub_link.cc): the host's interface that containers' ones stand on,
  // whether it was made for networks, and what passes between them: "bridge", "private", "vepa",
  // "passthru". Of ipvlan also what the kernel does with packets: "l2", "l3", "l3s".
  std::string parent;
  bool parent_made = false;
  std::string parent_mode;
  std::string parent_layer;
  // Of cni (cni.cc): the configuration's text, and where its plugins are.
  std::string cni_config;
  std::vector<std::string> cni_path;
  // Of a driver that is a plugin (plugin_driver.cc): that it was told of the network.
  bool plugin_made = false;
  // Who gives out addresses (plugin_ipam.cc): "" the controller, "null" nobody, else a plugin, and
  // how that calls its pools.
  std::string ipam_driver;
  std::string pool;
  std::string pool6;
  bool ipam_wants_mac = false;
  bool ipam_wants_replay = false;  // it keeps nothing, and is told again after a restart
  // Of overlay (overlay.cc): the number that its tunnels are known by on all hosts.
  uint32_t vni = 0;
  bool encrypted = false;
  bool ipv4 = true;  // without it `subnet` and `gateway` mean nothing
  formats::Ipv4Prefix subnet;
  formats::Ipv4Address gateway;
  // Addresses are taken from here; the whole subnet when unset.
  std::optional<formats::Ipv4Prefix> ip_range;
  std::vector<formats::Ipv4Address> auxiliary;  // never given out
  // The same of IPv6; a network without `subnet6` has none, and always has both or neither.
  std::optional<formats::Ipv6Prefix> subnet6;
  std::optional<formats::Ipv6Address> gateway6;
  std::optional<formats::Ipv6Prefix> ip_range6;
  std::vector<formats::Ipv6Address> auxiliary6;
  std::vector<Subnet> more;
  std::vector<Subnet6> more6;
  GatewayMode mode4 = GatewayMode::kNat;
  GatewayMode mode6 = GatewayMode::kNat;
  // Interfaces of the host from which published ports are reached at containers' own addresses.
  std::vector<std::string> trusted_interfaces;
  // Instead of masquerading: packets leave with these addresses.
  std::optional<formats::Ipv4Address> host_ipv4;
  std::optional<formats::Ipv6Address> host_ipv6;
  bool inhibit_ipv4 = false;             // the bridge gets no IPv4 address
  std::string interface_prefix = "eth";  // of interfaces' names inside
  // A set of settings that other networks are made from: no bridge, no addresses of its own.
  bool config_only = false;
  bool wants_ipv6 = false;       // of such a set: who is made from it has IPv6
  std::string config_from;       // the name of the one it was made from
  std::vector<IpamConfig> ipam;  // empty: the subnets were chosen here
  std::map<std::string, std::string> ipam_options;
  uint32_t mtu = kDefaultMtu;
  bool internal = false;    // no way out, no way in
  bool icc = true;          // containers reach each other
  bool masquerade = true;   // outgoing packets get the host's address
  bool is_default = false;  // docker's "bridge"
  bool attachable = false;  // only shown
  // The bridge was there before the network; it stays when the network goes.
  bool foreign_bridge = false;
  std::string host_binding;  // where ports without an address are published; "": nobody said
  std::map<std::string, std::string> options;
  std::map<std::string, std::string> labels;
  WallTime created{};

  bool is_cni() const { return driver == "cni" && !config_only; }
  bool is_ipvlan() const { return driver == "ipvlan" && !config_only; }
  bool is_routed_by_parent() const { return is_ipvlan() && parent_layer != "l2"; }
  bool is_overlay() const { return driver == "overlay" && !config_only; }
  bool is_plugin() const { return !config_only && !IsBuiltInDriver(driver); }
  bool has_ipam_plugin() const {
    return !config_only && !ipam_driver.empty() && ipam_driver != kNoIpam;
  }
  bool has_ipv4() const { return ipv4 && !config_only && !is_cni() && ipam_driver != kNoIpam; }
  bool has_bridge() const { return (driver == "bridge" && !config_only) || is_overlay(); }
  // Nothing leaves its bridge: containers of an overlay that is not internal leave by another.
  bool closed() const { return internal || is_overlay(); }
  bool operator==(const Network&) const = default;
};

// Its subnets by family, the first as one of many; of a network that has the family.
Subnet FirstSubnet(const Network& network);
Subnet6 FirstSubnet6(const Network& network);
// All of them; none without the family.
std::vector<Subnet> SubnetsOf(const Network& network);
std::vector<Subnet6> SubnetsOf6(const Network& network);

inline constexpr std::string_view kPassthru = "passthru";
// The interface that an overlay's packets leave by.
std::string TunnelName(const Network& network);
// What a network stands on whose user names no parent: nothing leads out of it.
std::string DummyParent(const Network& network);

// How fast an interface sends and receives, in bits per second (rates.cc); zeros: as fast as it
// can.
struct Rates {
  uint64_t rate = 0;  // for long
  uint64_t ceil = 0;  // for a moment after a quiet one; not below `rate`
  bool limited() const { return rate != 0; }
  bool operator==(const Rates&) const = default;
};

struct Endpoint {
  std::string id;  // 64 hexadecimal digits
  std::string container_id;
  std::string network_id;
  std::string network_name;
  std::string hostname;
  formats::Ipv4Address address;
  uint8_t prefix_length = 0;  // 0: of a network without IPv4, no address and no gateway
  formats::Ipv4Address gateway;
  std::optional<formats::Ipv6Address> address6;
  uint8_t prefix_length6 = 0;
  std::optional<formats::Ipv6Address> gateway6;
  bool by_device = false;  // its default routes lead to the interface itself, to no gateway
  std::vector<std::string> link_local;  // further addresses, of both families, as the user said
  bool internal = false;                // of a closed network: no default route, no published ports
  bool implicit = false;                // nobody asked for it: the way out beside overlay networks
  formats::MacAddress mac;
  std::string host_link;   // the veth's end in the bridge; "" on networks without one
  std::string interface;   // its name inside, "eth0"
  std::string netns_path;  // RUN/netns/ID: docker's SandboxKey
  int32_t gateway_priority = 0;
  // On a user's network: its names are answered there, and it asks 127.0.0.11.
  bool named = false;
  std::vector<std::string> names;            // the container's own first
  std::map<std::string, std::string> links;  // of this container alone: alias → container
  std::vector<std::string> dns;              // servers that its resolver asks; empty: the host's
  // Where containers don't reach each other (the default network with icc off; linked.cc): the ids
  // of those whose exposed ports it reaches all the same, and what it exposes itself.
  std::vector<std::string> reaches;
  std::vector<ExposedPort> exposes;
  std::vector<PublishedPort> ports;
  // Where another network leads and has the ports, this one being of mode routed: they are reached
  // at the addresses here, too.
  std::vector<PublishedPort> routed_ports;
  Rates rates;
  // Of a network of the driver cni: what its plugins were told and answered (cni_config.h), and the
  // ports that they publish.
  std::string cni_runtime;  // never empty there
  std::string cni_result;   // "": no ADD has succeeded yet
  std::vector<PublishedPort> cni_ports;
  // Of a network whose driver is a plugin: the options that it was told (a JSON object, never empty
  // there), what its interface was called on the host, to which it goes back ("": it has not come
  // yet), and that the container leaves by another one.
  std::string plugin_options;
  std::string plugin_link;
  bool wants_way_out = false;
  // Of its interface inside: "net.ipv4.conf.IFNAME.log_martians=1", … (docs/networks.md).
  std::vector<std::string> sysctls;

  bool has_ipv4() const { return prefix_length != 0; }
  bool has_host_link() const { return !host_link.empty(); }
  bool is_cni() const { return !cni_runtime.empty(); }
  bool is_plugin() const { return !plugin_options.empty(); }
  std::vector<PublishedPort> AllPorts() const;
  bool operator==(const Endpoint&) const = default;
};

// The forms in which the engine may store them. Decoding checks every field; what an earlier
// release did not write is as it was then.
std::string EncodeNetwork(const Network& network);
Result<Network> DecodeNetwork(std::string_view json);
std::string EncodeEndpoint(const Endpoint& endpoint);
Result<Endpoint> DecodeEndpoint(std::string_view json);

// Called by Controller from any thread, several at once, never with one of its locks held.
class RecordStore {
 public:
  virtual ~RecordStore() = default;
  // Inserts, or replaces the record of the same container and network. Committed on return: the
  // kernel is touched after it.
  virtual Result<> PutEndpoint(const Endpoint& endpoint) = 0;
  // No such record: no error.
  virtual Result<> EraseEndpoint(const std::string& container_id,
                                 const std::string& network_id) = 0;
  virtual Result<std::vector<Endpoint>> ListEndpoints() = 0;
  virtual Result<> PutNetwork(const Network& network) = 0;
  virtual Result<> EraseNetwork(const std::string& network_id) = 0;
  virtual Result<std::vector<Network>> ListNetworks() = 0;
};

// For tests and programs that keep nothing.
std::unique_ptr<RecordStore> MakeMemoryRecordStore();

}  // namespace gantry::networks
