// SPDX-License-Identifier: Apache-2.0
#include "formats/proxy_message.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

std::string_view Body(std::string_view frame) {
  EXPECT_EQ(*ProxyMessageSize(frame), frame.size() - 4);
  return frame.substr(4);
}

TEST(ProxyMessageTest, RequestsGoThereAndBack) {
  ProxyRequest request{ProxyOperation::kSet,
                       "owner",
                       {{"tcp", {"0.0.0.0", "::"}, 8080, 8090, "172.17.0.2", 80},
                        {"udp", {"127.0.0.1"}, 0, 0, "172.17.0.2", 53}}};
  ProxyRequest back = *DecodeProxyRequest(Body(EncodeProxyRequest(request)));
  EXPECT_EQ(back.operation, ProxyOperation::kSet);
  EXPECT_EQ(back.owner, "owner");
  EXPECT_EQ(back.listeners, request.listeners);
  EXPECT_EQ(
      DecodeProxyRequest(Body(EncodeProxyRequest({ProxyOperation::kStop, "", {}})))->operation,
      ProxyOperation::kStop);
}

TEST(ProxyMessageTest, RepliesGoThereAndBack) {
  ProxyReply reply;
  reply.ports = {1, 65535};
  reply.owners = {{"a", {{"tcp", {"::1"}, 5, 5, "10.0.0.2", 80}}}};
  ProxyReply back = *DecodeProxyReply(Body(EncodeProxyReply(reply)));
  EXPECT_FALSE(back.failure);
  EXPECT_EQ(back.ports, reply.ports);
  ASSERT_EQ(back.owners.size(), 1u);
  EXPECT_EQ(back.owners[0].listeners, reply.owners[0].listeners);

  reply.failure = ProxyFailure{3, "::", 80, 98, "b", "bind: address already in use"};
  back = *DecodeProxyReply(Body(EncodeProxyReply(reply)));
  ASSERT_TRUE(back.failure);
  EXPECT_EQ(back.failure->listener, 3u);
  EXPECT_EQ(back.failure->port, 80);
  EXPECT_EQ(back.failure->holder, "b");
}

TEST(ProxyMessageTest, NamesGoThereAndBack) {
  ProxyRequest request;
  request.operation = ProxyOperation::kResolver;
  request.resolver = {"c", {"n1", "n2"}, {{"db", "other"}}, {{"192.0.2.1", false}}, true};
  ProxyRequest back = *DecodeProxyRequest(Body(EncodeProxyRequest(request)));
  EXPECT_EQ(back.operation, ProxyOperation::kResolver);
  EXPECT_EQ(back.resolver, request.resolver);
  request.operation = ProxyOperation::kEndpoint;
  request.endpoint = {"e", "n1", "front", "10.0.0.2", {"web", "www"}};
  back = *DecodeProxyRequest(Body(EncodeProxyRequest(request)));
  EXPECT_EQ(back.operation, ProxyOperation::kEndpoint);
  EXPECT_EQ(back.endpoint, request.endpoint);
  ProxyReply reply;
  reply.resolvers = {request.resolver};
  reply.endpoints = {request.endpoint};
  ProxyReply read = *DecodeProxyReply(Body(EncodeProxyReply(reply)));
  EXPECT_EQ(read.resolvers, reply.resolvers);
  EXPECT_EQ(read.endpoints, reply.endpoints);
  for (const char* bad : {R"({"version":1,"operation":"resolver"})",
                          R"({"version":1,"operation":"endpoint","owner":""})",
                          R"({"version":1,"operation":"resolver","owner":"c","networks":"n"})"}) {
    EXPECT_FALSE(DecodeProxyRequest(bad).ok()) << bad;
  }
}

TEST(ProxyMessageTest, RefusesWhatMakesNoSense) {
  auto set = [](std::string_view listener) {
    return fmt::format(R"({{"version":1,"operation":"set","owner":"a","listeners":[{}]}})",
                       listener);
  };
  EXPECT_TRUE(DecodeProxyRequest(set("")).ok());
  std::string good =
      R"({"protocol":"tcp","addresses":["::"],"first":1,"last":2,"target":"1.2.3.4","targetPort":1})";
  EXPECT_TRUE(DecodeProxyRequest(set(good)).ok());
  for (auto [from, to] : std::initializer_list<std::pair<const char*, const char*>>{
           {"\"tcp\"", "\"icmp\""},
           {"[\"::\"]", "[]"},
           {"\"first\":1", "\"first\":65536"},
           {"\"first\":1", "\"first\":0"},
           {"\"last\":2", "\"last\":0"},
           {"\"last\":2", "\"last\":-1"},
           {"\"targetPort\":1", "\"targetPort\":0"}}) {
    std::string bad = good;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    EXPECT_FALSE(DecodeProxyRequest(set(bad)).ok()) << bad;
  }
  for (const char* bad :
       {"", "[]", "{}", R"({"version":2,"operation":"list"})", R"({"version":1})",
        R"({"version":1,"operation":"jump"})", R"({"version":1,"operation":"set"})"}) {
    EXPECT_FALSE(DecodeProxyRequest(bad).ok()) << bad;
  }
  EXPECT_FALSE(ProxyMessageSize("\xff\xff\xff\xff").ok());
}

}  // namespace
}  // namespace gantry::formats
