// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/options.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <set>
#include <utility>

#include "cmd/gantryd/cluster.h"
#include "cmd/gantryd/config_file.h"
#include "cmd/gantryd/option_table.h"
#include "cmd/gantryd/option_values.h"

namespace gantry::gantryd {
namespace {

// gantry's own names from before daemon.json's: the same settings.
struct Alias {
  std::string_view name;
  std::string_view flag;
};
constexpr Alias kAliases[] = {
    {"root", "data-root"}, {"state", "exec-root"}, {"pid-file", "pidfile"}, {"subnet", "bip"}};

const OptionRow* RowOfFlag(std::string_view name) {
  for (const Alias& alias : kAliases) {
    if (alias.name == name) name = alias.flag;
  }
  for (const OptionRow& row : OptionTable()) {
    if (!row.flag.empty() && row.flag == name) return &row;
  }
  return nullptr;
}

const OptionRow* RowOfLetter(char letter) {
  for (const OptionRow& row : OptionTable()) {
    if (row.letter != 0 && row.letter == letter) return &row;
  }
  return nullptr;
}

std::string FlagName(const OptionRow& row) {
  return row.letter != 0 ? fmt::format("-{}, --{}", row.letter, row.flag)
                         : fmt::format("--{}", row.flag);
}

// The command line, taken apart as docker's own does it: --name VALUE, --name=VALUE, -nVALUE, -DH
// VALUE.
class FlagReader {
 public:
  FlagReader(const std::vector<std::string>& arguments, Options* options)
      : arguments_(arguments), options_(options) {}

  Result<FlagValues> Read() {
    for (next_ = 0; next_ < arguments_.size();) {
      const std::string& word = arguments_[next_++];
      if (word.starts_with("--") && word.size() > 2) {
        TRY(Long(word.substr(2)));
      } else if (word.starts_with('-') && word.size() > 1) {
        TRY(Letters(word.substr(1)));
      } else {
        return InvalidArgument("\"gantryd\" accepts no argument(s): '{}'", word);
      }
    }
    return std::move(values_);
  }

 private:
  Result<> Long(std::string name) {
    std::optional<std::string> value;
    size_t equals = name.find('=');
    if (equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    if (name == "config-file") {
      options_->config_file = TRY(ValueOf("--config-file", std::move(value)));
      options_->config_file_given = true;
      return {};
    }
    for (auto [word, out] : {std::pair<std::string_view, bool*>{"version", &options_->version},
                             {"help", &options_->help},
                             {"keep", &options_->keep},
                             {"validate", &options_->validate}}) {
      if (name != word) continue;
      *out = value ? TRY(ParseSwitch(*value)) : true;
      return {};
    }
    const OptionRow* row = RowOfFlag(name);
    if (row == nullptr) return InvalidArgument("unknown flag: --{}", name);
    if (row->kind == Kind::kSwitch && !value) value = "true";
    return Take(*row, TRY(ValueOf("--" + name, std::move(value))));
  }

  Result<> Letters(std::string_view letters) {
    while (!letters.empty()) {
      char letter = letters.front();
      letters.remove_prefix(1);
      if (letter == 'v' || letter == 'h') {
        (letter == 'v' ? options_->version : options_->help) = true;
        continue;
      }
      const OptionRow* row = RowOfLetter(letter);
      if (row == nullptr) {
        return InvalidArgument("unknown shorthand flag: '{}' in -{}{}", letter, letter, letters);
      }
      if (row->kind == Kind::kSwitch) {
        TRY(Take(*row, "true"));
        continue;
      }
      std::optional<std::string> value;
      if (letters.starts_with('=')) letters.remove_prefix(1);
      if (!letters.empty()) value = std::string(letters);
      return Take(*row, TRY(ValueOf(fmt::format("-{}", letter), std::move(value))));
    }
    return {};
  }

  Result<std::string> ValueOf(const std::string& name, std::optional<std::string> value) {
    if (value) return *std::move(value);
    if (next_ == arguments_.size()) return InvalidArgument("flag needs an argument: {}", name);
    return arguments_[next_++];
  }

  Result<> Take(const OptionRow& row, std::string value) {
    values_.emplace_back(&row, std::move(value));
    return {};
  }

  const std::vector<std::string>& arguments_;
  Options* const options_;
  size_t next_ = 0;
  FlagValues values_;
};

// "tls" decides what a host without a port means, so it is known before the hosts are.
std::vector<const OptionRow*> InOrder() {
  std::vector<const OptionRow*> rows;
  for (const OptionRow& row : OptionTable()) rows.push_back(&row);
  std::stable_partition(rows.begin(), rows.end(),
                        [](const OptionRow* row) { return row->key.starts_with("tls"); });
  return rows;
}

// The environment says what flags and file leave open, as dockerd has it.
Result<> ApplyEnvironment(Options* options) {
  auto take = [](const char* name, std::string* out) {
    const char* value = ::getenv(name);
    if (out->empty() && value != nullptr) *out = value;
  };
  engine::Settings& settings = options->settings;
  take("HTTP_PROXY", &settings.http_proxy);
  take("HTTPS_PROXY", &settings.https_proxy);
  take("NO_PROXY", &settings.no_proxy);
  const char* oldest = ::getenv("DOCKER_MIN_API_VERSION");
  if (oldest == nullptr || *oldest == '\0') return {};
  for (const OptionRow& row : OptionTable()) {
    if (row.key == "min-api-version") {
      TRY_WITH(row.take(options, oldest), "invalid DOCKER_MIN_API_VERSION");
    }
  }
  return {};
}

// In dockerd's words.
Result<> CheckNetworks(Options* options) {
  networks::DefaultNetworkOptions& standard = options->networks.default_network;
  const networks::FirewallFamilies& families = options->networks.firewall.families;
  if (!standard.icc && !families.ipv4) {
    return InvalidArgument(
        "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. "
        "Please set --icc or --iptables to true");
  }
  if (!standard.icc && standard.ipv6 && !families.ipv6) {
    return InvalidArgument(
        "You specified --ip6tables=false with --icc=false. ICC=false uses ip6tables to function. "
        "Please set --icc or --ip6tables to true");
  }
  if (!families.ipv4) standard.masquerade = false;
  return {};
}

// A containerd of somebody else's may have others.
Result<> CheckSnapshotter(const Options& options) {
  static const std::set<std::string_view> kOwn = {"overlayfs", "btrfs", "native"};
  if (!options.containerd.empty() || kOwn.contains(options.snapshotter)) return {};
  return InvalidArgument("invalid storage driver \"{}\": overlayfs, btrfs or native",
                         options.snapshotter);
}

void Complete(Options* options) {
  std::string usual = "unix://" + options->state + "/gantry.sock";
  if (options->hosts.empty()) options->hosts.push_back("");
  for (std::string& host : options->hosts) {
    if (host.empty()) host = usual;
  }
  if (options->pid_file.empty()) options->pid_file = options->state + "/gantryd.pid";
  TlsFiles& tls = options->tls;
  if (tls.verify) tls.enabled = true;
  std::string home = ::getenv("HOME") != nullptr ? ::getenv("HOME") : "/root";
  if (tls.authority.empty() && tls.verify) tls.authority = home + "/.docker/ca.pem";
  if (tls.certificate.empty()) tls.certificate = home + "/.docker/cert.pem";
  if (tls.key.empty()) tls.key = home + "/.docker/key.pem";
}

}  // namespace

log::Level Options::Level() const {
  if (settings.debug || log_level == "debug") return log::Level::kDebug;
  if (log_level == "warn") return log::Level::kWarning;
  if (log_level == "error" || log_level == "fatal") return log::Level::kError;
  return log::Level::kInfo;
}

log::Format Options::Format() const {
  return log_format == "json" ? log::Format::kJson : log::Format::kText;
}

Result<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  FlagValues flags = TRY(FlagReader(arguments, &options).Read());
  if (options.help || options.version) return options;
  ConfigFile file = TRY(ConfigFile::Read(options, flags));
  for (const OptionRow* row : InOrder()) {
    for (const auto& [given, value] : flags) {
      if (given != row) continue;
      Result<> taken = row->take(&options, value);
      if (!taken.ok()) {
        return InvalidArgument("invalid argument \"{}\" for \"{}\" flag: {}", value, FlagName(*row),
                               taken.error().message());
      }
    }
    TRY(file.Apply(*row, &options));
  }
  TRY(ApplyEnvironment(&options));
  Complete(&options);
  TRY(CheckNetworks(&options));
  TRY(CheckSnapshotter(options));
  TRY(CheckCluster(options.cluster));
  TRY(engine::CheckSettings(options.settings));
  return options;
}

std::string Usage() {
  std::string out =
      "Usage:  gantryd [OPTIONS]\n        gantryd fsck [--repair] [--quick] [OPTIONS]\n\n"
      "The engine. Every option is a key of --config-file too (docs/daemon-config.md).\n"
      "fsck compares what is on disk with the records while no daemon runs, --quick without\n"
      "digests; 0: they are one, or were made so by --repair.\n\nOptions:\n";
  auto line = [&](const std::string& name, std::string_view help) {
    out += fmt::format("  {:<40} {}\n", name, help);
  };
  line("    --config-file FILE", "JSON (/etc/gantry/daemon.json)");
  for (const OptionRow& row : OptionTable()) {
    if (row.flag.empty() || row.help.empty()) continue;
    std::string name = row.letter != 0 ? fmt::format("-{}, ", row.letter) : std::string("    ");
    name += fmt::format("--{}", row.flag);
    if (!row.placeholder.empty()) name += fmt::format(" {}", row.placeholder);
    line(name, row.help);
  }
  line("    --validate", "check the configuration and exit");
  line("    --keep", "stay as a parent that starts the daemon again when it is killed");
  line("-h, --help", "");
  line("-v, --version", "");
  return out;
}

Result<> RemapUsers(Options* options) {
  if (options->userns_remap.empty()) return {};
  options->remap = TRY(engine::ReadUserRemap(options->userns_remap));
  if (!options->remap) {
    options->warnings.emplace_back("userns-remap: root can't be remapped to itself; it is off");
    return {};
  }
  options->root += fmt::format("/{}.{}", options->remap->root_uid(), options->remap->root_gid());
  return {};
}

namespace {

void CompareDefaultNetworks(const networks::DefaultNetworkOptions& present,
                            const networks::DefaultNetworkOptions& wanted,
                            const std::function<void(bool same, const char* key)>& compare) {
  compare(present.subnet == wanted.subnet && present.gateway == wanted.gateway, "bip");
  compare(present.ip_range == wanted.ip_range, "fixed-cidr");
  compare(present.told_gateway == wanted.told_gateway, "default-gateway");
  compare(present.ipv6 == wanted.ipv6, "ipv6");
  compare(present.subnet6 == wanted.subnet6 && present.gateway6 == wanted.gateway6, "bip6");
  compare(present.ip_range6 == wanted.ip_range6, "fixed-cidr-v6");
  compare(present.told_gateway6 == wanted.told_gateway6, "default-gateway-v6");
  compare(present.icc == wanted.icc, "icc");
  compare(present.masquerade == wanted.masquerade, "ip-masq");
  compare(present.host_binding == wanted.host_binding, "ip");
  compare(present.mtu == wanted.mtu, "mtu");
}

}  // namespace

std::vector<std::string> NeedRestart(const Options& present, const Options& wanted) {
  std::vector<std::string> out;
  auto compare = [&](bool same, const char* key) {
    if (!same) out.emplace_back(key);
  };
  compare(present.hosts == wanted.hosts, "hosts");
  compare(present.docker_socket == wanted.docker_socket, "docker-socket");
  compare(present.root == wanted.root, "data-root");
  compare(present.userns_remap == wanted.userns_remap, "userns-remap");
  compare(present.state == wanted.state, "exec-root");
  compare(present.pid_file == wanted.pid_file, "pidfile");
  compare(present.group == wanted.group, "group");
  compare(present.containerd == wanted.containerd, "containerd");
  compare(present.containerd_namespace == wanted.containerd_namespace, "containerd-namespace");
  compare(present.bridge == wanted.bridge, "bridge");
  CompareDefaultNetworks(present.networks.default_network, wanted.networks.default_network,
                         compare);
  compare(present.networks.netns_links == wanted.networks.netns_links, "netns-links");
  compare(present.cluster == wanted.cluster, "cluster-store");
  compare(present.networks.pools == wanted.networks.pools &&
              present.networks.pools6 == wanted.networks.pools6,
          "default-address-pools");
  const networks::FirewallSetup& rules = present.networks.firewall;
  const networks::FirewallSetup& wanted_rules = wanted.networks.firewall;
  compare(rules.backend == wanted_rules.backend, "firewall-backend");
  compare(rules.families == wanted_rules.families, "iptables");
  compare(rules.direct_routing == wanted_rules.direct_routing, "allow-direct-routing");
  compare(rules.accepted_mark == wanted_rules.accepted_mark, "bridge-accept-fwmark");
  compare(rules.host_decides == wanted_rules.host_decides, "publish-policy");
  compare(present.ip_forward == wanted.ip_forward, "ip-forward");
  compare(present.cgroup_parent == wanted.cgroup_parent, "cgroup-parent");
  compare(present.metrics_address == wanted.metrics_address, "metrics-addr");
  compare(present.log_format == wanted.log_format, "log-format");
  const engine::Settings& now = present.settings;
  const engine::Settings& then = wanted.settings;
  compare(now.max_concurrent_downloads == then.max_concurrent_downloads,
          "max-concurrent-downloads");
  compare(now.http_proxy == then.http_proxy && now.https_proxy == then.https_proxy &&
              now.no_proxy == then.no_proxy,
          "proxies");
  const TlsFiles& tls = present.tls;
  compare(tls.enabled == wanted.tls.enabled && tls.verify == wanted.tls.verify &&
              tls.authority == wanted.tls.authority && tls.certificate == wanted.tls.certificate &&
              tls.key == wanted.tls.key,
          "tls");
  return out;
}

}  // namespace gantry::gantryd
