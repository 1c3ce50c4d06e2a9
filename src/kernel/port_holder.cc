// SPDX-License-Identifier: Apache-2.0
#include "kernel/port_holder.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <set>
#include <string_view>

#include "base/directory.h"
#include "base/io.h"
#include "base/number.h"
#include "base/text.h"

namespace gantry::kernel {
namespace {

// proc_net_tcp.txt: the columns of /proc/net/tcp and its like.
constexpr size_t kLocalColumn = 1;  // "0100007F:1F90"
constexpr size_t kStateColumn = 3;
constexpr size_t kInodeColumn = 9;
constexpr std::string_view kListening = "0A";
// net/sctp/proc.c: those of /proc/net/sctp/eps, whose ports are decimal.
constexpr size_t kSctpPortColumn = 5;
constexpr size_t kSctpInodeColumn = 7;

// The sockets that have the port, as their descriptors' links show them: "socket:[123]".
void AddSockets(const std::string& file, bool tcp, uint16_t port, std::set<std::string>* sockets) {
  auto text = ReadFile(file);
  if (!text.ok()) return;  // a kernel without IPv6
  for (const std::string& line : Split(*text, '\n')) {
    std::vector<std::string> words = SplitWords(line);
    if (words.size() <= kInodeColumn) continue;
    if (tcp && words[kStateColumn] != kListening) continue;
    std::string_view local = words[kLocalColumn];
    std::string_view number = local.substr(local.rfind(':') + 1);
    unsigned found = 0;
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), found, 16);
    if (error != std::errc() || end != number.data() + number.size() || found != port) continue;
    sockets->insert("socket:[" + words[kInodeColumn] + "]");
  }
}

void AddSctpSockets(uint16_t port, std::set<std::string>* sockets) {
  auto text = ReadFile("/proc/thread-self/net/sctp/eps");
  if (!text.ok()) return;  // a kernel without sctp
  for (const std::string& line : Split(*text, '\n')) {
    std::vector<std::string> words = SplitWords(line);
    if (words.size() <= kSctpInodeColumn) continue;
    if (ParseNumber<uint16_t>(words[kSctpPortColumn]) != port) continue;
    sockets->insert("socket:[" + words[kSctpInodeColumn] + "]");
  }
}

bool HasOneOf(const std::string& process, const std::set<std::string>& sockets) {
  // Processes end and hide while we look.
  auto descriptors = ListDirectory(process + "/fd");
  if (!descriptors.ok()) return false;
  for (const std::string& descriptor : *descriptors) {
    std::array<char, 64> link{};
    ssize_t size = ::readlink((process + "/fd/" + descriptor).c_str(), link.data(), link.size());
    if (size > 0 && sockets.contains(std::string(link.data(), static_cast<size_t>(size)))) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<PortHolder> FindPortHolder(PortKind kind, uint16_t port) {
  std::set<std::string> sockets;
  if (kind == PortKind::kSctp) {
    AddSctpSockets(port, &sockets);
  } else {
    bool tcp = kind == PortKind::kTcp;
    std::string file = std::string("/proc/thread-self/net/") + (tcp ? "tcp" : "udp");
    AddSockets(file, tcp, port, &sockets);
    AddSockets(file + "6", tcp, port, &sockets);
  }
  auto processes = ListDirectory("/proc");
  if (sockets.empty() || !processes.ok()) return std::nullopt;
  for (const std::string& name : *processes) {
    PortHolder holder;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), holder.pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    if (!HasOneOf("/proc/" + name, sockets)) continue;
    auto program = ReadFile("/proc/" + name + "/comm");
    if (!program.ok()) continue;
    holder.program = std::string(Trim(*program));
    return holder;
  }
  return std::nullopt;
}

}  // namespace gantry::kernel
