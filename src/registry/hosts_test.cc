// SPDX-License-Identifier: Apache-2.0
#include "registry/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/io.h"

namespace gantry::registry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Hosts : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gantry-hosts-XXXXXX";
    top_ = ::mkdtemp(path);
  }
  void TearDown() override { fs::remove_all(top_); }
  void Put(const std::string& name, std::string_view text) {
    fs::create_directories(fs::path(top_ + "/" + name).parent_path());
    ASSERT_TRUE(ReplaceFile(top_ + "/" + name, text, 0600).ok());
  }
  Result<std::vector<RegistryHost>> Find(const std::string& host) {
    return FindHosts({.directory = top_, .insecure = {}, .ca_file = ""}, host);
  }
  std::string top_;
};

TEST_F(Hosts, WithoutConfiguration) {
  auto hub = *Find("docker.io");
  ASSERT_EQ(hub.size(), 1u);
  EXPECT_EQ(hub[0].base, "https://registry-1.docker.io/v2");
  EXPECT_EQ(hub[0].name, "docker.io");
  EXPECT_FALSE(hub[0].may_be_plain || hub[0].insecure || hub[0].mirror);
  EXPECT_TRUE((*Find("localhost:5000"))[0].may_be_plain);
  EXPECT_FALSE((*Find("example.org:5000"))[0].may_be_plain);
  auto insecure = *FindHosts({.directory = "", .insecure = {"a:1"}, .ca_file = "/ca"}, "a:1");
  EXPECT_TRUE(insecure[0].may_be_plain && insecure[0].insecure && !insecure[0].verify_tls);
  EXPECT_EQ(insecure[0].ca_files, std::vector<std::string>{"/ca"});
  EXPECT_FALSE(Find("../x").ok());
}

TEST_F(Hosts, FileInItsOrderWithAllMembers) {
  Put("docker.io/hosts.toml", R"(
server = "https://hub.example"
ca = "top.pem"
[host."https://z.example:444"]
  capabilities = ["pull", "resolve"]
  ca = ["one.pem", "/abs/two.pem"]
  client = [["c.pem", "k.pem"]]
  skip_verify = true
  dial_timeout = "1m1.5s"
  [host."https://z.example:444".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."http://a.example/prefix"]
  override_path = true
  client = "both.pem"
[host."b.example/mirror/"]
)");
  auto hosts = Find("docker.io");
  ASSERT_TRUE(hosts.ok()) << hosts.error().message();
  ASSERT_EQ(hosts->size(), 4u);
  const RegistryHost& z = (*hosts)[0];
  EXPECT_EQ(z.base, "https://z.example:444/v2");
  EXPECT_EQ(z.name, "z.example:444");
  EXPECT_TRUE(z.mirror && z.pull && z.resolve && !z.push && !z.verify_tls);
  EXPECT_EQ(z.ca_files, (std::vector<std::string>{top_ + "/docker.io/one.pem", "/abs/two.pem"}));
  EXPECT_EQ(z.client_certificate, top_ + "/docker.io/c.pem");
  EXPECT_EQ(z.client_key, top_ + "/docker.io/k.pem");
  EXPECT_EQ(z.headers, (std::vector<std::string>{"x-one: 1", "x-two: 2", "x-two: 3"}));
  EXPECT_EQ(z.connect_timeout, std::chrono::milliseconds(61'500));
  EXPECT_EQ((*hosts)[1].base, "http://a.example/prefix");
  EXPECT_TRUE((*hosts)[1].push && (*hosts)[1].client_key.empty());
  EXPECT_EQ((*hosts)[2].base, "https://b.example/mirror/v2");
  EXPECT_EQ((*hosts)[3].base, "https://hub.example/v2");
  EXPECT_EQ((*hosts)[3].name, "docker.io");
  EXPECT_EQ((*hosts)[3].ca_files, std::vector<std::string>{top_ + "/docker.io/top.pem"});
  EXPECT_FALSE((*hosts)[3].mirror);
}

TEST_F(Hosts, DirectoriesByPortByNameAndTheDefault) {
  Put("_default/hosts.toml", "[host.\"https://all.example\"]\n");
  EXPECT_EQ((*Find("x.example:1"))[0].base, "https://all.example/v2");
  EXPECT_EQ((*Find("x.example:1"))[1].base, "https://x.example:1/v2");
  Put("x.example:1/hosts.toml", "[host.\"https://colon.example\"]\n");
  EXPECT_EQ((*Find("x.example:1"))[0].base, "https://colon.example/v2");
  Put("x.example_1_/hosts.toml", "[host.\"https://x.example:1\"]\nskip_verify = true\n");
  auto own = *Find("x.example:1");
  ASSERT_EQ(own.size(), 1u) << "the registry itself is not asked twice";
  EXPECT_FALSE(own[0].mirror);
  EXPECT_EQ(own[0].name, "x.example:1");
}

TEST_F(Hosts, TheFirstOfSeveralDirectories) {
  Put("one/a.example/hosts.toml", "[host.\"https://one.example\"]\n");
  Put("two/a.example/hosts.toml", "[host.\"https://two.example\"]\n");
  Put("two/b.example/ca.crt", "");
  auto find = [&](const std::string& host) {
    return *FindHosts({.directory = top_ + "/none:" + top_ + "/one:" + top_ + "/two",
                       .insecure = {},
                       .ca_file = ""},
                      host);
  };
  EXPECT_EQ(find("a.example")[0].base, "https://one.example/v2");
  EXPECT_EQ(find("b.example")[0].ca_files,
            std::vector<std::string>{top_ + "/two/b.example/ca.crt"});
  EXPECT_TRUE(find("c.example")[0].ca_files.empty());
}

TEST_F(Hosts, DockersFiles) {
  Put("r.example_5_/a.crt", "");
  Put("r.example_5_/client.cert", "");
  EXPECT_THAT(Find("r.example:5").error().message(), HasSubstr("client.key"));
  Put("r.example_5_/client.key", "");
  auto host = (*Find("r.example:5"))[0];
  EXPECT_EQ(host.ca_files, std::vector<std::string>{top_ + "/r.example_5_/a.crt"});
  EXPECT_EQ(host.client_key, top_ + "/r.example_5_/client.key");
}

TEST_F(Hosts, WhatIsWrongIsNamedWithItsLine) {
  for (const auto& [text, words] : std::map<std::string, std::vector<std::string>>{
           {"server = 1\n", {"'server'"}},
           {"server = [\n", {"line 1"}},
           {"\n[host.\"https://a\"]\ncapabilities = [\"fly\"]\n", {"line 3", "'fly'", "https://a"}},
           {"[host.\"https://a\"]\nclient = [\"a\", \"b\"]\n", {"'client'", "one client"}},
           {"[host.\"https://a\"]\ndial_timeout = \"soon\"\n", {"line 2", "soon"}},
           {"[host.\"https://a\"]\nskip_verify = \"yes\"\n", {"skip_verify"}},
           {"[host.\"https://a\".header]\nx = \"a\\nb\"\n", {"line break"}},
           {"[host.\"ftp://a\"]\n", {"ftp"}},
           {"[host.\"https://a\"]\nspeed = 1\n", {"'speed'", "no such"}},
           {"host = 3\n", {"'host'"}}}) {
    Put("bad/hosts.toml", text);
    auto hosts = Find("bad");
    ASSERT_FALSE(hosts.ok()) << text;
    EXPECT_EQ(hosts.error().kind(), ErrorKind::kInvalidArgument);
    EXPECT_THAT(hosts.error().message(), HasSubstr("bad/hosts.toml"));
    for (const std::string& word : words) EXPECT_THAT(hosts.error().message(), HasSubstr(word));
  }
}

}  // namespace
}  // namespace gantry::registry
