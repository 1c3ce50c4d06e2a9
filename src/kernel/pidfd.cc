// SPDX-License-Identifier: Apache-2.0
#include "kernel/pidfd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <string>

namespace gantry::kernel {
namespace {

std::optional<int> Number(std::string_view text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<ProcessStat> ReadProcessStat(pid_t pid) {
  char text[1024];
  UniqueFd file(::open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  ssize_t size = ::read(file.get(), text, sizeof text - 1);
  if (size <= 0) return std::nullopt;
  text[size] = '\0';
  // Field 2 is the name in parentheses and may hold anything; count from its end (proc(5)).
  const char* at = ::strrchr(text, ')');
  if (at == nullptr || at[1] != ' ') return std::nullopt;
  ProcessStat stat;
  stat.state = at[2];
  at += 2;
  for (int field = 3; field < 22; ++field) {
    at = ::strchr(at, ' ');
    if (at == nullptr) return std::nullopt;
    ++at;
  }
  stat.start_time = ::strtoull(at, nullptr, 10);
  return stat;
}

Result<UniqueFd> OpenProcess(pid_t pid, uint64_t start_time) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    if (errno == ESRCH) return NotFound("process {} does not exist", pid);
    return ErrnoError("opening process {}", pid);
  }
  // Looked at after the pidfd was opened: what has this start time now is what the pidfd holds.
  std::optional<ProcessStat> stat = ReadProcessStat(pid);
  if (!stat || stat->start_time != start_time || stat->state == 'Z' || stat->state == 'X') {
    return NotFound("process {} does not exist", pid);
  }
  return pidfd;
}

Result<> SendSignal(BorrowedFd pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) < 0) {
    if (errno == ESRCH) return NotFound("sending signal {}: process does not exist", signal);
    return ErrnoError("sending signal {}", signal);
  }
  return {};
}

Result<int> ParseSignal(std::string_view text) {
  if (std::optional<int> number = Number(text)) {
    if (*number >= 0 && *number <= 64) return *number;
    return InvalidArgument("unknown signal '{}'", text);
  }
  std::string name;
  for (char c : text) name.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c);
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int signal = 1; signal < 32; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known != nullptr && name == known) return signal;
  }
  if (name == "CLD") return SIGCHLD;
  if (name == "IOT") return SIGABRT;
  // As the kernel and docker count: RTMIN is 34 with glibc, RTMAX 64.
  if (name == "RTMIN") return 34;
  if (name == "RTMAX") return 64;
  std::optional<int> offset =
      name.size() > 6 ? Number(std::string_view(name).substr(6)) : std::nullopt;
  if (offset && name.starts_with("RTMIN+") && *offset <= 30) return 34 + *offset;
  if (offset && name.starts_with("RTMAX-") && *offset <= 30) return 64 - *offset;
  return InvalidArgument("unknown signal '{}'", text);
}

}  // namespace gantry::kernel
