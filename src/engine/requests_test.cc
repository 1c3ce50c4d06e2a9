// SPDX-License-Identifier: Apache-2.0
//
// The small parsers of what users write: binds, ports, names, signals, name servers.
#include <gtest/gtest.h>

#include <csignal>

#include "engine/container_names.h"
#include "engine/host_files.h"
#include "engine/mount_points.h"
#include "engine/mount_sources.h"
#include "engine/port_bindings.h"
#include "engine/signals.h"

namespace gantry::engine {
namespace {

TEST(MountPointsTest, ReadsBindsAndMounts) {
  HostConfig host;
  host.binds = {"/a/:/b/../c:ro,rshared", "/x:/y"};
  host.mounts = {{.type = "bind", .source = "/m", .target = "/n", .read_only = true}};
  std::vector<MountPoint> points = *ParseMountPoints(host, "/data");
  ASSERT_EQ(points.size(), 3u);
  EXPECT_EQ(points[0].source, "/a");
  EXPECT_EQ(points[0].destination, "/c");
  EXPECT_FALSE(points[0].writable);
  EXPECT_EQ(ToMount(points[0], "/a").options,
            (std::vector<std::string>{"rbind", "rro", "rshared"}));
  EXPECT_TRUE(points[1].make_source);
  EXPECT_FALSE(points[2].make_source);
}

TEST(MountPointsTest, RefusesBadOnes) {
  auto error = [](const std::string& bind) {
    HostConfig host;
    host.binds = {bind};
    return ParseMountPoints(host, "/data").error().message();
  };
  EXPECT_EQ(error("nothing"),
            "invalid volume specification: 'nothing': invalid mount config for type \"volume\": "
            "invalid mount path: 'nothing' mount path must be absolute");
  EXPECT_EQ(error(":/x"), "invalid volume specification: ':/x'");
  EXPECT_EQ(error("v:/x:ro:z"), "invalid volume specification: 'v:/x:ro:z'");
  EXPECT_EQ(error("/x:ro"), "invalid volume specification: '/x:ro'");
  EXPECT_EQ(error("/a:/b:wx"), "invalid mode: wx");
  EXPECT_EQ(error("/a:/b:ro,rw"), "invalid mode: ro,rw");
  EXPECT_NE(error("/a:/").find("destination can't be '/'"), std::string::npos);
  EXPECT_NE(error("/a:b").find("must be absolute"), std::string::npos);
  HostConfig twice;
  twice.binds = {"/a:/b", "/c:/b"};
  EXPECT_EQ(ParseMountPoints(twice, "/data").error().message(), "Duplicate mount point: /b");
  HostConfig missing;
  missing.mounts = {{.type = "bind", .source = "/no/such/dir", .target = "/n"}};
  std::vector<MountPoint> points = *ParseMountPoints(missing, "/data");
  EXPECT_EQ(PrepareSources(&points).error().message(),
            "invalid mount config for type \"bind\": bind source path does not exist: "
            "/no/such/dir");
}

TEST(MountPointsTest, EnginesOwnDataIsASlave) {
  auto propagation = [](const std::string& bind) {
    HostConfig host;
    host.binds = {bind};
    auto points = ParseMountPoints(host, "/var/lib/own");
    return points.ok() ? points->front().propagation : points.error().message();
  };
  for (const char* bind : {"/:/x", "/var:/x:ro", "/var/lib/own:/x", "/var/lib/own/volumes:/x"}) {
    EXPECT_EQ(propagation(bind), "rslave") << bind;
  }
  EXPECT_EQ(propagation("/var/lib/owner:/x"), "rprivate");
  EXPECT_EQ(propagation("/var/li:/x"), "rprivate");
  EXPECT_EQ(propagation("/:/x:rshared"), "rshared");
  EXPECT_NE(propagation("/:/x:rprivate").find("must use either propagation mode"),
            std::string::npos);
  EXPECT_EQ(propagation("/a:/x:rprivate"), "rprivate");
}

TEST(PortBindingsTest, ReadsRangesProtocolsAndAll) {
  ContainerConfig config;
  config.exposed_ports.names = {"80/tcp", "53/udp"};
  HostConfig host;
  host.port_bindings["80/tcp"] = {{"127.0.0.1", "8000-8010"}};
  host.publish_all_ports = true;
  auto requests = *ParsePortBindings(config, host);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].host_ip, "127.0.0.1");
  EXPECT_EQ(requests[0].host_port_first, 8000);
  EXPECT_EQ(requests[0].host_port_last, 8010);
  EXPECT_EQ(requests[1].protocol, networks::Protocol::kUdp);
  EXPECT_EQ(requests[1].host_port_first, 0);
}

TEST(PortBindingsTest, RefusesBadOnes) {
  for (const char* port : {"", "x", "0", "65536/tcp", "80/icmp", "80/tcp/udp"}) {
    HostConfig host;
    host.port_bindings[port] = {{"", ""}};
    EXPECT_FALSE(ParsePortBindings({}, host).ok()) << port;
  }
  HostConfig host;
  host.port_bindings["80"] = {{"", "9-8"}};
  EXPECT_EQ(ParsePortBindings({}, host).error().message(), "invalid port specification: \"9-8\"");
}

TEST(ContainerNamesTest, KnowsTheRule) {
  EXPECT_TRUE(CheckContainerName("a_b.c-1").ok());
  for (const char* bad : {"", "a", "-ab", "a b", "a/b", "\xc3\xa9t"}) {
    EXPECT_FALSE(CheckContainerName(bad).ok()) << bad;
  }
  EXPECT_TRUE(CheckContainerName(RandomContainerName(0)).ok());
  EXPECT_TRUE(CheckContainerName(RandomContainerName(99)).ok());
}

TEST(SignalsTest, ReadsNamesAndNumbers) {
  EXPECT_EQ(*ParseSignal("KILL"), SIGKILL);
  EXPECT_EQ(*ParseSignal("sigterm"), SIGTERM);
  EXPECT_EQ(*ParseSignal("15"), SIGTERM);
  EXPECT_EQ(*ParseSignal("RTMIN+3"), 37);
  EXPECT_EQ(*ParseSignal("SIGRTMAX-1"), 63);
  for (const char* bad : {"", "0", "65", "SIGNOPE", "RTMIN+99", "-1"}) {
    EXPECT_EQ(ParseSignal(bad).error().message(), std::string("Invalid signal: ") + bad);
  }
}

TEST(HostFilesTest, ResolvConfDropsTheLoopback) {
  HostConfig host;
  auto make = [&](std::string_view file, Servers servers) {
    return MakeResolvConf(formats::ParseResolvConf(file), host, servers);
  };
  constexpr std::string_view kFile =
      "# c\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\noptions ndots:2 ; x\n";
  EXPECT_EQ(make(kFile, Servers::kReachable), "nameserver 10.0.0.1\nsearch a b\noptions ndots:2\n");
  EXPECT_EQ(make(kFile, Servers::kResolver),
            "nameserver 127.0.0.11\nsearch a b\noptions ndots:2\n");
  EXPECT_EQ(make("", Servers::kReachable), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
  EXPECT_EQ(make("", Servers::kResolver), "nameserver 127.0.0.11\noptions ndots:0\n");
  host.dns = {"1.2.3.4"};
  host.dns_search = {"."};
  EXPECT_EQ(make("nameserver 10.0.0.1\nsearch a\n", Servers::kReachable), "nameserver 1.2.3.4\n");
}

}  // namespace
}  // namespace gantry::engine
