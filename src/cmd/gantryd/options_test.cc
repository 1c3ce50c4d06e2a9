// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/options.h"

#include <gtest/gtest.h>

#include "base/io.h"
#include "cmd/gantryd/option_table.h"
#include "cmd/gantryd/option_values.h"

namespace gantry::gantryd {
namespace {

std::string ErrorOf(const std::vector<std::string>& arguments) {
  auto options = ParseOptions(arguments);
  return options.ok() ? "" : options.error().message();
}

class ConfigFileTest : public testing::Test {
 protected:
  // The error of reading this text, without the words that name the file; "" when it is fine.
  std::string ErrorWith(std::string_view text, std::vector<std::string> flags = {}) {
    auto options = Read(text, std::move(flags));
    if (options.ok()) return "";
    std::string message = options.error().message();
    std::string prefix = "unable to configure the Docker daemon with file " + path_ + ": ";
    return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
  }
  Result<Options> Read(std::string_view text, std::vector<std::string> flags = {}) {
    EXPECT_TRUE(CreateFile(path_, text, 0600).ok());
    flags.insert(flags.begin(), {"--config-file", path_});
    return ParseOptions(flags);
  }
  const std::string path_ = testing::TempDir() + "/gantryd-daemon.json";
};

TEST(GantrydOptions, Defaults) {
  auto options = ParseOptions({"--state", "/tmp/run/"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->hosts, std::vector<std::string>{"unix:///tmp/run/gantry.sock"});
  EXPECT_EQ(options->pid_file, "/tmp/run/gantryd.pid");
  EXPECT_FALSE(options->networks.default_network.subnet.has_value());
}

TEST(GantrydOptions, HostsRepeatAndTakeAllForms) {
  auto options = ParseOptions({"-H", "unix:///a", "--host=tcp://127.0.0.1:1", "-Hfd://"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->hosts, (std::vector<std::string>{"unix:///a", "tcp://127.0.0.1:1", "fd://"}));
}

TEST(GantrydOptions, HostsWithoutPort) {
  EXPECT_EQ(**ParseHost("tcp://", false), "tcp://localhost:2375");
  EXPECT_EQ(**ParseHost("tcp://0.0.0.0", true), "tcp://0.0.0.0:2376");
  EXPECT_EQ(**ParseHost("tcp://[::1]", false), "tcp://[::1]:2375");
  EXPECT_EQ(**ParseHost(":77", false), "tcp://localhost:77");
  EXPECT_FALSE(ParseHost("unix://", false)->has_value());
  EXPECT_FALSE(ParseHost("tcp://a:b", false).ok());
}

TEST(GantrydOptions, BipIsAnAddressInItsSubnet) {
  auto options = ParseOptions({"--bip", "10.1.2.3/16"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->networks.default_network.subnet->ToString(), "10.1.0.0/16");
}

TEST(GantrydOptions, TheDefaultNetwork) {
  auto options = ParseOptions({"--bip", "10.1.2.3/16", "--fixed-cidr", "10.1.4.0/24",
                               "--default-gateway", "10.1.0.9", "--ip", "127.0.0.1", "--icc=false",
                               "--ip-masq=false", "--ip-forward=false"});
  ASSERT_TRUE(options.ok());
  const networks::DefaultNetworkOptions& wanted = options->networks.default_network;
  EXPECT_EQ(wanted.gateway->ToString(), "10.1.2.3");
  EXPECT_EQ(wanted.ip_range->ToString(), "10.1.4.0/24");
  EXPECT_EQ(wanted.told_gateway->ToString(), "10.1.0.9");
  EXPECT_EQ(wanted.host_binding, "127.0.0.1");
  EXPECT_FALSE(wanted.icc || wanted.masquerade || *options->ip_forward);
  EXPECT_EQ(NeedRestart(*ParseOptions({}), *options),
            (std::vector<std::string>{"bip", "fixed-cidr", "default-gateway", "icc", "ip-masq",
                                      "ip", "ip-forward"}));
  auto named = ParseOptions({"--bip", "10.1.0.0/16"});
  EXPECT_EQ(named->networks.default_network.gateway->ToString(), "10.1.0.1");
  EXPECT_FALSE(ParseOptions({"--default-gateway", "fd09::1"}).ok());
  EXPECT_FALSE(ParseOptions({"--iptables=false"})->networks.default_network.masquerade);
}

TEST(GantrydOptions, OptionsOfNewNetworks) {
  auto options = ParseOptions({"--default-network-opt", "bridge=a=b=c", "--default-network-opt",
                               "bridge=d=e", "--default-network-opt", "macvlan=parent=eth0"});
  ASSERT_TRUE(options.ok());
  auto& read = options->settings.default_network_options;
  EXPECT_EQ(read["bridge"], (std::map<std::string, std::string>{{"a", "b=c"}, {"d", "e"}}));
  EXPECT_EQ(read["macvlan"]["parent"], "eth0");
  EXPECT_EQ(ErrorOf({"--default-network-opt", "bridge"}),
            "invalid argument \"bridge\" for \"--default-network-opt\" flag: invalid value "
            "\"bridge\" for map option, should be root-key=key=value");
}

TEST(GantrydOptions, TheClustersStore) {
  auto options =
      ParseOptions({"--cluster-store", "etcd://one:2379,192.0.2.1:2379/path", "--cluster-advertise",
                    "eth0:2376", "--cluster-store-opt", "discovery.ttl=10"});
  ASSERT_TRUE(options.ok()) << options.error().message();
  EXPECT_EQ(options->cluster.advertise, "eth0:2376");
  EXPECT_EQ(ErrorOf({"--cluster-store", "consul://one:8500", "--cluster-advertise", "eth0"}),
            "\"cluster-store\" must be etcd://HOST:PORT[,HOST:PORT…][/PATH]: consul://one:8500");
  EXPECT_EQ(ErrorOf({"--cluster-store", "etcd://one", "--cluster-advertise", "eth0"}),
            "\"cluster-store\" names no HOST:PORT: 'one'");
  EXPECT_EQ(ErrorOf({"--cluster-store", "etcd://one:2379"}),
            "\"cluster-store\" needs \"cluster-advertise\": the address, or the interface, that "
            "other hosts reach this one at");
  auto with = [](const std::string& option) {
    return ErrorOf({"--cluster-store", "etcd://one:2379", "--cluster-advertise", "eth0",
                    "--cluster-store-opt", option});
  };
  EXPECT_EQ(with("discovery.ttl=4"), "\"discovery.ttl\" must be 5 to 86400 seconds: 4");
  EXPECT_EQ(with("encryption.rotation=4"),
            "\"encryption.rotation\" must be 5 to 2592000 seconds: 4");
  EXPECT_EQ(with("kv.nothing=1"), "\"cluster-store-opts\" has no kv.nothing");
  EXPECT_EQ(with("kv.keyfile=/key"), "\"kv.certfile\" and \"kv.keyfile\" belong together");
}

TEST(GantrydOptions, PoolsTakeThePlaceOfDockers) {
  auto usual = ParseOptions({});
  ASSERT_TRUE(usual.ok());
  EXPECT_EQ(usual->networks.pools, networks::DefaultSubnetPools());
  auto options = ParseOptions({"--default-address-pool", "base=10.9.0.0/16,size=24",
                               "--default-address-pool", "base=fd09::/48,size=64"});
  ASSERT_TRUE(options.ok());
  ASSERT_EQ(options->networks.pools.size(), 1u);
  EXPECT_EQ(options->networks.pools[0].base.ToString(), "10.9.0.0/16");
  EXPECT_EQ(options->networks.pools[0].size, 24);
  ASSERT_EQ(options->networks.pools6.size(), 1u);
  EXPECT_EQ(options->networks.pools6[0].base.ToString(), "fd09::/48");
  for (const char* bad :
       {"base=10.9.0.0/16", "size=24", "base=10.9.0.0/16,size=8", "base=x,size=24",
        "base=10.9.0.0/16,size=33", "base=fd09::/48,size=129", "foo=1", "x"}) {
    EXPECT_FALSE(ParseOptions({"--default-address-pool", bad}).ok()) << bad;
  }
}

TEST(GantrydOptions, TheDefaultBridgesIpv6) {
  auto options =
      ParseOptions({"--ipv6", "--bip6", "fd09::5/64", "--fixed-cidr-v6", "fd09::1:0/112"});
  ASSERT_TRUE(options.ok());
  EXPECT_TRUE(options->networks.default_network.ipv6);
  EXPECT_EQ(options->networks.default_network.subnet6->ToString(), "fd09::/64");
  EXPECT_EQ(options->networks.default_network.gateway6->ToString(), "fd09::5");
  EXPECT_EQ(options->networks.default_network.ip_range6->ToString(), "fd09::1:0/112");
  EXPECT_FALSE(ParseOptions({"--bip6", "10.0.0.1/24"}).ok());
  EXPECT_FALSE(ParseOptions({"--fixed-cidr-v6", "fd09::5"}).ok());
}

TEST(GantrydOptions, SwitchesAndLetters) {
  auto options = ParseOptions({"-Dl", "warn", "--init=false", "--tlsverify", "-Ggroup"});
  ASSERT_TRUE(options.ok());
  EXPECT_TRUE(options->settings.debug);
  EXPECT_EQ(options->Level(), log::Level::kDebug);
  EXPECT_FALSE(options->settings.init);
  EXPECT_TRUE(options->tls.enabled);
  EXPECT_EQ(options->group, "group");
}

// The messages are what Debian's dockerd says (tests/e2e/test_daemon_config.py).
TEST(GantrydOptions, NamesWhatIsWrong) {
  EXPECT_EQ(ErrorOf({"--nonsense"}), "unknown flag: --nonsense");
  EXPECT_EQ(ErrorOf({"-x"}), "unknown shorthand flag: 'x' in -x");
  EXPECT_EQ(ErrorOf({"--data-root"}), "flag needs an argument: --data-root");
  EXPECT_EQ(ErrorOf({"--data-root", "a"}),
            "invalid argument \"a\" for \"--data-root\" flag: 'a' is no absolute path");
  EXPECT_EQ(ErrorOf({"-H", "foo://x"}),
            "invalid argument \"foo://x\" for \"-H, --host\" flag: Invalid bind address format: "
            "foo://x");
  EXPECT_EQ(ErrorOf({"--mtu", "x"}),
            "invalid argument \"x\" for \"--mtu\" flag: strconv.ParseInt: parsing \"x\": invalid "
            "syntax");
  EXPECT_EQ(ErrorOf({"--default-ulimit", "x"}),
            "invalid argument \"x\" for \"--default-ulimit\" flag: invalid ulimit argument: x");
  EXPECT_EQ(ErrorOf({"--dns", "x"}),
            "invalid argument \"x\" for \"--dns\" flag: x is not an ip address");
  EXPECT_EQ(ErrorOf({"--label", "x"}),
            "invalid argument \"x\" for \"--label\" flag: bad attribute format: x");
  EXPECT_EQ(ErrorOf({"--default-runtime", "x"}), "specified default runtime 'x' does not exist");
}

TEST_F(ConfigFileTest, ReadsAllKinds) {
  auto options = Read(R"({"bridge": "b0", "hosts": ["unix:///x", "unix:///y"], "debug": true,
      "shutdown-timeout": 3, "log-opts": {"max-size": "1m"}, "labels": ["a=b"],
      "default-shm-size": "1g", "proxies": {"http-proxy": "http://p"},
      "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": 20}},
      "runtimes": {"crun": {"path": "/usr/bin/crun"}}, "default-runtime": "crun"})");
  ASSERT_TRUE(options.ok()) << options.error().message();
  EXPECT_EQ(options->bridge, "b0");
  EXPECT_EQ(options->hosts.size(), 2u);
  const engine::Settings& settings = options->settings;
  EXPECT_TRUE(settings.debug);
  EXPECT_EQ(settings.shutdown_timeout, 3);
  EXPECT_EQ(settings.log.config.at("max-size"), "1m");
  EXPECT_EQ(settings.labels, std::vector<std::string>{"a=b"});
  EXPECT_EQ(settings.default_shm_size, 1 << 30);
  EXPECT_EQ(settings.http_proxy, "http://p");
  ASSERT_EQ(settings.default_ulimits.size(), 1u);
  EXPECT_EQ(settings.default_ulimits[0].hard, 20);
  EXPECT_EQ(settings.runtimes.at("crun").path, "/usr/bin/crun");
}

TEST_F(ConfigFileTest, UnknownKeysAreNamedTogether) {
  EXPECT_EQ(ErrorWith(R"({"nope": 1, "debug": true, "bad": {}})"),
            "the following directives don't match any configuration option: bad, nope");
}

TEST_F(ConfigFileTest, FlagAndKey) {
  EXPECT_EQ(ErrorWith(R"({"proxies": {"http-proxy": "http://u:p@b"}})",
                      {"--http-proxy=http://me:word@a/x@y"}),
            "the following directives are specified both as a flag and in the configuration file: "
            "http-proxy: (from flag: http://xxxxx:xxxxx@a/x@y, from file: "
            "http://xxxxx:xxxxx@b)");
  EXPECT_EQ(ErrorWith(R"({"debug": true, "log-level": "info"})", {"-D", "--log-level=debug"}),
            "the following directives are specified both as a flag and in the configuration file: "
            "debug: (from flag: true, from file: true), log-level: (from flag: debug, from file: "
            "info)");
  EXPECT_EQ(ErrorWith(R"({"hosts": ["fd://", "unix:///a"]})", {"-H", "unix:///b"}),
            "the following directives are specified both as a flag and in the configuration file: "
            "hosts: (from flag: [unix:///b], from file: [fd:// unix:///a])");
}

TEST_F(ConfigFileTest, WrongTypesAndValues) {
  EXPECT_EQ(ErrorWith(R"({"debug": "x"})"),
            "json: cannot unmarshal string into Go struct field Config.debug of type bool");
  EXPECT_EQ(ErrorWith(R"({"labels": "x"})"),
            "json: cannot unmarshal string into Go struct field Config.labels of type []string");
  EXPECT_NE(ErrorWith(R"({"debug":)"), "");
  EXPECT_EQ(ErrorWith(""), "");
  EXPECT_EQ(ErrorWith(R"({"authorization-plugins": ["x"]})"),
            "\"authorization-plugins\" cannot be x here: there are no engine plugins");
  EXPECT_EQ(ErrorWith(R"({"log-opts": {"nonsense": "1"}})"),
            "failed to set log opts: unknown log opt 'nonsense' for json-file log driver");
  auto options = Read(R"({"live-restore": false})");
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->warnings.size(), 1u);
}

TEST_F(ConfigFileTest, AMissingFileMattersWhenItIsNamed) {
  EXPECT_EQ(ErrorOf({"--config-file", "/no/such/file"}),
            "unable to configure the Docker daemon with file /no/such/file: open /no/such/file: no "
            "such file or directory");
}

// Every key of docker 29's daemon.json that an engine has is known: it acts, or says why not.
TEST(OptionTable, NoKeyOfDockersIsUnknown) {
  for (std::string_view key : {"authorization-plugins",
                               "exec-opts",
                               "storage-driver",
                               "storage-opts",
                               "labels",
                               "network-diagnostic-port",
                               "pidfile",
                               "data-root",
                               "exec-root",
                               "group",
                               "http-proxy",
                               "https-proxy",
                               "no-proxy",
                               "live-restore",
                               "max-concurrent-downloads",
                               "max-concurrent-uploads",
                               "max-download-attempts",
                               "shutdown-timeout",
                               "default-stop-timeout",
                               "debug",
                               "hosts",
                               "tls",
                               "tlsverify",
                               "tlscacert",
                               "tlscert",
                               "tlskey",
                               "swarm-default-advertise-addr",
                               "swarm-raft-heartbeat-tick",
                               "swarm-raft-election-tick",
                               "metrics-addr",
                               "log-driver",
                               "log-opts",
                               "log-level",
                               "log-format",
                               "raw-logs",
                               "dns",
                               "dns-opts",
                               "dns-search",
                               "host-gateway-ips",
                               "bridge",
                               "fixed-cidr",
                               "iptables",
                               "ip6tables",
                               "ip-forward",
                               "ip-forward-no-drop",
                               "ip-masq",
                               "userland-proxy",
                               "userland-proxy-path",
                               "allow-direct-routing",
                               "bridge-accept-fwmark",
                               "ipv6",
                               "fixed-cidr-v6",
                               "mtu",
                               "ip",
                               "bip",
                               "bip6",
                               "default-gateway",
                               "default-gateway-v6",
                               "icc",
                               "default-address-pools",
                               "network-control-plane-mtu",
                               "default-network-opts",
                               "firewall-backend",
                               "registry-mirrors",
                               "insecure-registries",
                               "experimental",
                               "node-generic-resources",
                               "containerd",
                               "cri-containerd",
                               "containerd-namespace",
                               "containerd-plugin-namespace",
                               "features",
                               "builder",
                               "default-runtime",
                               "runtimes",
                               "cdi-spec-dirs",
                               "nri-opts",
                               "min-api-version",
                               "init",
                               "init-path",
                               "cgroup-parent",
                               "selinux-enabled",
                               "userns-remap",
                               "default-ulimits",
                               "cpu-rt-period",
                               "cpu-rt-runtime",
                               "seccomp-profile",
                               "default-shm-size",
                               "no-new-privileges",
                               "default-ipc-mode",
                               "default-cgroupns-mode",
                               "resolv-conf",
                               "rootless"}) {
    int rows = 0;
    for (const OptionRow& row : OptionTable()) rows += row.key == key ? 1 : 0;
    EXPECT_EQ(rows, 1) << key;
  }
}

}  // namespace
}  // namespace gantry::gantryd
