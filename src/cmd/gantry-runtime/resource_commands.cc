// SPDX-License-Identifier: Apache-2.0
//
// `update`, `events`, `ps`, `list`, `spec`.
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "cmd/gantry-runtime/commands.h"
#include "kernel/spawn.h"
#include "runtime/operations.h"

namespace gantry::cmd {
namespace {

constexpr size_t kMaxResources = size_t{1} << 20;
constexpr int64_t kUnset = INT64_MIN;

Result<oci::Resources> ReadResources(const std::string& file) {
  std::string text = file == "-" ? TRY(ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxResources))
                                 : TRY(ReadFile(file, kMaxResources));
  return oci::ParseResources(TRY(formats::Json::Parse(text)));
}

template <typename T>
void Take(int64_t value, std::optional<T>* out) {
  if (value != kUnset) *out = static_cast<T>(value);
}

}  // namespace

Result<int> UpdateCommand(const GlobalOptions& global, Words words) {
  std::string file;
  oci::Memory memory;
  oci::Cpu cpu;
  oci::BlockIo block;
  int64_t limit = kUnset, reservation = kUnset, swap = kUnset, kernel = kUnset, tcp = kUnset;
  int64_t shares = kUnset, quota = kUnset, period = kUnset, burst = kUnset, idle = kUnset;
  int64_t rt_runtime = kUnset, rt_period = kUnset, weight = kUnset, pids = kUnset;
  Arguments arguments(std::move(words));
  arguments.Value("resources,r", &file);
  arguments.Number("memory", &limit);
  arguments.Number("memory-reservation", &reservation);
  arguments.Number("memory-swap", &swap);
  arguments.Number("kernel-memory", &kernel);
  arguments.Number("kernel-memory-tcp", &tcp);
  arguments.Number("cpu-share,cpu-shares", &shares);
  arguments.Number("cpu-quota", &quota);
  arguments.Number("cpu-period", &period);
  arguments.Number("cpu-burst", &burst);
  arguments.Number("cpu-idle", &idle);
  arguments.Number("cpu-rt-runtime", &rt_runtime);
  arguments.Number("cpu-rt-period", &rt_period);
  arguments.Value("cpuset-cpus", &cpu.cpus);
  arguments.Value("cpuset-mems", &cpu.mems);
  arguments.Number("blkio-weight", &weight);
  arguments.Number("pids-limit", &pids);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  oci::Resources resources;
  if (!file.empty()) {
    resources = TRY(ReadResources(file));
  } else {
    Take(limit, &memory.limit);
    Take(reservation, &memory.reservation);
    Take(swap, &memory.swap);
    Take(kernel, &memory.kernel);
    Take(tcp, &memory.kernel_tcp);
    Take(shares, &cpu.shares);
    Take(quota, &cpu.quota);
    Take(period, &cpu.period);
    Take(burst, &cpu.burst);
    Take(idle, &cpu.idle);
    Take(rt_runtime, &cpu.realtime_runtime);
    Take(rt_period, &cpu.realtime_period);
    Take(weight, &block.weight);
    resources.memory = memory;
    resources.cpu = cpu;
    resources.block_io = block;
    if (pids != kUnset) resources.pids = oci::Pids{pids};
  }
  TRY(runtime::Update(global.root, arguments.rest()[0], resources));
  return 0;
}

Result<int> EventsCommand(const GlobalOptions& global, Words words) {
  bool once = false;
  std::string interval = "5s";
  Arguments arguments(std::move(words));
  arguments.Flag("stats", &once);
  arguments.Value("interval", &interval);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  if (interval.ends_with('s')) interval.pop_back();
  int seconds = ::atoi(interval.c_str());
  if (seconds <= 0) return InvalidArgument("--interval must be at least 1s");
  for (;;) {
    Result<formats::Json> stats = runtime::Stats(global.root, arguments.rest()[0]);
    if (!stats.ok() && !once && stats.error().kind() == ErrorKind::kFailedPrecondition) return 0;
    ::printf("%s\n", TRY(std::move(stats)).Dump().c_str());
    ::fflush(stdout);
    if (once) return 0;
    ::poll(nullptr, 0, seconds * 1000);  // the interval that was asked for
  }
}

Result<int> PsCommand(const GlobalOptions& global, Words words) {
  std::string format = "table";
  Arguments arguments(std::move(words));
  arguments.Value("format,f", &format);
  TRY(arguments.Parse(Arguments::Order::kOptionsFirst));
  if (arguments.rest().empty()) return InvalidArgument("expected a container ID");
  std::vector<pid_t> pids = TRY(runtime::Processes(global.root, arguments.rest()[0]));
  if (format == "json") {
    formats::Json array = formats::Json::MakeArray();
    for (pid_t pid : pids) array.Append(pid);
    ::printf("%s\n", array.Dump().c_str());
    return 0;
  }
  if (format != "table") return InvalidArgument("unknown format '{}'", format);
  std::string list;
  for (pid_t pid : pids) list += (list.empty() ? "" : ",") + std::to_string(pid);
  kernel::SpawnOptions ps;
  ps.program = "/bin/ps";
  ps.args = {"ps", "-f", "-p", list};
  for (size_t i = 1; i < arguments.rest().size(); ++i) ps.args.push_back(arguments.rest()[i]);
  ps.env = {"PATH=/usr/bin:/bin"};
  ps.fds = {{1, 1}, {2, 2}};
  ::fflush(stdout);
  return TRY(kernel::SpawnAndWait(ps)).ShellCode();
}

Result<int> ListCommand(const GlobalOptions& global, Words words) {
  std::string format = "table";
  bool quiet = false;
  Arguments arguments(std::move(words));
  arguments.Value("format,f", &format);
  arguments.Flag("quiet,q", &quiet);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  formats::Json array = formats::Json::MakeArray();
  std::string table =
      fmt::format("{:<20}{:<12}{:<12}{:<30}{}\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
  for (const std::string& id : TRY(runtime::ListIds(global.root))) {
    Result<formats::Json> state = runtime::State(global.root, id);
    if (!state.ok()) continue;  // removed meanwhile
    const formats::Json& json = *state;
    table += fmt::format("{:<20}{:<12}{:<12}{:<30}{}\n", id, json["pid"].AsInt(),
                         json["status"].AsString(), json["bundle"].AsString(),
                         json["created"].AsString());
    if (quiet) ::printf("%s\n", id.c_str());
    array.Append(json);
  }
  if (quiet) return 0;
  if (format != "json" && format != "table") return InvalidArgument("unknown format '{}'", format);
  ::fputs(format == "json" ? (array.Dump() + "\n").c_str() : table.c_str(), stdout);
  return 0;
}

Result<int> SpecCommand(const GlobalOptions&, Words words) {
  std::string bundle = ".";
  Arguments arguments(std::move(words));
  arguments.Value("bundle,b", &bundle);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  std::string path = bundle + "/config.json";
  if (PathExists(path)) return AlreadyExists("file '{}' exists; remove it first", path);
  TRY(CreateFile(path, runtime::DefaultSpec().Dump(4) + "\n", 0644));
  return 0;
}

}  // namespace gantry::cmd
