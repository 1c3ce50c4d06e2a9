// SPDX-License-Identifier: Apache-2.0
#include "engine/top.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/io.h"
#include "base/text.h"
#include "engine/accounts.h"
#include "kernel/spawn.h"

namespace gantry::engine {
namespace {

constexpr size_t kMaxPsOutput = size_t{4} << 20;

// Names of the host's users.
std::map<uint32_t, std::string> UserNames() {
  std::map<uint32_t, std::string> names;
  Result<std::string> text = ReadFile("/etc/passwd");
  if (!text.ok()) return names;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    size_t name_end = line.find(':');
    if (name_end == std::string_view::npos) continue;
    size_t uid_begin = line.find(':', name_end + 1);
    if (uid_begin == std::string_view::npos) continue;
    uint32_t uid = 0;
    auto [end, error] =
        std::from_chars(line.data() + uid_begin + 1, line.data() + line.size(), uid);
    if (error == std::errc()) names.emplace(uid, line.substr(0, name_end));
  }
  return names;
}

std::string TerminalName(int64_t device) {
  if (device == 0) return "?";
  int64_t major = (device >> 8) & 0xfff;
  int64_t minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return fmt::format("pts/{}", minor + (major - 136) * 256);
  return "?";
}

std::string CommandOf(uint32_t pid, const std::string& name) {
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/cmdline", pid));
  if (!text.ok() || text->empty()) return "[" + name + "]";
  while (!text->empty() && text->back() == '\0') text->pop_back();
  std::replace(text->begin(), text->end(), '\0', ' ');
  return *text;
}

// One row as `ps -ef` prints it, from /proc/PID/stat (proc(5)); nothing when the process is gone.
std::vector<std::string> RowOf(uint32_t pid, const std::map<uint32_t, std::string>& users,
                               int64_t boot_seconds) {
  struct stat status{};
  if (::stat(fmt::format("/proc/{}", pid).c_str(), &status) < 0) return {};
  Result<std::string> text = ReadFile(fmt::format("/proc/{}/stat", pid));
  if (!text.ok()) return {};
  size_t open = text->find('(');
  size_t close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos) return {};
  std::string name = text->substr(open + 1, close - open - 1);
  std::vector<std::string> fields = SplitWords(std::string_view(*text).substr(close + 1));
  if (fields.size() < 20) return {};
  auto field = [&](size_t number) { return std::atoll(fields[number - 3].c_str()); };
  const int64_t ticks = ::sysconf(_SC_CLK_TCK);
  int64_t cpu_seconds = (field(14) + field(15)) / ticks;
  int64_t started = boot_seconds + field(22) / ticks;
  int64_t now = ::time(nullptr);
  int64_t alive = std::max<int64_t>(1, now - started);
  time_t start_time = started;
  tm start{};
  ::localtime_r(&start_time, &start);
  auto user = users.find(status.st_uid);
  return {
      user == users.end() ? std::to_string(status.st_uid) : user->second,
      std::to_string(pid),
      fields[1],
      std::to_string(std::min<int64_t>(99, cpu_seconds * 100 / alive)),
      now - started < 86400 ? fmt::format("{:02}:{:02}", start.tm_hour, start.tm_min)
                            : fmt::format("{}{:02}",
                                          std::string_view("JanFebMarAprMayJunJulAugSepOctNovDec")
                                              .substr(static_cast<size_t>(start.tm_mon) * 3, 3),
                                          start.tm_mday),
      TerminalName(field(7)),
      fmt::format("{:02}:{:02}:{:02}", cpu_seconds / 3600, cpu_seconds / 60 % 60, cpu_seconds % 60),
      CommandOf(pid, name)};
}

int64_t BootSeconds() {
  timespec since_boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  return ::time(nullptr) - since_boot.tv_sec;
}

Result<std::string> RunPs(std::string_view arguments) {
  kernel::SpawnOptions options;
  options.program = PathExists("/usr/bin/ps") ? "/usr/bin/ps" : "/bin/ps";
  options.args = SplitWords(arguments);
  options.args.insert(options.args.begin(), "ps");
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  kernel::ProgramOutput ps =
      TRY(kernel::SpawnAndRead(options, kernel::Captured::kOutputAndErrors, kMaxPsOutput));
  if (ps.status.ShellCode() != 0) {
    // How to use ps is of no help here.
    return InvalidArgument("ps: {}", ps.text.substr(0, ps.text.find('\n')));
  }
  return std::move(ps).text;
}

}  // namespace

Result<ProcessTable> ParsePsOutput(std::string_view text, const std::vector<uint32_t>& pids) {
  ProcessTable table;
  table.titles = SplitWords(text.substr(0, text.find('\n')));
  text.remove_prefix(std::min(text.size(), text.find('\n') + 1));
  auto column = std::find(table.titles.begin(), table.titles.end(), "PID");
  if (column == table.titles.end()) return InvalidArgument("Couldn't find PID field in ps output");
  auto index = static_cast<size_t>(column - table.titles.begin());
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::vector<std::string> row = SplitWords(text.substr(0, end), " \t", table.titles.size());
    text.remove_prefix(std::min(text.size(), end + 1));
    if (row.size() <= index) continue;
    auto pid = static_cast<uint32_t>(std::strtoul(row[index].c_str(), nullptr, 10));
    if (std::find(pids.begin(), pids.end(), pid) != pids.end()) table.rows.push_back(row);
  }
  return table;
}

Result<ProcessTable> ListProcesses(Engine& engine, const ContainerRecord& record,
                                   std::string_view arguments) {
  std::vector<uint32_t> pids = TRY(engine.containerd().Pids(record.id));
  std::sort(pids.begin(), pids.end());
  if (!arguments.empty() && arguments != "-ef") {
    return ParsePsOutput(TRY(RunPs(arguments)), pids);
  }
  ProcessTable table;
  table.titles = {"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"};
  std::map<uint32_t, std::string> users = UserNames();
  int64_t boot = BootSeconds();
  for (uint32_t pid : pids) {
    std::vector<std::string> row = RowOf(pid, users, boot);
    if (!row.empty()) table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace gantry::engine
