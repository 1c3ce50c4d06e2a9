// SPDX-License-Identifier: Apache-2.0
//
// `exec`: the process is either a file (--process) or the container's own with changes.
#include <charconv>

#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "cmd/gantry-runtime/commands.h"
#include "runtime/operations.h"
#include "runtime/own_binary.h"
#include "runtime/prepared.h"

namespace gantry::cmd {
namespace {

struct ExecWords {
  std::string process_file;
  std::string cwd;
  std::string user;
  std::string process_label;
  std::string apparmor;
  std::vector<std::string> env;
  std::vector<std::string> capabilities;
  std::vector<std::string> groups;
  bool terminal = false;
  bool no_new_privileges = false;
};

Result<uint32_t> ParseNumber(std::string_view text, std::string_view what) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // (uid_t)-1 is nobody; an overflow must never become somebody else.
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      value == UINT32_MAX) {
    return InvalidArgument("{}: '{}' is not a number of a user or group", what, text);
  }
  return value;
}

Result<> SetUser(const std::string& text, oci::User* user) {
  size_t colon = text.find(':');
  user->uid = TRY(ParseNumber(std::string_view(text).substr(0, colon), "--user"));
  if (colon != std::string::npos) {
    user->gid = TRY(ParseNumber(std::string_view(text).substr(colon + 1), "--user"));
  }
  return {};
}

Result<oci::Process> FromFile(const std::string& path) {
  formats::Json json = TRY_WITH(formats::Json::Parse(TRY(ReadFile(path))), "file '{}'", path);
  return TRY_WITH(oci::ParseProcess(json), "file '{}'", path);
}

void AddCapabilities(const std::vector<std::string>& names, oci::Process* process) {
  if (names.empty()) return;
  if (!process->capabilities) process->capabilities.emplace();
  oci::Capabilities& sets = *process->capabilities;
  for (const std::string& name : names) {
    for (std::vector<std::string>* set : {&sets.bounding, &sets.effective, &sets.permitted}) {
      set->push_back(name);
    }
  }
}

Result<oci::Process> FromWords(const ExecWords& words, const runtime::Prepared& prepared,
                               std::vector<std::string> args) {
  oci::Process process = *prepared.spec.process;
  if (args.empty()) return InvalidArgument("exec: no command");
  process.args = std::move(args);
  process.terminal = words.terminal;
  process.console_size.reset();
  if (!words.cwd.empty()) process.cwd = words.cwd;
  if (!process.cwd.starts_with('/')) return InvalidArgument("--cwd must be an absolute path");
  process.env.insert(process.env.end(), words.env.begin(), words.env.end());
  if (!words.user.empty()) TRY(SetUser(words.user, &process.user));
  for (const std::string& group : words.groups) {
    process.user.additional_gids.push_back(TRY(ParseNumber(group, "--additional-gids")));
  }
  if (words.no_new_privileges) process.no_new_privileges = true;
  if (!words.apparmor.empty()) process.apparmor_profile = words.apparmor;
  if (!words.process_label.empty()) process.selinux_label = words.process_label;
  AddCapabilities(words.capabilities, &process);
  return process;
}

Result<int> RunExec(const GlobalOptions& global, Words line) {
  ExecWords words;
  runtime::ExecOptions options;
  int64_t preserve = 0;
  Arguments arguments(std::move(line));
  arguments.Value("process,p", &words.process_file);
  arguments.Value("console-socket", &options.console_socket);
  arguments.Value("pidfd-socket", &options.pidfd_socket);
  arguments.Value("pid-file", &options.pid_file);
  arguments.Value("cwd", &words.cwd);
  arguments.Value("user,u", &words.user);
  arguments.Value("process-label", &words.process_label);
  arguments.Value("apparmor", &words.apparmor);
  arguments.List("env,e", &words.env);
  arguments.List("cap,c", &words.capabilities);
  arguments.List("additional-gids,g", &words.groups);
  arguments.List("cgroup", &options.sub_cgroups);
  arguments.Number("preserve-fds", &preserve);
  arguments.Flag("tty,t", &words.terminal);
  arguments.Flag("detach,d", &options.detach);
  arguments.Flag("no-new-privs", &words.no_new_privileges);
  arguments.Flag("ignore-paused", &options.ignore_paused);
  TRY(arguments.Parse(Arguments::Order::kOptionsFirst));
  Words rest = arguments.rest();
  if (rest.empty()) return InvalidArgument("expected a container ID");
  if (preserve < 0 || preserve > 1024) return InvalidArgument("bad --preserve-fds {}", preserve);
  TRY(runtime::ProtectOwnBinary(global.argv, global.envp));
  options.root = global.root;
  options.id = rest[0];
  options.preserve_fds = static_cast<unsigned>(preserve);
  rest.erase(rest.begin());
  if (!words.process_file.empty()) {
    options.process = TRY(FromFile(words.process_file));
    if (words.terminal) options.process.terminal = true;
  } else {
    runtime::StateDirectory directory(global.root, options.id);
    // For a container that is not there this says so.
    runtime::ContainerState state = TRY(directory.Load());
    options.prepared = TRY(runtime::LoadPrepared(directory, state));
    options.process = TRY(FromWords(words, *options.prepared, std::move(rest)));
  }
  return runtime::Exec(std::move(options));
}

}  // namespace

Result<int> ExecCommand(const GlobalOptions& global, Words words) {
  return TRY_WITH(RunExec(global, std::move(words)), "exec failed");
}

}  // namespace gantry::cmd
