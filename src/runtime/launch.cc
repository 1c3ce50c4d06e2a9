// SPDX-License-Identifier: Apache-2.0
#include "runtime/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/io.h"
#include "base/undo.h"
#include "kernel/clone.h"
#include "kernel/pidfd.h"
#include "kernel/pty.h"
#include "runtime/cgroup_manager.h"
#include "runtime/cgroup_setup.h"
#include "runtime/child/hooks.h"
#include "runtime/id_maps.h"
#include "runtime/process_settings.h"
#include "runtime/seccomp_filter.h"

namespace gantry::runtime {
namespace {

using child::CreatePlan;
using child::Received;

constexpr auto kCleanUpTime = std::chrono::seconds(5);

struct NamespaceKind {
  std::string_view name;
  int flag;
};

constexpr NamespaceKind kNamespaces[] = {
    {"user", CLONE_NEWUSER},     {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},
    {"network", CLONE_NEWNET},   {"pid", CLONE_NEWPID},   {"mount", CLONE_NEWNS},
    {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

// How the child gets its namespaces: by clone3's flags, by joining, or (pid, time) by what the
// parent has set for its next child.
struct NamespacePlan {
  uint64_t clone_flags = 0;
  bool new_user = false;
  bool new_pid = false;
};

Result<NamespacePlan> PlanNamespaces(const oci::Spec& spec, CreatePlan* plan) {
  NamespacePlan out;
  bool has_mount = false;
  for (const NamespaceKind& kind : kNamespaces) {
    for (const oci::Namespace& ns : spec.platform.namespaces) {
      if (ns.type != kind.name) continue;
      if (ns.type == "mount") has_mount = true;
      if (!ns.path.empty()) {
        if (kind.flag == CLONE_NEWUSER || kind.flag == CLONE_NEWNS) {
          return Unimplemented("joining a {} namespace by path is not supported yet", ns.type);
        }
        UniqueFd fd = TRY(OpenFile(ns.path, O_RDONLY));
        // These two take effect for the next child only.
        if (kind.flag == CLONE_NEWPID || kind.flag == CLONE_NEWTIME) {
          if (::setns(fd.get(), kind.flag) < 0) return ErrnoError("joining '{}'", ns.path);
        } else {
          plan->joins.push_back({std::move(fd), kind.flag, ns.path});
        }
      } else if (kind.flag == CLONE_NEWCGROUP) {
        plan->unshare_cgroup_namespace = true;
      } else if (kind.flag == CLONE_NEWTIME) {
        if (::unshare(CLONE_NEWTIME) < 0) return ErrnoError("making a time namespace");
      } else {
        out.clone_flags |= static_cast<uint64_t>(kind.flag);
        out.new_user |= kind.flag == CLONE_NEWUSER;
        out.new_pid |= kind.flag == CLONE_NEWPID;
      }
    }
  }
  if (!has_mount) return InvalidArgument("linux.namespaces: a mount namespace is needed");
  return out;
}

Result<> SetTimeOffsets(const oci::LinuxPlatform& platform) {
  if (platform.time_offsets.empty()) return {};
  std::string lines;
  for (const auto& [clock, offset] : platform.time_offsets) {
    lines += fmt::format("{} {} {}\n", clock, offset.secs, offset.nanosecs);
  }
  TRY_WITH(WriteFile("/proc/self/timens_offsets", lines), "linux.timeOffsets");
  return {};
}

// A socket named ROOT/ID/gate; by the directory's descriptor, since sun_path is short.
Result<UniqueFd> MakeGate(const StateDirectory& directory) {
  UniqueFd place = TRY(OpenFile(directory.path(), O_PATH | O_DIRECTORY));
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoError("making a socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = fmt::format("/proc/self/fd/{}/gate", place.get());
  ::memcpy(address.sun_path, name.data(), name.size());
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(socket.get(), 1) < 0) {
    return ErrnoError("making the gate of '{}'", directory.path());
  }
  return socket;
}

Result<> RunParentHooks(const Launched& launched) {
  std::string state = StateJson(launched.state, Status::kCreating).Dump();
  TRY(child::RunHooks(launched.spec.hooks.prestart, "prestart", state));
  return child::RunHooks(launched.spec.hooks.create_runtime, "createRuntime", state);
}

// From clone3 to the answer.
Result<> Converse(const Launched& launched, BorrowedFd channel, const CreatePlan& plan, Gate gate) {
  if (plan.wait_for_maps) {
    TRY_WITH(WriteIdMaps(launched.state.pid, launched.spec.platform), "mapping ids");
  }
  if (plan.wait_for_maps || plan.wait_for_scope) {
    TRY(child::SendMessage(channel, child::Message::kGo));
  }
  for (;;) {
    switch (TRY(child::ReceiveMessage(channel))) {
      case Received::kHooks:
        TRY(RunParentHooks(launched));
        TRY(child::SendMessage(channel, child::Message::kGo));
        break;
      case Received::kReady:
        return {};
      case Received::kEnd:
        if (gate == Gate::kOpen) return {};
        return Internal("the container's process ended without a word");
    }
  }
}

Result<> TakeRoot(const CreateOptions& options, CreatePlan* plan) {
  const std::string& path = options.bundle.spec.root->path;
  plan->rootfs = path.starts_with('/') ? path : options.bundle.path + "/" + path;
  if (options.root_fd < 0) return {};
  struct stat info{};
  if (::fstat(options.root_fd, &info) < 0) return ErrnoError("root descriptor {}", options.root_fd);
  if (!S_ISDIR(info.st_mode)) {
    return InvalidArgument("root descriptor {} is not a directory", options.root_fd);
  }
  ::fcntl(options.root_fd, F_SETFD, FD_CLOEXEC);
  plan->root_fd = UniqueFd(options.root_fd);
  return {};
}

Result<> CheckTerminal(const oci::Spec& spec, const CreatePlan& plan) {
  if (spec.process->terminal && !plan.process.console_socket.valid()) {
    return InvalidArgument("cannot allocate a terminal without a console socket");
  }
  if (!spec.process->terminal && plan.process.console_socket.valid()) {
    return InvalidArgument("a console socket is given, but process.terminal is false");
  }
  return {};
}

// What the child needs of the options and the specification; nothing is made yet.
Result<> FillPlan(const CreateOptions& options, oci::Spec* spec, CreatePlan* plan) {
  plan->process.process = &*spec->process;
  plan->process.id = options.id;
  plan->process.new_keyring = !options.no_new_keyring;
  plan->process.preserve_fds = PreservedFds(options.preserve_fds, &spec->process->env);
  plan->spec = spec;
  plan->bundle = options.bundle.path;
  plan->no_pivot = options.no_pivot;
  plan->parent_hooks = !spec->hooks.prestart.empty() || !spec->hooks.create_runtime.empty();
  TRY(RefuseUnsupported(spec->platform));
  TRY(FillProcessSettings(spec->platform, &plan->process));
  TRY(CheckTerminal(*spec, *plan));
  TRY(TakeRoot(options, plan));
  plan->process.seccomp = TRY(PrepareSeccomp(*spec));
  return {};
}

Result<ContainerState> FirstState(const CreateOptions& options, const oci::Spec& spec,
                                  const CreatePlan& plan) {
  ContainerState state;
  state.id = options.id;
  state.bundle = options.bundle.path;
  state.rootfs = plan.rootfs;
  state.created = WallClock::now();
  state.annotations = spec.annotations;
  state.no_new_keyring = options.no_new_keyring;
  TRY(ChooseContainerCgroups(options, spec, &state));
  return state;
}

Result<> PrepareNamespaces(const oci::Spec& spec, CreatePlan* plan, ContainerState* state,
                           uint64_t* clone_flags) {
  NamespacePlan namespaces = TRY(PlanNamespaces(spec, plan));
  TRY(SetTimeOffsets(spec.platform));
  plan->wait_for_maps = plan->process.in_user_namespace = namespaces.new_user;
  state->user_namespace = namespaces.new_user;
  state->new_pid_namespace = namespaces.new_pid;
  *clone_flags = namespaces.clone_flags;
  return {};
}

// The child's end of `channel` is in the plan; `lock` must not live on in the child, since flock(2)
// lasts as long as any copy of its descriptor.
Result<UniqueFd> Fork(CreatePlan* plan, uint64_t namespaces, UniqueFd* channel, UniqueFd* lock,
                      ContainerState* state) {
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | namespaces;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  UniqueFd cgroup;
  if (state->cgroups.directories.empty()) {
    // Without cgroups of its own, or moved into them later.
  } else if (state->cgroups.unified) {
    cgroup = TRY(OpenFile(state->cgroups.Main(), O_RDONLY | O_DIRECTORY));
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup.get());
  } else {
    plan->process.cgroup_tasks = TRY(OpenTasks(state->cgroups));
  }
  pid_t pid = kernel::CloneFork(&args);
  if (pid < 0) return ErrnoErrorOf(-pid, "making the container's process");
  if (pid == 0) {
    channel->Reset();
    lock->Reset();
    child::RunCreated(plan);
  }
  UniqueFd process(pidfd);
  plan->process.channel.Reset();
  plan->gate.Reset();
  plan->process.console_socket.Reset();
  state->pid = pid;
  std::optional<kernel::ProcessStat> stat = kernel::ReadProcessStat(pid);
  if (stat) state->start_time = stat->start_time;
  return process;
}

}  // namespace

unsigned PreservedFds(unsigned asked, std::vector<std::string>* environment) {
  const char* listen = ::getenv("LISTEN_FDS");
  unsigned passed = listen != nullptr ? static_cast<unsigned>(::atoi(listen)) : 0;
  if (passed > 0 && passed < 1024) {
    environment->push_back(fmt::format("LISTEN_FDS={}", passed));
    environment->push_back("LISTEN_PID=1");
    asked += passed;
  }
  return asked;
}

Result<> WritePidFile(const std::string& path, pid_t pid) {
  if (path.empty()) return {};
  TRY_WITH(ReplaceFile(path, fmt::format("{}", pid), 0644), "writing the pid file");
  return {};
}

Result<child::SeccompProgram> PrepareSeccomp(const oci::Spec& spec) {
  child::SeccompProgram program;
  if (!spec.platform.seccomp) return program;
  const oci::Seccomp& seccomp = *spec.platform.seccomp;
  program = TRY_WITH(CompileSeccomp(seccomp), "linux.seccomp");
  if (!seccomp.listener_path.empty()) {
    program.listener_socket =
        TRY_WITH(kernel::ConnectUnix(seccomp.listener_path), "linux.seccomp.listenerPath");
    program.listener_metadata = seccomp.listener_metadata;
  }
  return program;
}

Result<Bundle> LoadBundle(const std::string& path) {
  Bundle bundle{path, {}, {}};
  std::string file = path + "/config.json";
  bundle.config = TRY(ReadFile(file));
  formats::Json json = TRY_WITH(formats::Json::Parse(bundle.config), "file '{}'", file);
  bundle.spec = TRY_WITH(oci::ParseSpec(json), "file '{}'", file);
  if (!bundle.spec.process) return InvalidArgument("file '{}': process: is missing", file);
  return bundle;
}

Result<Launched> Launch(CreateOptions options, Gate gate, UniqueFd console_socket) {
  Launched launched;
  ContainerState& state = launched.state;
  launched.spec = options.bundle.spec;
  oci::Spec& spec = launched.spec;
  // Sources of binds may be relative to the bundle.
  if (::chdir(options.bundle.path.c_str()) < 0) {
    return ErrnoError("entering '{}'", options.bundle.path);
  }
  CreatePlan plan;
  plan.process.console_socket = std::move(console_socket);
  TRY(FillPlan(options, &spec, &plan));
  state = TRY(FirstState(options, spec, plan));

  StateDirectory directory(options.root, options.id);
  TRY(directory.Create());
  Undo undo;
  undo.Push([&] { (void)directory.Remove(); });
  UniqueFd lock = TRY(directory.Lock());
  // Written before anything is made: `delete --force` after a crash knows what to remove.
  TRY(directory.Save(state));
  TRY(CreateFile(directory.ConfigPath(), options.bundle.config, 0600));

  undo.Push([&] { (void)kernel::RemoveCgroup(state.cgroups, kCleanUpTime); });
  TRY(MakeContainerCgroups(options, spec, &state));
  plan.cgroups = state.cgroups.directories;
  plan.cgroup_unified = state.cgroups.unified;
  plan.wait_for_scope = !state.scope.empty();

  uint64_t clone_flags = 0;
  TRY(PrepareNamespaces(spec, &plan, &state, &clone_flags));
  plan.hook_state = StateJson(state, Status::kCreating).Dump();
  if (gate == Gate::kClosed) plan.gate = TRY(MakeGate(directory));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return ErrnoError("making a socket pair");
  }
  UniqueFd channel(ends[0]);
  plan.process.channel = UniqueFd(ends[1]);
  launched.pidfd = TRY(Fork(&plan, clone_flags, &channel, &lock, &state));
  undo.Push([&] {
    (void)kernel::SendSignal(launched.pidfd, SIGKILL);
    (void)kernel::WaitExit(launched.pidfd);
  });
  TRY(directory.Save(state));
  if (plan.wait_for_scope) {
    undo.Push([&] { (void)RemoveContainerCgroups(state, kCleanUpTime); });
    TRY(MakeContainerScope(spec, &state));
    TRY(directory.Save(state));
  }
  TRY_WITH(Converse(launched, channel, plan, gate), "unable to start container process");
  TRY(WritePidFile(options.pid_file, state.pid));
  undo.Commit();
  return launched;
}

}  // namespace gantry::runtime
