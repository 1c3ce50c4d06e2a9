// SPDX-License-Identifier: Apache-2.0
#include "shim/arguments.h"

#include <cstdlib>

namespace gantry::shim {
namespace {

// Longest path that fits into sockaddr_un with room for a suffix.
constexpr size_t kMaxSocketPath = 104;

// A name for a socket, not a secret: 128 bits of FNV-1a in two halves. A real digest would pull a
// crypto library into this program.
std::string HashName(std::string_view text) {
  uint64_t low = 0xcbf29ce484222325;
  uint64_t high = 0x9ae16a3b2f90404f;
  for (char c : text) {
    low = (low ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    high = (high ^ static_cast<uint8_t>(c) ^ (low >> 32)) * 0x100000001b3;
  }
  return fmt::format("{:016x}{:016x}", high, low);
}

std::string AddressDirectory(std::string_view address) {
  if (address.starts_with("unix://")) address.remove_prefix(7);
  size_t slash = address.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return "/run/containerd";
  return std::string(address.substr(0, slash));
}

}  // namespace

Result<Arguments> ParseArguments(const std::vector<std::string>& args) {
  Arguments out;
  if (const char* address = std::getenv("TTRPC_ADDRESS")) out.ttrpc_address = address;
  size_t i = 1;
  for (; i < args.size() && args[i].starts_with("-") && args[i] != "-"; ++i) {
    std::string name = args[i].substr(args[i].starts_with("--") ? 2 : 1);
    if (name.empty()) {
      ++i;
      break;
    }
    std::string* target = nullptr;
    std::string value;
    size_t equals = name.find('=');
    bool has_value = equals != std::string::npos;
    if (has_value) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    if (name == "debug") {
      out.debug = !has_value || value == "true";
      continue;
    }
    if (name == "v" || name == "version") {
      out.action = Action::kVersion;
      continue;
    }
    if (name == "info") {
      out.action = Action::kInfo;
      continue;
    }
    if (name == "namespace") target = &out.name_space;
    if (name == "id") target = &out.id;
    if (name == "address") target = &out.address;
    if (name == "publish-binary") target = &out.publish_binary;
    if (name == "socket") target = &out.socket;
    if (name == "bundle") target = &out.bundle;
    if (target == nullptr) return InvalidArgument("unknown flag '{}'", args[i]);
    if (!has_value) {
      if (i + 1 == args.size()) return InvalidArgument("flag '{}' needs a value", args[i]);
      value = args[++i];
    }
    *target = std::move(value);
  }
  if (i < args.size()) {
    if (args[i] == "start") {
      out.action = Action::kStart;
    } else if (args[i] == "delete") {
      out.action = Action::kDelete;
    } else {
      return InvalidArgument("unknown action '{}'", args[i]);
    }
  }
  bool needs_id = out.action != Action::kInfo && out.action != Action::kVersion;
  if (needs_id && out.id.empty()) return InvalidArgument("flag '-id' is missing");
  if (needs_id && out.name_space.empty()) return InvalidArgument("flag '-namespace' is missing");
  if (out.id.find('/') != std::string::npos || out.name_space.find('/') != std::string::npos) {
    return InvalidArgument("id '{}' or namespace '{}' has a slash", out.id, out.name_space);
  }
  return out;
}

std::string SocketPath(const Arguments& arguments, const std::string& socket_dir) {
  if (!arguments.socket.empty()) {
    return arguments.socket.starts_with("unix://") ? arguments.socket.substr(7) : arguments.socket;
  }
  std::string directory =
      socket_dir.empty() ? AddressDirectory(arguments.address) + "/s" : socket_dir;
  std::string hash =
      HashName(fmt::format("{}/{}/{}", arguments.address, arguments.name_space, arguments.id));
  if (directory.size() + 1 + hash.size() > kMaxSocketPath) directory = "/run/containerd/s";
  return directory + "/" + hash;
}

std::string DefaultRuntimeRoot(const Arguments& arguments) {
  return AddressDirectory(arguments.address) + "/runtime/" + arguments.name_space;
}

}  // namespace gantry::shim
