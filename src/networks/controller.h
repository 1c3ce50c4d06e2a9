// SPDX-License-Identifier: Apache-2.0
//
// The inside of networks.h's Controller, for its own files: controller.cc (making, looking up),
// announce.cc, default_bridge.cc, default_network.cc, user_networks.cc, subnets.cc, bridge.cc,
// attach.cc, entries.cc, link.cc, sub_link.cc, cni.cc, plugin_driver.cc, plugin_ipam.cc,
// overlay.cc, rates.cc, lead.cc, linked.cc, resolver.cc, firewall_watch.cc, reconcile.cc.
//
// Locks: `mutex_` guards what is in memory and is never held across a system call that takes long.
// `operations_` is held shared by Attach and Detach, which so run side by side, and alone by
// what concerns whole networks (Reconcile, CreateNetwork, …), which so sees nothing half done.
#pragma once

#include <arpa/inet.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <set>
#include <shared_mutex>
#include <thread>

#include "base/event_loop.h"
#include "base/undo.h"
#include "kernel/nft_watch.h"
#include "networks/address_pool.h"
#include "networks/firewall.h"
#include "networks/firewall_view.h"
#include "networks/kernel_sockets.h"
#include "networks/namespace_pool.h"
#include "networks/networks.h"
#include "networks/proxy_client.h"

namespace gantry::networks {

// An address is given out again only after that.
constexpr auto kAddressRest = std::chrono::milliseconds(2000);

inline in_addr InAddr(formats::Ipv4Address address) { return {htonl(address.value)}; }
inline in6_addr InAddr6(const formats::Ipv6Address& address) {
  in6_addr out;
  std::memcpy(&out, address.bytes.data(), sizeof out);
  return out;
}
inline formats::Ipv6Address AddressOf6(const in6_addr& address) {
  formats::Ipv6Address out;
  std::memcpy(out.bytes.data(), &address, sizeof address);
  return out;
}

// Of a daemon without cluster-store.
Error NoCluster();
// UDP, of the tunnels of encrypted networks, which so are told from others' (encryption.cc).
constexpr uint16_t kEncryptedTunnelPort = 4793;

// PREFIX and the first number that no interface of these has.
std::string FreeInterface(const std::string& prefix, const std::vector<Endpoint>& endpoints);

class KernelController : public Controller {
 public:
  static Result<std::unique_ptr<KernelController>> Create(Options options);
  ~KernelController() override;

  Result<Network> EnsureDefaultBridge() override;
  Result<Endpoint> Attach(const AttachRequest& request) override;
  Result<Endpoint> AttachToExisting(const AttachRequest& request, BorrowedFd netns) override;
  Result<> Detach(const std::string& container_id) override;
  Result<> Disconnect(const std::string& container_id, std::string_view network) override;
  Result<Endpoint> SetPorts(const std::string& container_id, const std::vector<PortRequest>& ports,
                            const std::string& default_ip) override;
  Result<> SetRates(const std::string& container_id, const Rates& rates) override;
  Result<> SetReach(const std::string& container_id,
                    const std::vector<std::string>& others) override;
  Result<> LinkNamespace(const std::string& container_id, BorrowedFd netns) override;
  Result<> Rename(const std::string& container_id, const std::string& name) override;
  Result<Network> CreateNetwork(const NetworkRequest& request) override;
  Result<> RemoveNetwork(std::string_view id_or_name) override;
  Result<ReconcileReport> Reconcile() override;
  Result<> RepairFirewall() override;
  bool HasCluster() const override { return options_.cluster != nullptr; }
  std::vector<Network> ListNetworks() const override;
  Result<Network> InspectNetwork(std::string_view id_or_name) const override;
  std::vector<SubnetUse> UseOf(const std::string& network_id) const override;
  std::vector<Endpoint> ListEndpoints(std::string_view network_id) const override;
  std::vector<Endpoint> EndpointsOf(std::string_view container_id) const override;
  Result<> RemoveEverything() override;

 private:
  struct NetworkState {
    Network network;
    AddressPools addresses;  // of IPv4, where it has that
    std::optional<AddressPools6> addresses6;
    int bridge_index = 0;  // 0 until the bridge was made or adopted
    // Of overlay: its tunnel, 0 until it was made or adopted, and whom that was told of, by id;
    // unset: nobody has looked yet at what it knows.
    int tunnel_index = 0;
    std::optional<std::map<std::string, ClusterEndpoint>> neighbours;
    // Its plugin is just being told that it comes or goes.
    bool plugin_busy = false;
    // From an earlier daemon's record, of which its IPAM plugin wants to be told (plugin_ipam.cc).
    bool replay_due = false;
  };
  struct KernelState;  // what Reconcile found

  KernelController(Options options, std::unique_ptr<EventLoop> loop);
  Result<> LoadRecords();
  static AddressPools PoolsOf(const Network& network);
  static std::optional<AddressPools6> PoolsOf6(const Network& network);

  // default_network.cc
  Network RecordedDefault() const;
  Result<> WantedIpv4(Network* network);
  Result<> WantedIpv6(Network* network);
  Result<bool> HasForeignBridge(const Network& network);
  Result<> PresentAddress(Network* network);
  Result<> PresentAddress6(Network* network);
  Result<> FollowOptions(Network* network);
  Result<> ChangeBridge(const Network& before, const Network& after);

  // user_networks.cc
  Result<> ForgetNetwork(const Network& network);

  // default_bridge.cc
  Result<> DropDefault();
  Result<> RemoveRulesOf(const std::string& stack);
  Result<> AddNetwork(const Network& network);
  Result<> SetUp(const Network& network);
  // Those with a bridge: what the firewall is about.
  std::vector<Network> BridgedNetworks() const;

  // bridge.cc
  Result<int> EnsureBridge(const Network& network);
  static Result<> EnableForwarding();
  Result<> EnableForwarding6();

  // subnets.cc
  Result<std::vector<formats::Ipv4Prefix>> UsedSubnets();
  Result<std::vector<formats::Ipv6Prefix>> UsedSubnets6();
  Result<> ChooseIpv4(const NetworkRequest& request, Network* network);
  Result<> ChooseIpv6(const NetworkRequest& request, Network* network);
  Result<> ChooseMore(const NetworkRequest& request, Network* network);
  static void ShowChosen(const NetworkRequest& request, Network* network);

  // user_networks.cc
  Result<Network> NamedNetwork(const NetworkRequest& request) const;
  Result<> PlaceNetwork(const NetworkRequest& request, Network* network);

  // attach.cc
  Result<Endpoint> Reserve(const AttachRequest& request, int* bridge_index);
  static Result<> TakeAddresses(const AttachRequest& request, NetworkState* state,
                                Endpoint* endpoint);
  Result<formats::MacAddress> UsualMac(const Network& network);
  void Forget(const Endpoint& endpoint);
  Result<> Unpublish(const std::vector<Endpoint>& endpoints);
  Result<> PublishOnProxy(Endpoint* endpoint, const std::vector<PortRequest>& ports,
                          std::shared_lock<std::shared_mutex>* publishing);
  Result<> CheckSctp(const Endpoint& endpoint,
                     const std::vector<formats::ProxyListener>& listeners) const;
  static Result<> CheckPorts(const std::vector<PortRequest>& ports);
  // Those that say no address get one, if the network or the daemon has one for them.
  static void PlacePorts(const Network& network, const std::string& default_ip,
                         std::vector<PortRequest>* ports);
  static bool HostHasIpv6();
  // Which ports of an endpoint the proxy binds, and which are reached at its own addresses.
  struct PublishPlan {
    BoundFamilies bound;
    BoundFamilies routed;
  };
  Result<PublishPlan> PlanOf(const Endpoint& endpoint) const;
  Error NameHolder(const formats::ProxyFailure& failure,
                   const std::vector<formats::ProxyListener>& listeners) const;
  Result<Endpoint> Connect(const AttachRequest& request, BorrowedFd existing);
  Result<Endpoint> FindEndpoint(const std::string& container_id,
                                const std::string& network_id) const;
  Result<> EnsureProxy();
  Result<> TellProxy(const Endpoint& endpoint);

  // entries.cc
  Result<> BindEntry(BorrowedFd netns, const std::string& container_id);
  Result<> UnbindEntry(const std::string& container_id);
  Result<> MakeNetnsLink(const std::string& container_id);
  Result<> RemoveNetnsLink(const std::string& container_id);
  Result<> ReconcileNetnsLinks(ReconcileReport* report);

  // link.cc
  enum class Port { kFirst, kLast };
  Result<> JoinBridge(const std::function<Result<>(kernel::NetlinkSocket*)>& transact);
  Result<> CreateLink(const Endpoint& endpoint, int bridge_index, kernel::NetNamespace* netns,
                      Port port);
  Result<> FillInterface(const Endpoint& endpoint, kernel::NetNamespace* netns, Port port);
  Result<> DeleteLink(const std::string& name);

  // sub_link.cc
  Result<> ChooseParent(Network* network);
  Result<> EnsureParent(const Network& network);
  Result<> RemoveParent(const Network& network);
  Result<> CreateSubLink(const Network& network, const Endpoint& endpoint,
                         kernel::NetNamespace* netns);
  Result<> RemoveInterface(const Endpoint& endpoint);
  static Result<bool> HasSubLink(const Endpoint& endpoint, BorrowedFd fd);

  // cni.cc
  static Result<> ChooseCni(const NetworkRequest& request, Network* network);
  Result<> PlanCni(const AttachRequest& request, const Network& network, Endpoint* endpoint) const;
  Result<> AddByCni(Endpoint* endpoint, kernel::NetNamespace* netns);
  Result<> DeleteByCni(const Endpoint& endpoint);
  Result<bool> HasCniLink(const Endpoint& endpoint, BorrowedFd netns);
  Result<> CollectCni(ReconcileReport* report);

  // plugin_driver.cc
  Result<formats::Json> CallPlugin(const std::string& plugin, std::string_view kind,
                                   std::string_view method, const formats::Json& request) const;
  Result<Network> CreateWithPlugins(const NetworkRequest& request);
  Result<Network> AddWithPools(const NetworkRequest& request, const Network& pools);
  Result<> TellPluginOf(Network* network);
  void UndoNetwork(const Network& network);
  Result<> ForgetByPlugins(Network network);
  void FinishPluginNetworks(ReconcileReport* report);
  Result<> RememberNetwork(const Network& network, bool busy);
  Result<> AddByPlugin(Endpoint* endpoint, kernel::NetNamespace* netns);
  Result<> CreateAtPlugin(Endpoint* endpoint) const;
  Result<> TakePluginLink(const formats::Json& joined, const Endpoint& endpoint,
                          kernel::NetNamespace* netns);
  Result<> DeleteByPlugin(const Endpoint& endpoint) const;
  Result<> GiveLinkBack(const Endpoint& endpoint) const;

  // plugin_ipam.cc
  Result<formats::Json> CallIpam(const std::string& plugin, std::string_view method,
                                 const formats::Json& request);
  Result<> ReplayTo(const std::string& plugin);
  Result<> ReplayPools(const Network& network) const;
  Result<> RequestPools(NetworkRequest* request, Network* pools);
  Result<> ReleasePools(const Network& network);
  Result<> RequestAddresses(const Network& network, AttachRequest* request);
  Result<> ReleaseAddresses(const Endpoint& endpoint);

  // rates.cc
  Result<> LimitLink(const Endpoint& endpoint, kernel::NetNamespace* netns);
  Result<> FollowRates(const Endpoint& endpoint);
  Result<> ReconcileRates(ReconcileReport* report);

  // overlay.cc
  Result<Network> CreateOverlay(const NetworkRequest& request);
  Result<> AddShared(const Network& network);
  Result<> EnsureTunnel(const Network& network, int bridge_index);
  Result<uint32_t> TunnelMtu(bool encrypted) const;
  Result<> ClaimAddresses(const AttachRequest& request, Endpoint* endpoint);
  ClusterEndpoint ShownToCluster(const Endpoint& endpoint) const;
  bool IsOverlay(const std::string& network_id) const;
  bool IsShared(const std::string& network_id) const;
  void BeginCluster();
  void FollowCluster(const ClusterView& view);
  void FollowSharedNetworks(const ClusterView& view);
  Result<bool> FollowNeighbours(const std::string& network_id, const ClusterView& view);
  bool AwaitsCluster(const std::string& network_id) const;
  Result<> ForgetStrangers(int tunnel, const std::map<std::string, ClusterEndpoint>& wanted);
  std::vector<Endpoint> NamedElsewhere() const;
  bool WantsWayOut(const Endpoint& endpoint) const;
  bool NeedsWayOut(const Endpoint& endpoint) const;
  Result<> GiveWayOut(const AttachRequest& request, BorrowedFd netns);
  Result<> TakeWayOut(const std::string& container_id);
  Result<> DisconnectOne(const std::string& container_id, std::string_view network);

  // encryption.cc
  static Result<> CheckEncryption();
  Result<> EnsureEncryption();
  Result<> FollowKeys(const ClusterView& view);
  Result<> ForgetEncryption();

  // lead.cc
  enum class Family { kIpv4, kIpv6 };
  std::optional<Endpoint> GatewayOf(const std::string& container_id, Family family,
                                    std::string_view without) const;
  bool Leads(const Endpoint& endpoint) const;
  std::optional<Endpoint> LeaderOf(const std::string& container_id) const;
  std::optional<Endpoint> PublisherBeside(const Endpoint& endpoint) const;
  Result<> Remember(const Endpoint& endpoint);
  Result<> MovePorts(const Endpoint& from, const Endpoint& to);
  Result<> PublishAgain(Endpoint endpoint, std::vector<PublishedPort> ports);
  void AppendDefaultRoutes(const Endpoint& endpoint, int index, kernel::NetlinkBatch* batch,
                           std::string_view without = {}) const;
  Result<> SetDefaultRoutes(const std::string& container_id, std::string_view without = {});
  Result<> FollowLeader(const std::string& container_id, std::vector<PublishedPort> ports);

  // announce.cc
  void AnnounceLater(const Endpoint& endpoint);
  void Announce(const Endpoint& endpoint, int times, std::chrono::milliseconds interval);
  Result<> TellHost(const Endpoint& endpoint, int bridge_index);
  Result<> TellNeighbours(const Endpoint& endpoint, int bridge_index);

  // live_ports.cc
  Result<> FollowRouted(const Endpoint& leader, const std::vector<PortRequest>& ports);

  // linked.cc
  Result<> FollowLinks() EXCLUDES(linking_);
  Result<> ReconcileLinks() EXCLUDES(linking_);
  Result<> AnswerForLinked(const std::vector<Opening>& open);

  // resolver.cc
  bool HasNames(const std::string& container_id) const;
  Result<formats::ProxyRequest> ResolverRequest(const std::string& container_id) const;
  using ProxyCall = std::function<Result<std::vector<formats::ProxyReply>>()>;
  Result<std::vector<formats::ProxyReply>> CallOrStart(
      const ProxyCall& call, std::shared_lock<std::shared_mutex>* publishing);
  Result<> ReplaceProxy();
  Result<> PublishNames(const Endpoint& endpoint, ReadyNamespace* ready,
                        std::shared_lock<std::shared_mutex>* publishing);
  Result<> ForgetNames(const std::string& container_id, const std::vector<Endpoint>& gone,
                       bool all);
  Result<> TellNames(const std::string& container_id);
  Result<> TellEndpoints(const std::vector<Endpoint>& endpoints);
  Result<bool> LeadsToResolver(const std::string& container_id);
  Result<> ReconcileNames(ReconcileReport* report);
  Result<> DropFormerFirewall(ReconcileReport* report);

  // reconcile.cc
  Result<KernelState> LookAtKernel();
  Result<> ReconcileLeaders(ReconcileReport* report);
  Result<> ReconcileProxy(ReconcileReport* report);
  Result<> ReconcileEndpoints(const KernelState& state, ReconcileReport* report);
  Result<> RemoveStrangers(const KernelState& state, ReconcileReport* report);
  Result<bool> IsWhole(const Endpoint& endpoint, const KernelState& state, BorrowedFd netns);
  Result<> Reconnect(const Endpoint& endpoint);
  std::string NetnsDirectory() const { return options_.run_directory + "/netns"; }
  std::string NetnsPath(const std::string& container_id) const {
    return NetnsDirectory() + "/" + container_id;
  }

  // The background thread: it keeps the pool full, looks after interfaces that should be dying and
  // restarts a proxy that ended.
  void RefillLater();
  void CheckDeadLater(const std::string& link);
  Result<bool> DeleteDying();
  void ForgetConnectionsLater(const std::vector<Endpoint>& endpoints);
  void WatchProxy();
  void WatchFirewall();
  void RepairFirewallLater();
  void RestartProxy();

  const Options options_;
  KernelSockets route_sockets_{NETLINK_ROUTE};
  KernelSockets netfilter_sockets_{NETLINK_NETFILTER};
  const std::unique_ptr<Firewall> firewall_;
  ProxyClient proxy_;
  NamespacePool pool_;

  std::shared_mutex operations_;
  // Taken after operations_. Held shared while an endpoint's ports come or go, alone while a new
  // proxy is told of all: it can't be told of an endpoint that has just gone.
  std::shared_mutex publishing_;
  mutable Mutex mutex_;
  std::map<std::string, NetworkState> networks_ GUARDED_BY(mutex_);            // by id
  std::map<std::string, std::vector<Endpoint>> endpoints_ GUARDED_BY(mutex_);  // by container
  // Interfaces of the host whose namespace was dropped: the kernel takes them down in its own time.
  std::set<std::string> dying_ GUARDED_BY(mutex_);
  Mutex replaying_;  // taken before mutex_; who comes meanwhile waits until all is told
  bool watching_proxy_ GUARDED_BY(mutex_) = false;
  bool watching_firewall_ GUARDED_BY(mutex_) = false;
  bool proxy_wanted_ GUARDED_BY(mutex_) = true;  // false while RemoveEverything ends it

  // What links have opened; taken before mutex_. Held while the rules change, so that they follow
  // one state after the other.
  Mutex linking_;
  std::vector<Opening> open_ GUARDED_BY(linking_);
  std::atomic<bool> any_links_ = false;

  // False: the kernel has nothing of it. Of the cluster's thread, or with operations_ alone.
  bool encrypting_ = true;
  std::map<formats::Ipv4Address, TunnelKeys> followed_keys_;  // of the cluster's thread

  std::unique_ptr<EventLoop> loop_;
  // Of the loop's thread.
  bool refill_planned_ = false;
  UniqueFd proxy_watch_;
  std::optional<kernel::NftWatch> firewall_watch_;
  bool repair_planned_ = false;
  UniqueFd announcer_;  // opened with the first announcement
  std::thread thread_;
};

}  // namespace gantry::networks
