// SPDX-License-Identifier: Apache-2.0
//
// Controller: the networks of one stack on one host. It makes the default bridge, attaches
// containers to networks and takes them off again, publishes their ports (nftables for other hosts,
// gantry-proxy for loopback, bridge neighbours and IPv6), and after a restart adopts what it finds.
//
// The kernel is the truth about what is there, the records say what should be: an endpoint's record
// is committed before the kernel is touched and erased after it is clean (docs/netns-handover.md).
// The engine calls it. Any thread; Attach and Detach of different containers run side by side,
// calls for one container must not overlap. Everything happens in the network namespace that the
// calling process was in at Create().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "formats/ip_address.h"
#include "networks/cluster.h"
#include "networks/firewall_backend.h"
#include "networks/plugins.h"
#include "networks/records.h"
#include "networks/subnet_choice.h"

namespace gantry::networks {

// What the daemon is told of docker's "bridge" network. A recorded one follows at the next start,
// unless a container has an address of it (docs/networks.md).
struct DefaultNetworkOptions {
  // Unset: as recorded, or as the bridge has it; else the range; else the first of the pools' that
  // no address or route of the host overlaps.
  std::optional<formats::Ipv4Prefix> subnet;
  std::optional<formats::Ipv4Address> gateway;  // the bridge's own; unset: the first address
  std::optional<formats::Ipv4Prefix> ip_range;
  std::optional<formats::Ipv4Address> told_gateway;  // what containers are told; unset: the bridge
  bool ipv6 = false;
  // The same of IPv6.
  std::optional<formats::Ipv6Prefix> subnet6;
  std::optional<formats::Ipv6Address> gateway6;
  std::optional<formats::Ipv6Prefix> ip_range6;
  std::optional<formats::Ipv6Address> told_gateway6;
  bool icc = true;
  bool masquerade = true;
  std::string host_binding;  // where ports without an address are published; "": as for others
  uint32_t mtu = kDefaultMtu;
};

inline constexpr std::string_view kUsualBridge = "gantry0";
// docker's word for: no default network. Who asks for it has a loopback interface alone.
inline constexpr std::string_view kNoBridge = "none";

struct Options {
  std::string bridge{kUsualBridge};  // or kNoBridge
  DefaultNetworkOptions default_network;
  // Where subnets come from that nobody names.
  std::vector<SubnetPool> pools = DefaultSubnetPools();
  std::vector<SubnetPool6> pools6;
  std::string run_directory = "/run/gantry";  // netns/ID, proxy.sock, gantry-proxy.pid
  // Beside RUN/netns/ID a link ID in this directory (/run/netns: `ip netns exec ID …`); "": none.
  std::string netns_links;
  std::string proxy_binary;        // path of gantry-proxy
  RecordStore* records = nullptr;  // outlives the controller
  Cluster* cluster = nullptr;      // the same; without it there are no networks of several hosts
  Plugins* plugins = nullptr;      // the same; without them there are only drivers of our own
  size_t pool_size = 2;            // namespaces kept ready
  FirewallSetup firewall;
  bool enable_forwarding = true;  // turn on ip_forward, and its IPv6 equal for who has IPv6
};

// Of a network: how often a new container's addresses are announced to its neighbours (0 to 3), and
// after how many milliseconds again (announce.cc).
inline constexpr const char* kOptionAnnouncements = "com.docker.network.advertise_addr_nmsgs";
inline constexpr const char* kOptionAnnounceInterval = "com.docker.network.advertise_addr_ms";

// `-p [host_ip:][host_port[-last]:]container_port[/protocol]`.
struct PortRequest {
  std::string host_ip;           // "" is every address, both families
  uint16_t host_port_first = 0;  // 0: a free one of ip_local_port_range
  uint16_t host_port_last = 0;   // 0, or the last of the range to take one port from
  uint16_t container_port = 0;
  Protocol protocol = Protocol::kTcp;
};

struct AttachRequest {
  std::string container_id;
  std::string network;  // id or name; "" is the default bridge
  std::string hostname;
  std::optional<formats::Ipv4Address> address;
  std::optional<formats::Ipv6Address> address6;
  bool ipv6 = true;  // false: it has IPv6 off inside, and beside IPv4 gets no address of it
  std::vector<std::string> link_local;  // further addresses, checked
  std::vector<std::string> sysctls;     // "net.ipv4.conf.IFNAME.KEY=VALUE"
  std::optional<formats::MacAddress> mac;
  std::vector<PortRequest> ports;
  // Where ports go that say no address, if the network doesn't say either; "": everywhere.
  std::string default_ip;
  // "": the first of eth0, eth1, … (or the network's other prefix) that the container has not.
  std::string interface;
  // Of the container's networks the one with the highest gives the default route of its families;
  // internal ones never do (lead.cc).
  int32_t gateway_priority = 0;
  Rates rates;
  bool implicit = false;  // the controller's own: the way out beside overlay networks
  std::map<std::string, std::string> driver_options;  // for a driver that is a plugin
  // On users' networks (docs/resolver.md): what the container is called, its own name first; names
  // that it alone calls others by (alias → container); the servers that it asks outside, empty for
  // the host's.
  std::vector<std::string> names;
  std::map<std::string, std::string> links;
  std::vector<std::string> dns;
  // Where containers don't reach each other: whose exposed ports it reaches all the same (ids of
  // containers), and what it exposes itself.
  std::vector<std::string> reaches;
  std::vector<ExposedPort> exposes;
};

// `network create` of the drivers bridge, cni, ipvlan, macvlan and overlay, or of a plugin's name.
struct NetworkRequest {
  std::string name;
  std::string driver = "bridge";
  std::string ipam_driver;  // "": addresses of our own; "null": none; else a plugin's name
  std::string bridge;       // "": br- and the id's first twelve digits
  // As networks have them (records.h); a parent "" is none that leads anywhere.
  std::string parent;
  std::string parent_mode;
  std::string parent_layer;
  std::string cni_config;  // of cni: its text (cni_config.h)
  std::vector<std::string> cni_path;
  uint32_t vni = 0;  // of overlay; 0: the first free one
  bool encrypted = false;
  bool ipv4 = true;
  bool ipv6 = false;
  // Unset: as for the default bridge.
  std::optional<formats::Ipv4Prefix> subnet;
  std::optional<uint8_t> subnet_length;         // without `subnet`: one of that size
  std::optional<formats::Ipv4Address> gateway;  // unset: the range's first address
  std::optional<formats::Ipv4Prefix> ip_range;
  std::map<std::string, formats::Ipv4Address> auxiliary;  // by a name of the user's
  std::optional<formats::Ipv6Prefix> subnet6;
  std::optional<uint8_t> subnet_length6;
  std::optional<formats::Ipv6Address> gateway6;
  std::optional<formats::Ipv6Prefix> ip_range6;
  std::map<std::string, formats::Ipv6Address> auxiliary6;
  // Of networks without a bridge.
  std::vector<Subnet> more;
  std::vector<Subnet6> more6;
  GatewayMode mode4 = GatewayMode::kNat;
  GatewayMode mode6 = GatewayMode::kNat;
  std::vector<std::string> trusted_interfaces;
  std::optional<formats::Ipv4Address> host_ipv4;
  std::optional<formats::Ipv6Address> host_ipv6;
  bool inhibit_ipv4 = false;
  bool default_bridge = false;  // of a bridge that is there already
  std::string interface_prefix = "eth";
  // The settings alone, for others to be made from; nothing of it is looked at here.
  bool config_only = false;
  std::string config_from;
  std::vector<IpamConfig> ipam;  // as the user wrote it
  std::map<std::string, std::string> ipam_options;
  uint32_t mtu = kDefaultMtu;  // 0: that, or of overlay what a tunnel carries
  bool internal = false;
  bool icc = true;
  bool masquerade = true;
  bool attachable = false;
  std::string host_binding;  // "": as the request of each container says
  std::map<std::string, std::string> options;
  std::map<std::string, std::string> labels;
};

// How full a subnet is.
struct SubnetUse {
  std::string subnet;
  uint64_t in_use = 0;     // containers', gateway's, auxiliary ones, network's and broadcast
  uint64_t available = 0;  // for who asks for none in particular
};

struct ReconcileReport {
  // Endpoints whose namespace is gone (the host was restarted, somebody unmounted it): taken off,
  // records erased. The engine decides what becomes of their containers.
  std::vector<Endpoint> lost;
  // One line for each thing that was repaired or removed, for the log.
  std::vector<std::string> changes;
};

class Controller {
 public:
  // Reads the records, opens its netlink sockets, starts the thread that keeps namespaces ready.
  // The kernel and the proxy are not touched yet.
  static Result<std::unique_ptr<Controller>> Create(Options options);
  // Stops the thread and drops the pool; bridges, endpoints and gantry-proxy stay.
  virtual ~Controller() = default;

  // Makes or adopts the bridge, its address, the nft table; turns on ip_forward. Call it once
  // before the others; calling it again repairs what somebody removed. With kNoBridge it takes the
  // default network of before away, unless a container has an address of it, and returns an empty
  // one.
  virtual Result<Network> EnsureDefaultBridge() = 0;

  // Order A: makes a namespace, bound at RUN/netns/CONTAINER_ID, and connects it. On an error
  // nothing is left behind. A port that is taken: kAlreadyExists with docker's message,
  // "Bind for 0.0.0.0:80 failed: port is already allocated".
  virtual Result<Endpoint> Attach(const AttachRequest& request) = 0;
  // Order B, and every further network of a container: the namespace exists; it is bound at
  // RUN/netns/CONTAINER_ID unless it is there already.
  virtual Result<Endpoint> AttachToExisting(const AttachRequest& request, BorrowedFd netns) = 0;

  // Takes a container off all its networks and drops its namespace. When it returns, ports and
  // record are free; the kernel takes the interfaces down in its own time, and the address is given
  // out again only after that. Nothing attached: no error.
  virtual Result<> Detach(const std::string& container_id) = 0;
  // Takes a running container off one network (AttachToExisting puts it on one); its namespace
  // stays, its entry goes with the last network. Default route and published ports move to another
  // of its networks. Not attached to it: kNotFound.
  virtual Result<> Disconnect(const std::string& container_id, std::string_view network) = 0;

  // From now on the running container publishes exactly these ports: what is published and fits
  // stays, with its connections; the rest goes, what is missing comes, at `default_ip` where
  // neither wish nor network say an address. All of it or nothing. kFailedPrecondition: it is on no
  // network that ports are published on.
  virtual Result<Endpoint> SetPorts(const std::string& container_id,
                                    const std::vector<PortRequest>& ports,
                                    const std::string& default_ip) = 0;

  // From now on the running container sends and receives so fast on each of its networks: all of
  // them or none. On no network: no error.
  virtual Result<> SetRates(const std::string& container_id, const Rates& rates) = 0;

  // From now on the running container reaches the exposed ports of exactly these others (by id)
  // where containers don't reach each other. On no such network: no error.
  virtual Result<> SetReach(const std::string& container_id,
                            const std::vector<std::string>& others) = 0;

  // Where links are wanted (Options::netns_links): an entry and a link for the namespace of a
  // container that is on no network. Detach takes them away.
  virtual Result<> LinkNamespace(const std::string& container_id, BorrowedFd netns) = 0;

  // The container is called so from now on.
  virtual Result<> Rename(const std::string& container_id, const std::string& name) = 0;

  // A further bridge; containers on different bridges don't reach each other. kAlreadyExists for a
  // name, kPermissionDenied for a subnet that overlaps another network's, as docker answers.
  virtual Result<Network> CreateNetwork(const NetworkRequest& request) = 0;
  // kPermissionDenied for the default bridge and while containers are attached.
  virtual Result<> RemoveNetwork(std::string_view id_or_name) = 0;

  // Compares the records with RUN/netns, the bridges' ports, the nft table and the proxy; adopts
  // what fits, repairs what is missing, removes what is ours and no record names. Never flushes.
  virtual Result<ReconcileReport> Reconcile() = 0;
  // The firewall's part of it.
  virtual Result<> RepairFirewall() = 0;

  // There may be networks that several hosts share.
  virtual bool HasCluster() const = 0;
  virtual std::vector<Network> ListNetworks() const = 0;
  // By id, unique prefix of an id, or name. kNotFound: "network NAME not found".
  virtual Result<Network> InspectNetwork(std::string_view id_or_name) const = 0;
  // Of a network whose addresses are given out here; else none.
  virtual std::vector<SubnetUse> UseOf(const std::string& network_id) const = 0;
  // Of one network ("": of all), by container id.
  virtual std::vector<Endpoint> ListEndpoints(std::string_view network_id = {}) const = 0;
  // A container's endpoints; none is an empty list.
  virtual std::vector<Endpoint> EndpointsOf(std::string_view container_id) const = 0;

  // Ends gantry-proxy and removes the bridges and the nft table of this stack, for `dev down`.
  // Endpoints must be detached before.
  virtual Result<> RemoveEverything() = 0;
};

}  // namespace gantry::networks
