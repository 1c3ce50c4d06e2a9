// SPDX-License-Identifier: Apache-2.0
//
// Overlay networks whose packets are encrypted between hosts. Their tunnels use a port of their
// own, so that the kernel's policies alone (kernel/ipsec.h) keep plain packets from leaving and
// from coming in, whatever the host's firewall is. Each host has keys for what it sends, which the
// others learn of from the cluster; of each key and each receiver another one is made.
#include <arpa/inet.h>

#include <cerrno>
#include <charconv>
#include <map>
#include <set>

#include "base/random.h"
#include "formats/digest.h"
#include "kernel/ipsec.h"
#include "networks/chunked_batch.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

using kernel::Association;
using kernel::NetlinkBatch;
using AssociationId = decltype(Association{}.Id());

constexpr uint32_t kOwner = 0x67616e74;  // of all that is made here, and of nothing else
// An association that is not there, and a policy.
const std::vector<int> kGone = {ESRCH, ENOENT};

kernel::AssociationKey KeyFor(const TunnelKey& key, formats::Ipv4Address from,
                              formats::Ipv4Address to) {
  std::string text = fmt::format("{} {} {}", key.secret, from.ToString(), to.ToString());
  formats::Digest digest = formats::Digest::Of(text, formats::DigestAlgorithm::kSha512);
  kernel::AssociationKey made{};
  const char* digits = digest.hex().data();
  for (size_t i = 0; i < made.size(); ++i) {
    std::from_chars(digits + 2 * i, digits + 2 * i + 2, made[i], 16);
  }
  return made;
}

// Everything that this host sends and takes, by what the cluster says.
std::map<AssociationId, kernel::AssociationKey> WantedAssociations(const ClusterView& view,
                                                                   formats::Ipv4Address host) {
  std::map<AssociationId, kernel::AssociationKey> wanted;
  const TunnelKey& current = view.keys.at(host).current;
  for (const auto& [peer, keys] : view.keys) {
    if (peer == host) continue;
    Association out{InAddr(host), InAddr(peer), current.spi};
    wanted.emplace(out.Id(), KeyFor(current, host, peer));
    for (const TunnelKey& key : keys.All()) {
      Association in{InAddr(peer), InAddr(host), key.spi};
      wanted.emplace(in.Id(), KeyFor(key, peer, host));
    }
  }
  return wanted;
}

Association FromId(const AssociationId& id) {
  return {{std::get<0>(id)}, {std::get<1>(id)}, std::get<2>(id)};
}

Result<> TryAssociation(kernel::NetlinkSocket* socket) {
  Association nowhere{
      {htonl(INADDR_LOOPBACK)}, {htonl(INADDR_LOOPBACK)}, static_cast<uint32_t>(RandomU64()) | 256};
  NetlinkBatch batch;
  kernel::AppendAssociation(&batch, nowhere, {}, kOwner);
  kernel::AppendForgetAssociation(&batch, nowhere);
  auto done = socket->Transact(&batch);
  if (done.ok()) return {};
  return FailedPrecondition("option encrypted needs ESP with AES-GCM in the kernel: {}",
                            done.error().message());
}

}  // namespace

// ESP and its cipher are parts that a kernel may lack.
Result<> KernelController::CheckEncryption() {
  auto socket = kernel::NetlinkSocket::Open(NETLINK_XFRM);
  if (!socket.ok()) {
    return FailedPrecondition("option encrypted needs IPsec in the kernel: {}",
                              socket.error().message());
  }
  return TryAssociation(&*socket);
}

// Packets of such networks don't leave before it is known how, nor come in unencrypted.
Result<> KernelController::EnsureEncryption() {
  encrypting_ = true;
  auto socket = TRY(kernel::NetlinkSocket::Open(NETLINK_XFRM));
  kernel::PortPolicies policies = TRY(kernel::ListPolicies(&socket, kEncryptedTunnelPort));
  if (policies.in_refused && policies.out_refused) return {};
  TRY(TryAssociation(&socket));
  NetlinkBatch batch;
  kernel::AppendRefusePlain(&batch, kEncryptedTunnelPort, kOwner);
  TRY_WITH(socket.Transact(&batch), "refusing plain packets of encrypted networks");
  // Here the kernel may have counted what was sent with this host's keys, and forgotten it.
  options_.cluster->RenewKeys();
  return {};
}

// The kernel encrypts as the cluster says; what new packets need comes before what they needed
// goes. Only the cluster's thread is here.
Result<> KernelController::FollowKeys(const ClusterView& view) {
  bool wanted = false;
  for (const Network& network : ListNetworks()) wanted |= network.encrypted;
  if (!wanted) return ForgetEncryption();
  if (followed_keys_ == view.keys) return {};
  TRY(EnsureEncryption());
  formats::Ipv4Address host = options_.cluster->host();
  auto own = view.keys.find(host);
  if (own == view.keys.end()) return {};
  uint32_t current = own->second.current.spi;
  in_addr here = InAddr(host);

  auto socket = TRY(kernel::NetlinkSocket::Open(NETLINK_XFRM));
  std::set<AssociationId> known;
  for (const Association& item : TRY(kernel::ListAssociations(&socket, kOwner))) {
    known.insert(item.Id());
  }
  std::map<uint32_t, uint32_t> sending;  // by peer
  for (const Association& item :
       TRY(kernel::ListPolicies(&socket, kEncryptedTunnelPort)).encrypted) {
    sending.emplace(item.to.s_addr, item.spi);
  }
  auto associations = WantedAssociations(view, host);

  ChunkedBatch writer(&socket, kGone);
  bool lost = false;
  for (const auto& [id, key] : associations) {
    if (known.contains(id)) continue;
    Association item = FromId(id);
    auto sent = sending.find(item.to.s_addr);
    lost |= item.from.s_addr == here.s_addr && sent != sending.end() && sent->second == item.spi;
    kernel::AppendAssociation(writer.batch(), item, key, kOwner);
    TRY(writer.Pass());
  }
  TRY(writer.Flush());
  for (const auto& [peer, keys] : view.keys) {
    auto sent = sending.find(InAddr(peer).s_addr);
    if (peer == host || (sent != sending.end() && sent->second == current)) continue;
    kernel::AppendEncrypt(writer.batch(), {here, InAddr(peer), current}, kEncryptedTunnelPort,
                          kOwner);
    TRY(writer.Pass());
  }
  for (const auto& [peer, spi] : sending) {
    if (view.keys.contains(formats::Ipv4Address{ntohl(peer)})) continue;
    kernel::AppendForgetEncrypt(writer.batch(), here, {peer}, kEncryptedTunnelPort);
    TRY(writer.Pass());
  }
  TRY(writer.Flush());
  for (const AssociationId& id : known) {
    Association item = FromId(id);
    // To a host that is away: it numbers on where it was when that is back.
    bool away = item.from.s_addr == here.s_addr && item.spi == current;
    if (associations.contains(id) || away) continue;
    kernel::AppendForgetAssociation(writer.batch(), item);
    TRY(writer.Pass());
  }
  TRY(writer.Flush());
  if (lost) options_.cluster->RenewKeys();
  followed_keys_ = view.keys;
  return {};
}

// When the last such network goes, and once of what an earlier daemon may have left.
Result<> KernelController::ForgetEncryption() {
  if (!encrypting_) return {};
  auto opened = kernel::NetlinkSocket::Open(NETLINK_XFRM);
  // A kernel without it has nothing to forget.
  if (!opened.ok() && opened.error().error_number() == EPROTONOSUPPORT) return {};
  kernel::NetlinkSocket socket = TRY(std::move(opened));
  kernel::PortPolicies policies = TRY(kernel::ListPolicies(&socket, kEncryptedTunnelPort));
  ChunkedBatch writer(&socket, kGone);
  for (const Association& item : policies.encrypted) {
    kernel::AppendForgetEncrypt(writer.batch(), item.from, item.to, kEncryptedTunnelPort);
    TRY(writer.Pass());
  }
  if (policies.in_refused || policies.out_refused) {
    kernel::AppendForgetRefusal(writer.batch(), kEncryptedTunnelPort);
  }
  for (const Association& item : TRY(kernel::ListAssociations(&socket, kOwner))) {
    kernel::AppendForgetAssociation(writer.batch(), item);
    TRY(writer.Pass());
  }
  TRY_WITH(writer.Flush(), "forgetting the encryption of overlay networks");
  encrypting_ = false;
  followed_keys_.clear();
  return {};
}

}  // namespace gantry::networks
