// SPDX-License-Identifier: Apache-2.0
//
// Encoding against bytes written out by hand from the kernel's headers, and parsing of cut and odd
// input. What the kernel makes of the messages is tested by networks/controller_test.cc.
#include "kernel/netlink.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstring>

#include "kernel/net_namespace.h"
#include "kernel/nftables.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {
namespace {

std::string Hex(std::string_view bytes) {
  std::string text;
  for (char c : bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return text;
}

TEST(NetlinkBatchTest, EncodesAddressesAsTheHeadersSay) {
  NetlinkBatch batch;
  AppendAddAddress(&batch, 7, in_addr{htonl(0xac110002)}, 16);
  EXPECT_EQ(Hex(batch.bytes()),
            "30000000"            // length 48
            "1400"                // RTM_NEWADDR
            "0106"                // NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
            "0000000000000000"    // sequence, port
            "0210000007000000"    // AF_INET, /16, index 7
            "08000200ac110002"    // IFA_LOCAL
            "08000100ac110002"    // IFA_ADDRESS
            "08000400ac11ffff");  // IFA_BROADCAST
}

TEST(NetlinkBatchTest, NestsAndPads) {
  NetlinkBatch batch;
  batch.Begin(1, 0, uint32_t{0});
  size_t outer = batch.BeginNest(2);
  batch.String(3, "abcd");
  batch.U8(4, 9);
  batch.EndNest(outer);
  batch.Begin(5, 0, uint32_t{0});
  EXPECT_EQ(batch.message_count(), 2u);
  auto messages = ParseMessages(batch.bytes());
  ASSERT_EQ(messages.size(), 2u);
  auto attributes = messages[0].AttributesAfter<uint32_t>();
  ASSERT_EQ(attributes.size(), 1u);
  EXPECT_EQ(attributes[0].type, 2);
  auto inner = ParseAttributes(attributes[0].data);
  ASSERT_EQ(inner.size(), 2u);
  EXPECT_EQ(inner[0].data.size(), 5u);
  EXPECT_EQ(inner[0].String(), "abcd");
  EXPECT_EQ(inner[1].U8(), 9);
}

TEST(NetlinkParseTest, StopsAtWhatDoesNotFit) {
  NetlinkBatch batch;
  batch.Begin(1, 0, uint32_t{0});
  batch.String(3, "abcdefgh");
  const std::string& whole = batch.bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(ParseMessages(std::string_view(whole).substr(0, size)).empty()) << size;
  }
  for (std::string_view bad : {std::string_view("\0\0\1\0", 4), std::string_view("\x03\0\1\0", 4),
                               std::string_view("\xff\xff\1\0", 4), std::string_view("\4")}) {
    EXPECT_TRUE(ParseAttributes(bad).empty());
  }
}

TEST(NetlinkParseTest, ReadsTheKernelsWords) {
  struct {
    nlmsgerr error;
    nlattr attribute;
    char text[8];
  } body{};
  body.error.error = -EEXIST;
  body.attribute = {NLA_HDRLEN + 5, NLMSGERR_ATTR_MSG};
  std::memcpy(body.text, "busy", 5);
  NetlinkMessage message{NLMSG_ERROR,
                         NLM_F_ACK_TLVS | NLM_F_CAPPED,
                         1,
                         {reinterpret_cast<const char*>(&body), sizeof body}};
  NetlinkAck ack = ParseAck(message);
  EXPECT_EQ(ack.error_number, EEXIST);
  EXPECT_EQ(ack.text, "busy");
  // Without NLM_F_CAPPED the refused message, of a length it says itself, comes in between.
  message.flags = NLM_F_ACK_TLVS;
  body.error.msg.nlmsg_len = 1 << 30;
  EXPECT_EQ(ParseAck(message).text, "");
  message.payload = message.payload.substr(0, 3);
  EXPECT_NE(ParseAck(message).error_number, 0);
}

TEST(NftablesTest, EncodesElementsAsTheHeadersSay) {
  NftBatch batch(NftFamily::kIpv4, "t");
  batch.AddElements(
      "m", {{NftKey({std::string_view("\x06", 1), std::string_view("\x1f\x90", 2)}),
             NftKey({std::string_view("\xac\x11\x00\x02", 4), std::string_view("\x00\x50", 2)})}});
  auto messages = ParseMessages(batch.netlink().bytes());
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].type, NFNL_MSG_BATCH_BEGIN);
  EXPECT_EQ(messages[1].type, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM);
  EXPECT_EQ(Hex(messages[1].payload),
            "02000000"          // AF_INET, version 0
            "0600010074000000"  // table "t"
            "060002006d000000"  // set "m"
            "28000380"          // elements
            "24000180"          // one: its key and its data, a value each
            "100001800c000100060000001f900000"
            "100002800c000100ac11000200500000");
}

TEST(NftablesTest, ReadsBackWhatItWrote) {
  std::vector<NftElement> elements{{"aaaa", "bbbbbbbb", false}, {"cccc", "", true}};
  NftBatch batch(NftFamily::kIpv4, "t");
  batch.AddElements("m", elements);
  auto messages = ParseMessages(batch.netlink().bytes());
  EXPECT_EQ(ParseNftElements(messages.at(1)), elements);
  // 1,200 elements don't fit into one message's attribute.
  NftBatch large(NftFamily::kIpv4, "t");
  large.AddElements("m", std::vector<NftElement>(1200, {"aaaa", "bbbbbbbb", false}));
  EXPECT_EQ(ParseMessages(large.netlink().bytes()).size(), 1u + 3);
}

TEST(NftablesTest, ConcatenatesLikeNft) {
  EXPECT_EQ(NftConcat({NftType::kInetProto, NftType::kInetService}), 12u << 6 | 13);
  EXPECT_EQ(NftKey({"a", "bc", "defg"}), std::string("a\0\0\0bc\0\0defg", 12));
  EXPECT_EQ(NftInterfaceKey("eth0").size(), 16u);
}

class NetNamespaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: network namespaces";
  }
};

TEST_F(NetNamespaceTest, IsMadeWithLoopbackUpAndLinksAreBornInside) {
  NetNamespace host = *MakeNetNamespace();
  NetNamespace inside = *MakeNetNamespace();
  EXPECT_NE(*NetNamespaceInode(host.fd), *NetNamespaceInode(inside.fd));
  auto links = *ListLinks(&inside.route);
  ASSERT_FALSE(links.empty());
  EXPECT_EQ(links[0].name, "lo");
  EXPECT_TRUE(links[0].up);

  NetlinkBatch bridge;
  AppendCreateBridge(&bridge, "br0", {2, 0, 0, 0, 0, 1}, 1400);
  ASSERT_TRUE(host.route.Transact(&bridge).ok());
  VethSpec spec;
  spec.name = "v0";
  spec.master = *LinkIndex(host.route, "br0");
  spec.peer = "eth0";
  spec.peer_netns = inside.fd;
  spec.peer_mac = {2, 0, 0, 0, 0, 2};
  spec.mtu = 1400;
  NetlinkBatch veth;
  AppendCreateVeth(&veth, spec);
  auto created = host.route.Transact(&veth);
  ASSERT_TRUE(created.ok()) << created.error().message();
  Link ours = *FindLink(&host.route, "v0");
  EXPECT_EQ(ours.master, spec.master);
  EXPECT_TRUE(ours.up);
  EXPECT_EQ(ours.kind, "veth");
  Link theirs = *FindLink(&inside.route, "eth0");
  EXPECT_EQ(theirs.mac, spec.peer_mac);
  EXPECT_EQ(theirs.mtu, 1400u);

  // The first error of a batch, with its place and the kernel's words.
  NetlinkBatch again;
  AppendLinkUp(&again, ours.index);
  AppendCreateVeth(&again, spec);
  auto refused = host.route.Transact(&again);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error_number(), EEXIST);
  EXPECT_NE(refused.error().message().find("message 2 of 2"), std::string::npos)
      << refused.error().message();
  EXPECT_EQ(FindLink(&host.route, "none").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(LinkIndex(host.route, "none").error().kind(), ErrorKind::kNotFound);
}

TEST_F(NetNamespaceTest, NftTransactionsAreAtomic) {
  NetNamespace inside = *MakeNetNamespace();
  NetlinkSocket socket;
  ASSERT_TRUE(RunInNetNamespace(inside.fd, [&]() -> Result<> {
                socket = TRY(NetlinkSocket::Open(NETLINK_NETFILTER));
                return {};
              }).ok());
  NftBatch make(NftFamily::kIpv4, "t");
  make.AddTable().AddSet({"s", NftConcat({NftType::kInetService}), 2});
  auto made = make.Commit(&socket);
  ASSERT_TRUE(made.ok()) << made.error().message();
  NftBatch half(NftFamily::kIpv4, "t");
  half.AddElements("s", {{std::string("\0\x50", 2), ""}});
  half.DeleteElements("s", {{std::string("\0\x51", 2), ""}});
  auto refused = half.Commit(&socket);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::kNotFound) << refused.error().message();
  EXPECT_TRUE(ListNftElements(&socket, NftFamily::kIpv4, "t", "s")->empty());
  EXPECT_EQ(*ListNftTables(&socket, NftFamily::kIpv4), std::vector<std::string>{"t"});
  NftBatch nothing(NftFamily::kIpv4, "t");
  EXPECT_TRUE(nothing.Commit(&socket).ok());
}

}  // namespace
}  // namespace gantry::kernel
