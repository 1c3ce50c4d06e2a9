// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-registry/options.h"

#include <array>

namespace gantry::distribution {
namespace {

constexpr const char* kDefaultAddress = "127.0.0.1:5000";

struct TextFlag {
  std::string_view name;
  std::string Options::* member;
};
constexpr std::array kTextFlags = {
    TextFlag{"--containerd", &Options::containerd},
    TextFlag{"--namespace", &Options::name_space},
    TextFlag{"--tls-cert", &Options::certificate},
    TextFlag{"--tls-key", &Options::key},
    TextFlag{"--tls-client-ca", &Options::client_authority},
    TextFlag{"--htpasswd", &Options::passwords},
};

struct Switch {
  std::string_view name;
  bool Options::* member;
};
constexpr std::array kSwitches = {
    Switch{"--store", &Options::store},
    Switch{"--writable", &Options::writable},
    Switch{"--anonymous-pull", &Options::anonymous_pull},
    Switch{"--read-only", &Options::read_only},
    Switch{"--help", &Options::help},
    Switch{"-h", &Options::help},
    Switch{"--version", &Options::version},
};

Result<> Check(const Options& options) {
  if (options.root.empty() == !options.store) {
    return InvalidArgument("a directory or --store, one of the two (--help)");
  }
  if (options.writable && !options.store) return InvalidArgument("--writable needs --store");
  if (options.writable && options.read_only) {
    return InvalidArgument("--writable and --read-only, one of the two");
  }
  if (options.certificate.empty() != options.key.empty()) {
    return InvalidArgument("--tls-cert and --tls-key belong together");
  }
  if (!options.client_authority.empty() && options.certificate.empty()) {
    return InvalidArgument("--tls-client-ca needs --tls-cert");
  }
  if (options.anonymous_pull && options.passwords.empty()) {
    return InvalidArgument("--anonymous-pull needs --htpasswd");
  }
  return {};
}

}  // namespace

const char* const kUsage =
    "usage: gantry registry serve [options] DIR | --store\n"
    "A registry of images (OCI distribution-spec 1.1) over a directory of its own, or over the "
    "images\n"
    "that a container daemon has.\n"
    "  --store              the images of the daemon at --containerd SOCKET (default\n"
    "                       /run/gantry/containerd.sock), of --namespace NAME (default gantry)\n"
    "  --writable           with --store: what others push becomes an image of that daemon\n"
    "  --address, -a HOST:PORT|unix:///PATH  where it listens; may be repeated (default\n"
    "                       127.0.0.1:5000)\n"
    "  --tls-cert FILE      certificate and chain, PEM; with --tls-key FILE\n"
    "  --tls-client-ca FILE clients need a certificate of this authority\n"
    "  --htpasswd FILE      names and bcrypt hashes, as htpasswd -B writes them\n"
    "  --anonymous-pull     only who writes needs a password\n"
    "  --read-only          nobody writes\n"
    "  --version, --help\n";

Result<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  size_t first = !arguments.empty() && arguments[0] == "serve" ? 1 : 0;
  for (size_t i = first; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (!name.starts_with('-')) {
      if (!options.root.empty()) return InvalidArgument("'{}': one directory only", name);
      options.root = name;
      continue;
    }
    bool known = false;
    for (const Switch& one : kSwitches) {
      if (one.name != name) continue;
      options.*one.member = known = true;
    }
    if (known) continue;
    std::string value;
    size_t equal = name.find('=');
    if (equal != std::string::npos) {
      value = name.substr(equal + 1);
      name.resize(equal);
    }
    std::string* target = nullptr;
    for (const TextFlag& one : kTextFlags) {
      if (one.name == name) target = &(options.*one.member);
    }
    if (name == "--address" || name == "-a") target = &options.addresses.emplace_back();
    if (target == nullptr) return InvalidArgument("unknown flag '{}' (--help)", name);
    if (equal == std::string::npos) {
      if (++i == arguments.size()) return InvalidArgument("flag '{}' needs a value", name);
      value = arguments[i];
    }
    if (value.empty()) return InvalidArgument("flag '{}' must not be empty", name);
    *target = value;
  }
  if (options.help || options.version) return options;
  if (options.addresses.empty()) options.addresses.emplace_back(kDefaultAddress);
  TRY(Check(options));
  return options;
}

}  // namespace gantry::distribution
