// SPDX-License-Identifier: Apache-2.0
//
// `events`, `ps`, `list`, `spec`: what only looks, and prints.
#include <stdio.h>
#include <sys/stat.h>

#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "cmd/gantry-runtime/commands.h"
#include "cmd/gantry-runtime/table.h"
#include "formats/human_units.h"
#include "kernel/spawn.h"
#include "runtime/operations.h"

namespace gantry::cmd {
namespace {

constexpr size_t kMaxPsOutput = size_t{16} << 20;

Result<> PrintRecord(const formats::Json& record) {
  ::printf("%s\n", record.Dump().c_str());
  if (::fflush(stdout) != 0) return ErrnoError("writing a record");
  return {};
}

Result<> PrintProcessTable(const std::vector<pid_t>& pids, Words args) {
  if (args.empty()) args = {"-ef"};
  args.insert(args.begin(), "ps");
  kernel::SpawnOptions ps;
  ps.program = "/bin/ps";
  ps.args = std::move(args);
  ps.env = {"PATH=/usr/bin:/bin"};
  ps.fds = {{2, 2}};
  kernel::ProgramOutput table =
      TRY(kernel::SpawnAndRead(ps, kernel::Captured::kOutput, kMaxPsOutput));
  if (table.status.ShellCode() != 0) {
    return FailedPrecondition("'{}': exit status {}", ps.program, table.status.ShellCode());
  }
  ::fputs(TRY(ProcessesOfTable(table.text, pids)).c_str(), stdout);
  return {};
}

// The name of who made the container, as runc has it; the number where there is no name.
std::string OwnerOf(const std::string& root, const std::string& id) {
  struct stat info{};
  if (::stat((root + "/" + id).c_str(), &info) < 0) return "";
  return UserName(info.st_uid);
}

}  // namespace

Result<int> EventsCommand(const GlobalOptions& global, Words words) {
  bool once = false;
  std::string interval = "5s";
  Arguments arguments(std::move(words));
  arguments.Flag("stats", &once);
  arguments.Value("interval", &interval);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  const std::string& id = arguments.rest()[0];
  auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(
      TRY_WITH(formats::ParseGoDuration(interval), "option --interval"));
  if (duration.count() <= 0) return InvalidArgument("duration interval must be greater than 0");
  if (once) {
    TRY(PrintRecord(TRY(runtime::Stats(global.root, id))));
  } else {
    TRY(runtime::Events(global.root, id, duration, PrintRecord));
  }
  return 0;
}

Result<int> PsCommand(const GlobalOptions& global, Words words) {
  std::string format = "table";
  Arguments arguments(std::move(words));
  arguments.Value("format,f", &format);
  TRY(arguments.Parse(Arguments::Order::kOptionsFirst));
  Words rest = arguments.rest();
  if (rest.empty()) return InvalidArgument("expected a container ID");
  if (format != "json" && format != "table") return InvalidArgument("invalid format option");
  std::vector<pid_t> pids = TRY(runtime::Processes(global.root, rest[0]));
  if (format == "table") {
    rest.erase(rest.begin());
    TRY(PrintProcessTable(pids, std::move(rest)));
    return 0;
  }
  formats::Json array = formats::Json::MakeArray();
  for (pid_t pid : pids) array.Append(pid);
  TRY(PrintRecord(array));
  return 0;
}

Result<int> ListCommand(const GlobalOptions& global, Words words) {
  std::string format = "table";
  bool quiet = false;
  Arguments arguments(std::move(words));
  arguments.Value("format,f", &format);
  arguments.Flag("quiet,q", &quiet);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  if (format != "json" && format != "table") return InvalidArgument("invalid format option");
  formats::Json array = formats::Json::MakeArray();
  Table table({"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"});
  for (const std::string& id : TRY(runtime::ListIds(global.root))) {
    if (quiet) {
      ::printf("%s\n", id.c_str());
      continue;
    }
    Result<formats::Json> state = runtime::State(global.root, id);
    if (!state.ok()) continue;  // removed meanwhile
    formats::Json& json = *state;
    std::string owner = OwnerOf(global.root, id);
    table.Add({id, fmt::format("{}", json["pid"].AsInt()), json["status"].AsString(),
               json["bundle"].AsString(), json["created"].AsString(), owner});
    json.Set("owner", owner);
    array.Append(std::move(json));
  }
  if (quiet) return 0;
  ::fputs(format == "json" ? (array.Dump() + "\n").c_str() : table.Text().c_str(), stdout);
  return 0;
}

Result<int> SpecCommand(const GlobalOptions&, Words words) {
  std::string bundle = ".";
  bool rootless = false;
  Arguments arguments(std::move(words));
  arguments.Value("bundle,b", &bundle);
  arguments.Flag("rootless", &rootless);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  std::string path = bundle + "/config.json";
  if (PathExists(path)) return AlreadyExists("file '{}' exists; remove it first", path);
  formats::Json spec = rootless ? runtime::RootlessSpec() : runtime::DefaultSpec();
  TRY(CreateFile(path, spec.Dump(4) + "\n", 0644));
  return 0;
}

}  // namespace gantry::cmd
