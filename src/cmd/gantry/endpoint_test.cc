// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/endpoint.h"

#include <gtest/gtest.h>

#include "cmd/gantry/ssh_tunnel.h"

namespace gantry::cli {
namespace {

std::string Url(std::string_view host, bool tls = false) {
  TlsSettings settings;
  settings.enabled = tls;
  Result<DaemonEndpoint> endpoint = ParseEndpoint(host, settings);
  return endpoint.ok() ? endpoint->url : endpoint.error().message();
}

TEST(EndpointTest, FillsInWhatIsMissing) {
  EXPECT_EQ(Url(""), kDefaultHost);
  EXPECT_EQ(Url("unix://"), kDefaultHost);
  EXPECT_EQ(Url("unix:///x"), "unix:///x");
  EXPECT_EQ(Url("tcp://"), "tcp://localhost:2375");
  EXPECT_EQ(Url("tcp://", true), "tcp://localhost:2376");
  EXPECT_EQ(Url("tcp://h"), "tcp://h:2375");
  EXPECT_EQ(Url("h:1"), "tcp://h:1");
  EXPECT_EQ(Url(":1"), "tcp://localhost:1");
  EXPECT_EQ(Url("/x"), "tcp://localhost:2375/x");
  EXPECT_EQ(Url("tcp://[::1]:5/base"), "tcp://[::1]:5/base");
  EXPECT_EQ(Url("tcp://[::1]"), "tcp://[::1]:2375");
}

TEST(EndpointTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(Url("foo://x"),
            "unable to resolve docker endpoint: invalid bind address format: foo://x");
  EXPECT_EQ(Url("npipe://x"), "protocol not available");
  EXPECT_NE(Url("ssh://"), "ssh://");
}

TEST(EndpointTest, TakesSshTargetsApart) {
  Result<SshTarget> target = ParseSshTarget("ssh://me@host:22/run/x.sock");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->user, "me");
  EXPECT_EQ(target->host, "host");
  EXPECT_EQ(target->port, "22");
  EXPECT_EQ(target->path, "/run/x.sock");
  // What ssh would read as an option.
  EXPECT_FALSE(ParseSshTarget("ssh://-oProxyCommand=x").ok());
  EXPECT_FALSE(ParseSshTarget("ssh://-l@host").ok());
  EXPECT_FALSE(ParseSshTarget("ssh://me:password@host").ok());
}

}  // namespace
}  // namespace gantry::cli
