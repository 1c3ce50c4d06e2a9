// SPDX-License-Identifier: Apache-2.0
#include "engine/network_options.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/number.h"
#include "base/text.h"
#include "networks/cni_config.h"

namespace gantry::engine {
namespace {

using formats::Ipv4Address;
using formats::Ipv4Prefix;
using formats::Ipv6Address;
using formats::Ipv6Prefix;
using networks::NetworkRequest;

// What an interface name may have: IFNAMSIZ less the end.
constexpr size_t kMaxInterfaceName = 15;
constexpr int kMinMtu = 68;                  // RFC 791
constexpr int kMaxMtu = 65'535;              // of a bridge
constexpr uint32_t kMaxVni = (1 << 24) - 1;  // RFC 7348 section 5

Error BadValue(std::string_view key, const std::string& text, std::string_view why) {
  return InvalidArgument("failed to parse {} value: {} ({})", key, text, why);
}

Result<uint32_t> ParseMtu(std::string_view key, const std::string& text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return BadValue(key, text, fmt::format("strconv.Atoi: parsing \"{}\": invalid syntax", text));
  }
  if (value != 0 && (value < kMinMtu || value > kMaxMtu)) {
    return InvalidArgument("invalid MTU number: {}", value);
  }
  return static_cast<uint32_t>(value);
}

Result<std::string> ParseBridgeName(const std::string& text) {
  if (text.size() > kMaxInterfaceName || text == "." || text == ".." ||
      text.find_first_of("/: \t\n") != std::string::npos) {
    return InvalidArgument("invalid bridge name '{}': it must be an interface's name", text);
  }
  return text;
}

Result<networks::GatewayMode> ParseMode(std::string_view key, const std::string& text) {
  auto mode = networks::ParseGatewayMode(text);
  if (!mode.ok()) return BadValue(key, text, mode.error().message());
  return mode;
}

template <typename Address>
Result<Address> ParseAddress(std::string_view key, const std::string& text) {
  auto address = Address::Parse(text);
  if (!address.ok()) return BadValue(key, text, "nil ip");
  return address;
}

using Take = std::function<Result<>(std::string_view, const std::string&, NetworkRequest*)>;

// Reads the value with `parse` into the request's `member`.
template <typename Parse, typename Member>
Take Into(Parse parse, Member NetworkRequest::* member) {
  return [=](std::string_view key, const std::string& text, NetworkRequest* request) -> Result<> {
    request->*member = TRY(parse(key, text));
    return {};
  };
}

// A whole number that is read where it is needed (networks/announce.cc).
Take Within(int low, int high, std::string_view what) {
  return [=](std::string_view key, const std::string& text, NetworkRequest*) -> Result<> {
    auto number = ParseNumber<int>(text);
    if (!number) return InvalidArgument("value for option {} \"{}\" must be {}", key, text, what);
    if (*number >= low && *number <= high) return {};
    return InvalidArgument("{} must be in the range {} to {}", key, low, high);
  };
}

const std::map<std::string_view, Take>& Options() {
  auto plain = [](std::string_view, const std::string& text) -> Result<std::string> {
    return text;
  };
  auto bridge = [](std::string_view, const std::string& text) { return ParseBridgeName(text); };
  auto binding = [](std::string_view key, const std::string& text) -> Result<std::string> {
    TRY(ParseAddress<Ipv4Address>(key, text));
    return text;
  };
  auto interfaces = [](std::string_view,
                       const std::string& text) -> Result<std::vector<std::string>> {
    std::vector<std::string> names = Split(text, ':');
    std::erase(names, "");
    return names;
  };
  static const std::map<std::string_view, Take> options = {
      {networks::kOptionAnnounceInterval, Within(100, 2000, "integer milliseconds")},
      {networks::kOptionAnnouncements, Within(0, 3, "an integer")},
      {"com.docker.network.bridge.default_bridge",
       Into(ParseNetworkFlag, &NetworkRequest::default_bridge)},
      {"com.docker.network.bridge.enable_icc", Into(ParseNetworkFlag, &NetworkRequest::icc)},
      {"com.docker.network.bridge.enable_ip_masquerade",
       Into(ParseNetworkFlag, &NetworkRequest::masquerade)},
      {"com.docker.network.bridge.gateway_mode_ipv4", Into(ParseMode, &NetworkRequest::mode4)},
      {"com.docker.network.bridge.gateway_mode_ipv6", Into(ParseMode, &NetworkRequest::mode6)},
      {"com.docker.network.bridge.host_binding_ipv4", Into(binding, &NetworkRequest::host_binding)},
      {"com.docker.network.bridge.inhibit_ipv4",
       Into(ParseNetworkFlag, &NetworkRequest::inhibit_ipv4)},
      {"com.docker.network.bridge.name", Into(bridge, &NetworkRequest::bridge)},
      {"com.docker.network.bridge.trusted_host_interfaces",
       Into(interfaces, &NetworkRequest::trusted_interfaces)},
      {"com.docker.network.container_iface_prefix", Into(plain, &NetworkRequest::interface_prefix)},
      {"com.docker.network.driver.mtu", Into(ParseMtu, &NetworkRequest::mtu)},
      {"com.docker.network.host_ipv4", Into(ParseAddress<Ipv4Address>, &NetworkRequest::host_ipv4)},
      {"com.docker.network.host_ipv6", Into(ParseAddress<Ipv6Address>, &NetworkRequest::host_ipv6)},
      {"com.docker.network.mtu", Into(ParseMtu, &NetworkRequest::mtu)},
  };
  return options;
}

bool IsIpv6(const std::string& text) { return text.find(':') != std::string::npos; }

// "10.1.1.5/24" is the subnet 10.1.1.0/24, as docker has it.
Result<> ParseSubnet(const std::string& text, std::optional<Ipv4Prefix>* out) {
  size_t slash = std::min(text.find('/'), text.size());
  auto address = Ipv4Address::Parse(std::string_view(text).substr(0, slash));
  uint8_t length = 0;
  const char* begin = text.data() + std::min(slash + 1, text.size());
  auto [end, error] = std::from_chars(begin, text.data() + text.size(), length);
  if (!address.ok() || error != std::errc() || end != text.data() + text.size() || length > 32) {
    return InvalidArgument("Invalid subnet {} : invalid CIDR address: {}", text, text);
  }
  *out = Ipv4Prefix::Of(*address, length);
  return {};
}

Result<> ParseSubnet(const std::string& text, std::optional<Ipv6Prefix>* out) {
  auto subnet = Ipv6Prefix::ParseLoosely(text);
  if (!subnet.ok()) {
    return InvalidArgument("Invalid subnet {} : invalid CIDR address: {}", text, text);
  }
  *out = *subnet;
  return {};
}

template <typename Prefix>
using AddressOf = decltype(Prefix::network);

// Where the parts of a pool go.
template <typename Prefix>
struct Pool {
  std::optional<Prefix>* subnet;
  std::optional<Prefix>* range;
  std::optional<AddressOf<Prefix>>* gateway;
  std::map<std::string, AddressOf<Prefix>>* auxiliary;
  std::optional<uint8_t>* length;  // of a subnet that is chosen
};

template <typename Prefix>
Result<> ReadPool(const networks::IpamConfig& config, const Pool<Prefix>& pool) {
  using Address = AddressOf<Prefix>;
  TRY(ParseSubnet(config.subnet, pool.subnet));
  // docker's ways to say "any", and "any of this size".
  if ((*pool.subnet)->network.IsUnspecified()) {
    if ((*pool.subnet)->length > 0) *pool.length = (*pool.subnet)->length;
    pool.subnet->reset();
  }
  if (!config.ip_range.empty() && !ParseSubnet(config.ip_range, pool.range).ok()) {
    return InvalidArgument("Invalid Address SubPool: {}", config.ip_range);
  }
  if (!config.gateway.empty()) {
    auto gateway = Address::Parse(config.gateway);
    if (!gateway.ok()) {
      return InvalidArgument("invalid gateway address {} in Ipam configuration", config.gateway);
    }
    *pool.gateway = *gateway;
  }
  for (const auto& [name, text] : config.auxiliary) {
    auto address = Address::Parse(text);
    if (!address.ok()) {
      return InvalidArgument("invalid auxiliary address {} in Ipam configuration", text);
    }
    (*pool.auxiliary)[name] = *address;
  }
  return {};
}

// One after the first.
template <typename Prefix>
Result<networks::BasicSubnet<Prefix>> ReadFurtherPool(const networks::IpamConfig& config) {
  std::optional<Prefix> subnet;
  std::optional<uint8_t> length;
  std::map<std::string, AddressOf<Prefix>> auxiliary;
  networks::BasicSubnet<Prefix> read;
  TRY(ReadPool<Prefix>(config, {&subnet, &read.ip_range, &read.gateway, &auxiliary, &length}));
  if (!subnet) return InvalidArgument("Invalid subnet {} : it is all addresses", config.subnet);
  read.subnet = *subnet;
  for (const auto& [name, address] : auxiliary) read.auxiliary.push_back(address);
  return read;
}

template <typename Prefix>
Result<> ReadNextPool(const networks::IpamConfig& config, bool bridge, const Pool<Prefix>& first,
                      std::vector<networks::BasicSubnet<Prefix>>* more) {
  if (!*first.subnet) return ReadPool(config, first);
  if (bridge) {
    return MakeError(ErrorKind::kPermissionDenied,
                     "bridge driver doesn't support multiple subnets");
  }
  more->push_back(TRY(ReadFurtherPool<Prefix>(config)));
  return {};
}

}  // namespace

Result<bool> ParseNetworkFlag(std::string_view key, const std::string& text) {
  for (const char* yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return BadValue(key, text,
                  fmt::format("strconv.ParseBool: parsing \"{}\": invalid syntax", text));
}

namespace {

bool HasParent(const NetworkRequest& request) {
  return request.driver == "macvlan" || request.driver == "ipvlan";
}

bool IsOneOf(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Of macvlan and ipvlan; all others are kept and mean nothing.
Result<> ReadParentOptions(const std::map<std::string, std::string>& options,
                           NetworkRequest* request) {
  const std::string& driver = request->driver;
  bool ipvlan = driver == "ipvlan";
  request->parent_mode = "bridge";
  if (ipvlan) request->parent_layer = "l2";
  for (const auto& [key, value] : options) {
    if (key == "parent") request->parent = value;
    if (value.empty()) continue;
    if (key == (ipvlan ? "ipvlan_flag" : "macvlan_mode")) request->parent_mode = value;
    if (key == "ipvlan_mode" && ipvlan) request->parent_layer = value;
  }
  if (ipvlan && !IsOneOf(request->parent_layer, {"l2", "l3", "l3s"})) {
    return Internal(
        "requested ipvlan mode '{}' is not valid, 'l2' mode is the ipvlan driver default",
        request->parent_layer);
  }
  if (!IsOneOf(request->parent_mode, {"bridge", "private", "vepa"}) &&
      (ipvlan || request->parent_mode != networks::kPassthru)) {
    return Internal("requested {} {} '{}' is not valid, 'bridge' {}is the {} driver default",
                    driver, ipvlan ? "flag" : "mode", request->parent_mode, ipvlan ? "" : "mode ",
                    driver);
  }
  if (request->parent == "lo") {
    return Internal("loopback interface is not a valid {} parent link", driver);
  }
  request->options = options;
  return {};
}

// Where CNI's own tools look for configurations and programs; Debian's are in the second directory.
constexpr const char* kCniDirectory = "/etc/cni/net.d";
constexpr const char* kCniPath = "/opt/cni/bin:/usr/lib/cni";

// Of cni: `cni.conf`, a file; `cni.dir`, where it is; `cni.path`, where plugins are.
Result<> ReadCniOptions(const std::map<std::string, std::string>& options,
                        NetworkRequest* request) {
  if (!request->ipam.empty() || request->internal || request->ipv6) {
    return InvalidArgument(
        "network {}: the driver cni has addresses and families from its configuration",
        request->name);
  }
  auto option = [&](const char* key, const char* usual) {
    auto given = options.find(key);
    return given == options.end() ? std::string(usual) : given->second;
  };
  request->cni_path = Split(option("cni.path", kCniPath), ':');
  std::erase(request->cni_path, "");
  for (const std::string& directory : request->cni_path) {
    if (directory.starts_with('/')) continue;
    return InvalidArgument("cni.path: '{}' is no absolute path", directory);
  }
  std::string file = option("cni.conf", "");
  if (file.find('/') != std::string::npos && !file.starts_with('/')) {
    return InvalidArgument("cni.conf: '{}' is neither a file's name nor an absolute path", file);
  }
  request->cni_config =
      TRY(networks::FindCniConfig(option("cni.dir", kCniDirectory), file, request->name));
  request->options = options;
  return {};
}

// "4100", or "4100,4101": the first is the network's.
Result<> ReadOverlayOptions(const std::map<std::string, std::string>& options,
                            NetworkRequest* request) {
  request->mode4 = request->mode6 = networks::GatewayMode::kIsolated;
  request->mtu = 0;
  for (const auto& [key, value] : options) {
    if (key == "com.docker.network.driver.overlay.vxlanid_list") {
      auto number = ParseNumber<uint32_t>(Split(value, ',').front());
      if (!number || *number == 0 || *number > kMaxVni) {
        return InvalidArgument("invalid vxlan id value \"{}\" passed", value);
      }
      request->vni = *number;
    }
    // docker's is there or not; a word after it may still say that it is not meant.
    if (key == "encrypted") request->encrypted = value.empty() || TRY(ParseNetworkFlag(key, value));
    if (key == "com.docker.network.driver.mtu") request->mtu = TRY(ParseMtu(key, value));
  }
  request->options = options;
  return {};
}

}  // namespace

Result<> ReadNetworkOptions(const std::map<std::string, std::string>& options,
                            NetworkRequest* request) {
  if (request->driver == "cni") return ReadCniOptions(options, request);
  if (HasParent(*request)) return ReadParentOptions(options, request);
  if (request->driver == "overlay") return ReadOverlayOptions(options, request);
  if (!networks::IsBuiltInDriver(request->driver)) {
    // The plugin's matter.
    request->options = options;
    return {};
  }
  for (const auto& [key, value] : options) {
    auto known = Options().find(key);
    if (known != Options().end()) TRY(known->second(key, value, request));
  }
  bool isolated = request->mode4 == networks::GatewayMode::kIsolated ||
                  request->mode6 == networks::GatewayMode::kIsolated;
  if (isolated && !request->internal) {
    return Internal("gateway mode 'isolated' can only be used for an internal network");
  }
  request->options = options;
  return {};
}

Result<> ReadPools(NetworkRequest* request) {
  NetworkRequest& r = *request;
  bool bridge = !HasParent(r) && networks::IsBuiltInDriver(r.driver);
  for (const networks::IpamConfig& config : r.ipam) {
    if (!IsIpv6(config.subnet)) {
      if (!r.ipv4) continue;
      TRY(ReadNextPool<Ipv4Prefix>(
          config, bridge, {&r.subnet, &r.ip_range, &r.gateway, &r.auxiliary, &r.subnet_length},
          &r.more));
    } else if (r.ipv6) {
      TRY(ReadNextPool<Ipv6Prefix>(
          config, bridge, {&r.subnet6, &r.ip_range6, &r.gateway6, &r.auxiliary6, &r.subnet_length6},
          &r.more6));
    }
  }
  return {};
}

}  // namespace gantry::engine
