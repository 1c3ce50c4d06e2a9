// SPDX-License-Identifier: Apache-2.0
//
// gantry-runtime, the OCI runtime: global options, then one command. An error goes to stderr and to
// --log as the last record of level "error", from where callers take its text; the exit code is 1
// (255 for a failed `exec`).
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "cmd/gantry-runtime/commands.h"
#include "formats/json.h"
#include "oci/runtime_spec.h"
#include "runtime/warnings.h"

namespace gantry::cmd {
namespace {

std::string LogRecord(const GlobalOptions& global, std::string_view level,
                      std::string_view message) {
  std::string time = FormatRfc3339Nano(WallClock::now());
  if (global.log_format == "json") {
    return formats::Json::MakeObject({{"level", level}, {"msg", message}, {"time", time}}).Dump() +
           "\n";
  }
  std::string quoted;
  formats::AppendJsonString(&quoted, message);
  return fmt::format("time=\"{}\" level={} msg={}\n", time, level, quoted);
}

// False if there is no log or it cannot be written.
bool WriteLog(const GlobalOptions& global, std::string_view record) {
  if (global.log.empty()) return false;
  Result<UniqueFd> file = OpenFile(global.log, O_WRONLY | O_CREAT | O_APPEND, 0644);
  return file.ok() && WriteAll(*file, record).ok();
}

// Only to the log if there is one: our standard error is the container's too.
void ReportWarning(const GlobalOptions& global, std::string_view message) {
  if (WriteLog(global, LogRecord(global, "warning", message))) return;
  (void)WriteAll(BorrowedFd(STDERR_FILENO), fmt::format("gantry-runtime: warning: {}\n", message));
}

void Report(const GlobalOptions& global, const Error& error) {
  (void)WriteLog(global, LogRecord(global, "error", error.message()));
  (void)WriteAll(BorrowedFd(STDERR_FILENO), fmt::format("gantry-runtime: {}\n", error.message()));
}

// The directory of a user who may not write below /run.
void ChooseRoot(GlobalOptions* global) {
  global->root = "/run/gantry-runtime";
  const char* runtime = ::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() == 0 || runtime == nullptr || *runtime == '\0') return;
  global->root = std::string(runtime) + "/gantry-runtime";
  // The sticky bit keeps it from being cleaned as old (XDG Base Directory Specification).
  if (::mkdir(global->root.c_str(), 0700) == 0) ::chmod(global->root.c_str(), 01700);
}

// It must mean the same after the bundle's directory was entered.
Result<> MakeRootAbsolute(GlobalOptions* global) {
  if (global->root.starts_with('/')) return {};
  char here[PATH_MAX];
  if (::getcwd(here, sizeof here) == nullptr) return ErrnoError("--root '{}'", global->root);
  global->root = std::string(here) + "/" + global->root;
  return {};
}

Result<> ChooseManager(GlobalOptions* global, bool systemd, const std::string& manager) {
  if (manager == "disabled") {
    global->cgroup_manager = runtime::CgroupManager::kDisabled;
  } else if (manager == "systemd" || (manager.empty() && systemd)) {
    global->cgroup_manager = runtime::CgroupManager::kSystemd;
  } else if (!manager.empty() && manager != "cgroupfs") {
    return InvalidArgument("--cgroup-manager: '{}' is none of cgroupfs, systemd, disabled",
                           manager);
  }
  return {};
}

Result<> ChooseRootless(GlobalOptions* global, const std::string& rootless) {
  if (rootless == "true" || rootless == "1") {
    global->rootless = true;
  } else if (rootless == "false" || rootless == "0") {
    global->rootless = false;
  } else if (!rootless.empty() && rootless != "auto") {
    return InvalidArgument("--rootless: '{}' is none of auto, true, false", rootless);
  }
  return {};
}

void Debug(const GlobalOptions& global, std::string_view message) {
  if (!global.debug) return;
  std::string record = LogRecord(global, "debug", message);
  if (!WriteLog(global, record)) (void)WriteAll(BorrowedFd(STDERR_FILENO), record);
}

Result<int> Main(GlobalOptions* global, Words words) {
  bool version = false;
  bool help = false;
  bool systemd = false;
  std::string rootless;
  std::string level;
  std::string manager;
  Arguments arguments(std::move(words));
  arguments.Value("root", &global->root);
  arguments.Value("log", &global->log);
  arguments.Value("log-format", &global->log_format);
  arguments.Value("log-level", &level);
  arguments.Value("rootless", &rootless);
  arguments.Value("cgroup-manager", &manager);
  arguments.Flag("systemd-cgroup", &systemd);
  arguments.Flag("debug", &global->debug);
  arguments.Flag("version,v", &version);
  arguments.Flag("help,h", &help);
  TRY(arguments.Parse(Arguments::Order::kOptionsFirst));
  if (global->log_format != "text" && global->log_format != "json") {
    std::string format = std::exchange(global->log_format, "text");
    return InvalidArgument("invalid log-format: '{}'", format);
  }
  if (version) {
    ::printf("gantry-runtime version %s\nspec: %s\n", GANTRY_VERSION,
             std::string(oci::kRuntimeSpecVersion).c_str());
    return 0;
  }
  Words rest = arguments.rest();
  if (help || rest.empty() || rest[0] == "help") {
    ::fputs(Usage().c_str(), help || !rest.empty() ? stdout : stderr);
    return help || !rest.empty() ? 0 : 1;
  }
  const Command* command = FindCommand(rest[0]);
  if (command == nullptr) return InvalidArgument("unknown command '{}'", rest[0]);
  TRY(ChooseManager(global, systemd, manager));
  TRY(ChooseRootless(global, rootless));
  if (global->root.empty()) ChooseRoot(global);
  TRY(MakeRootAbsolute(global));
  global->failure_code = command->failure_code;
  if (level == "debug") global->debug = true;
  rest.erase(rest.begin());
  Debug(*global, fmt::format("command '{}' begins", command->name));
  auto begin = SteadyClock::now();
  Result<int> code = command->run(*global, std::move(rest));
  auto took = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - begin);
  Debug(*global, fmt::format("command '{}' took {} us", command->name, took.count()));
  return code;
}

}  // namespace
}  // namespace gantry::cmd

int main(int argc, char** argv, char** envp) {
  gantry::cmd::GlobalOptions global;
  global.argv = argv;
  global.envp = envp;
  gantry::runtime::SetWarningSink(
      [&](std::string_view message) { gantry::cmd::ReportWarning(global, message); });
  gantry::Result<int> code =
      gantry::cmd::Main(&global, gantry::cmd::Words(argv + std::min(argc, 1), argv + argc));
  if (code.ok()) return *code;
  gantry::cmd::Report(global, code.error());
  return global.failure_code;
}
