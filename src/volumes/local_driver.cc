// SPDX-License-Identifier: Apache-2.0
#include "volumes/local_driver.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.h"
#include "formats/human_units.h"
#include "kernel/mounts.h"

namespace gantry::volumes {
namespace {

constexpr size_t kLongestName = 255;  // of a directory
constexpr std::string_view kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

std::string Get(const std::map<std::string, std::string>& options, const std::string& key) {
  auto found = options.find(key);
  return found == options.end() ? "" : found->second;
}

std::string ValueOf(const std::vector<std::string>& words, std::string_view prefix) {
  for (const std::string& word : words) {
    if (word.starts_with(prefix)) return word.substr(prefix.size());
  }
  return "";
}

// The kernel's nfs and cifs take addresses, no names.
Result<std::string> Resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (failed != 0) {
    return Internal("error resolving passed in network volume address: lookup {}: {}", host,
                    ::gai_strerror(failed));
  }
  char text[NI_MAXHOST];
  failed = ::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0,
                         NI_NUMERICHOST);
  ::freeaddrinfo(found);
  if (failed != 0) {
    return Internal("error resolving passed in network volume address: {}", ::gai_strerror(failed));
  }
  return std::string(text);
}

bool IsAddress(const std::string& text) {
  in_addr v4;
  in6_addr v6;
  return ::inet_pton(AF_INET, text.c_str(), &v4) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &v6) == 1;
}

Result<std::vector<std::string>> NetworkOptions(std::vector<std::string> words) {
  std::string address = ValueOf(words, "addr=");
  if (address.empty() || IsAddress(address)) return words;
  std::string resolved = TRY(Resolve(address));
  std::replace(words.begin(), words.end(), "addr=" + address, "addr=" + resolved);
  return words;
}

std::string WithoutPassword(std::string text, const std::string& password) {
  size_t at = password.empty() ? std::string::npos : text.find("password=" + password);
  if (at != std::string::npos) text.replace(at + 9, password.size(), "********");
  return text;
}

}  // namespace

Result<> CheckVolumeName(std::string_view name) {
  if (name.size() == 1) {
    return InvalidArgument(
        "volume name is too short, names should be at least two alphanumeric characters");
  }
  bool good =
      !name.empty() && kLetters.find(name[0]) != std::string_view::npos &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return kLetters.find(c) != std::string_view::npos || c == '_' || c == '.' || c == '-';
      });
  if (!good) {
    return InvalidArgument(
        "\"{}\" includes invalid characters for a local volume name, only "
        "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
        "absolute path",
        name);
  }
  if (name.size() > kLongestName) return InvalidArgument("volume name is too long");
  return {};
}

Result<int64_t> SizeLimit(const std::map<std::string, std::string>& options) {
  auto size = options.find("size");
  if (size == options.end()) return 0;
  Result<int64_t> bytes = formats::ParseBinarySize(size->second);
  if (!bytes.ok()) return InvalidArgument("{}", bytes.error().message());
  return *bytes;
}

Result<> CheckLocalOptions(const std::map<std::string, std::string>& options, bool quotas) {
  for (const auto& [key, value] : options) {
    if (key != "type" && key != "device" && key != "o" && key != "size") {
      return InvalidArgument("invalid option: \"{}\"", key);
    }
  }
  if (TRY(SizeLimit(options)) > 0 && !quotas) {
    return InvalidArgument("quota size requested but no quota support");
  }
  struct Need {
    const char* option;
    const char* needed;
  };
  for (Need need : std::to_array<Need>(
           {{"device", "type"}, {"type", "device"}, {"o", "device"}, {"o", "type"}})) {
    if (options.contains(need.option) && !options.contains(need.needed)) {
      return InvalidArgument("missing required option: \"{}\"", need.needed);
    }
  }
  return {};
}

Result<UniqueFd> MountLocal(const std::map<std::string, std::string>& options,
                            const std::string& target) {
  const std::string device = Get(options, "device");
  const std::string type = Get(options, "type");
  const std::string text = Get(options, "o");
  if (device.empty()) return Internal("missing device in volume options");
  std::vector<std::string> words = SplitWords(text, ",");
  if (type == "nfs" || type == "cifs") words = TRY(NetworkOptions(std::move(words)));
  // mount(2) knows a bind by its flag, whatever the type says.
  bool bind = std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word == "bind" || word == "rbind";
  });
  Result<UniqueFd> mount = kernel::MountDetached(bind ? "bind" : type, device, words);
  if (mount.ok()) return mount;
  std::string why = WithoutPassword(mount.error().message(), ValueOf(words, "password="));
  Error error(ErrorKind::kInternal,
              fmt::format("failed to mount local volume: mount {}:{}, data: {}: {}", device, target,
                          WithoutPassword(text, ValueOf(words, "password=")), why),
              mount.error().error_number());
  return error;
}

}  // namespace gantry::volumes
