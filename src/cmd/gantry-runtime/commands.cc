// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-runtime/commands.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "kernel/pidfd.h"
#include "runtime/operations.h"
#include "runtime/own_binary.h"

namespace gantry::cmd {
namespace {

Result<std::string> AbsolutePath(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return ErrnoError("bundle '{}'", path);
  return std::string(resolved);
}

struct CreateWords {
  runtime::CreateOptions options;
  std::string bundle = ".";
  int64_t preserve = 0;
  int64_t root_fd = -1;
  bool ignored = false;

  void Declare(Arguments* arguments) {
    arguments->Value("bundle,b", &bundle);
    arguments->Value("console-socket", &options.console_socket);
    arguments->Value("pidfd-socket", &options.pidfd_socket);
    arguments->Value("pid-file", &options.pid_file);
    arguments->Flag("no-pivot", &options.no_pivot);
    arguments->Flag("no-new-keyring", &options.no_new_keyring);
    arguments->Flag("no-subreaper", &ignored);
    arguments->Number("preserve-fds", &preserve);
    arguments->Number("root-fd", &root_fd);
  }

  Result<> Finish(const GlobalOptions& global, const Arguments& arguments) {
    TRY(arguments.Expect(1, "a container ID"));
    options.root = global.root;
    options.id = arguments.rest()[0];
    options.cgroup_manager = global.cgroup_manager;
    options.rootless = global.rootless;
    options.bundle = TRY(runtime::LoadBundle(TRY(AbsolutePath(bundle))));
    // Used after the change to the bundle's directory.
    for (std::string* path : {&options.pid_file, &options.console_socket, &options.pidfd_socket}) {
      if (path->empty() || path->front() == '/') continue;
      *path = TRY(AbsolutePath(".")) + "/" + *path;
    }
    if (preserve < 0 || preserve > 1024) return InvalidArgument("bad --preserve-fds {}", preserve);
    options.preserve_fds = static_cast<unsigned>(preserve);
    options.root_fd = static_cast<int>(root_fd);
    return {};
  }
};

// A pid namespace that others are in already shows them our program file.
Result<> ProtectIfShared(const GlobalOptions& global, const oci::Spec& spec) {
  for (const oci::Namespace& ns : spec.platform.namespaces) {
    if (ns.type == "pid" && ns.path.empty()) return {};
  }
  return runtime::ProtectOwnBinary(global.argv, global.envp);
}

Result<std::string> OnlyId(Words words) {
  Arguments arguments(std::move(words));
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  return arguments.rest()[0];
}

Result<int> StartCommand(const GlobalOptions& global, Words words) {
  TRY(runtime::Start(global.root, TRY(OnlyId(std::move(words)))));
  return 0;
}

Result<int> StateCommand(const GlobalOptions& global, Words words) {
  formats::Json state = TRY(runtime::State(global.root, TRY(OnlyId(std::move(words)))));
  ::printf("%s\n", state.Dump(2).c_str());
  return 0;
}

Result<int> PauseCommand(const GlobalOptions& global, Words words) {
  TRY(runtime::Pause(global.root, TRY(OnlyId(std::move(words)))));
  return 0;
}

Result<int> ResumeCommand(const GlobalOptions& global, Words words) {
  TRY(runtime::Resume(global.root, TRY(OnlyId(std::move(words)))));
  return 0;
}

Result<int> KillCommand(const GlobalOptions& global, Words words) {
  bool all = false;
  Arguments arguments(std::move(words));
  arguments.Flag("all,a", &all);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  if (arguments.rest().empty() || arguments.rest().size() > 2) {
    return InvalidArgument("expected a container ID and a signal");
  }
  int signal = arguments.rest().size() > 1 ? TRY(kernel::ParseSignal(arguments.rest()[1])) : 15;
  TRY(runtime::Kill(global.root, arguments.rest()[0], signal,
                    all ? runtime::KillScope::kAll : runtime::KillScope::kFirstProcess));
  return 0;
}

Result<int> DeleteCommand(const GlobalOptions& global, Words words) {
  bool force = false;
  Arguments arguments(std::move(words));
  arguments.Flag("force,f", &force);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  TRY(runtime::Delete(global.root, arguments.rest()[0],
                      force ? runtime::DeleteMode::kForce : runtime::DeleteMode::kStopped));
  return 0;
}

Result<int> FeaturesCommand(const GlobalOptions&, Words) {
  ::printf("%s\n", runtime::Features().Dump(2).c_str());
  return 0;
}

constexpr Command kCommands[] = {
    {"checkpoint", CheckpointCommand, "write a running container to disk (needs criu)"},
    {"create", CreateCommand, "make a container from a bundle"},
    {"delete", DeleteCommand, "remove what a container holds"},
    {"events", EventsCommand, "print a container's use of resources"},
    {"exec", ExecCommand, "run another process in a container", 255},
    {"features", FeaturesCommand, "print what this runtime can do, as JSON"},
    {"kill", KillCommand, "send a signal to a container's first process"},
    {"list", ListCommand, "list containers"},
    {"pause", PauseCommand, "freeze a container's processes"},
    {"ps", PsCommand, "list a container's processes"},
    {"restore", RestoreCommand, "make a container from a checkpoint (needs criu)"},
    {"resume", ResumeCommand, "let a paused container go on"},
    {"run", RunCommand, "create and start a container"},
    {"spec", SpecCommand, "write a config.json to begin with"},
    {"start", StartCommand, "start a created container"},
    {"state", StateCommand, "print a container's state, as JSON"},
    {"update", UpdateCommand, "change a container's resources"},
};

}  // namespace

const Command* FindCommand(std::string_view name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

std::string Usage() {
  std::string text =
      "Usage: gantry-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND …\n\n";
  for (const Command& command : kCommands) {
    text += fmt::format("  {:<10}{}\n", command.name, command.summary);
  }
  return text;
}

Result<int> CreateCommand(const GlobalOptions& global, Words words) {
  CreateWords create;
  Arguments arguments(std::move(words));
  create.Declare(&arguments);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(create.Finish(global, arguments));
  TRY(ProtectIfShared(global, create.options.bundle.spec));
  TRY(runtime::Create(std::move(create.options)));
  return 0;
}

Result<int> RunCommand(const GlobalOptions& global, Words words) {
  CreateWords create;
  runtime::RunOptions options;
  Arguments arguments(std::move(words));
  create.Declare(&arguments);
  arguments.Flag("detach,d", &options.detach);
  arguments.Flag("keep", &options.keep);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(create.Finish(global, arguments));
  TRY(ProtectIfShared(global, create.options.bundle.spec));
  options.create = std::move(create.options);
  return runtime::Run(std::move(options));
}

}  // namespace gantry::cmd
