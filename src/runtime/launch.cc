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
#include "base/start_trace.h"
#include "base/undo.h"
#include "kernel/clone.h"
#include "kernel/pidfd.h"
#include "kernel/pty.h"
#include "runtime/cgroup_manager.h"
#include "runtime/cgroup_setup.h"
#include "runtime/child/hooks.h"
#include "runtime/id_maps.h"
#include "runtime/intel_rdt.h"
#include "runtime/namespace_plan.h"
#include "runtime/net_devices.h"
#include "runtime/prepared.h"
#include "runtime/process_settings.h"
#include "runtime/seccomp_filter.h"

namespace gantry::runtime {
namespace {

using child::CreatePlan;
using child::Received;

constexpr auto kCleanUpTime = std::chrono::seconds(5);

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
  // The deprecated ones once belonged to `start`, and what they were told then crun tells them
  // still.
  TRY(child::RunHooks(launched.spec.hooks.prestart, "prestart",
                      StateJson(launched.state, Status::kCreated).Dump()));
  return child::RunHooks(launched.spec.hooks.create_runtime, "createRuntime",
                         StateJson(launched.state, Status::kCreating).Dump());
}

// From clone3 to the answer.
Result<> Converse(const Launched& launched, BorrowedFd channel, const CreatePlan& plan,
                  const NamespacePlan& namespaces, Gate gate) {
  const oci::LinuxPlatform& platform = launched.spec.platform;
  if (plan.wait_for_parent) {
    if (namespaces.new_user) TRY_WITH(WriteIdMaps(launched.state.pid, platform), "mapping ids");
    TRY(MoveNetDevices(platform, plan, launched.state.pid));
    TRY_WITH(JoinRdtGroup(launched.state.rdt, launched.state.pid), "linux.intelRdt");
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
  plan->mount_label = MountLabel(spec->platform);
  TRY(CheckNetDevices(spec->platform));
  TRY(FillProcessSettings(spec->platform, &plan->process));
  TRY(CheckTerminal(*spec, *plan));
  TRY(TakeRoot(options, plan));
  plan->process.seccomp = TRY(PrepareSeccomp(*spec));
  return ConnectListener(&plan->process.seccomp);
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
  state.poststart_hooks = !spec.hooks.poststart.empty();
  state.poststop_hooks = !spec.hooks.poststop.empty();
  TRY(ChooseContainerCgroups(options, spec, &state));
  if (spec.platform.intel_rdt) {
    std::string resctrl = TRY_WITH(FindResctrl(), "linux.intelRdt");
    state.rdt =
        TRY_WITH(PlanRdtGroup(resctrl, *spec.platform.intel_rdt, options.id), "linux.intelRdt");
  }
  return state;
}

Result<NamespacePlan> PrepareNamespaces(const oci::Spec& spec, CreatePlan* plan,
                                        ContainerState* state) {
  NamespacePlan namespaces = TRY(PlanNamespaces(spec, plan));
  TRY(SetTimeOffsets(spec.platform));
  TRY(MapMounts(spec, namespaces, plan));
  plan->process.in_user_namespace = namespaces.in_user();
  plan->user_namespace_joined = namespaces.user.valid();
  // A stage's child must not have ended before it is looked at.
  plan->wait_for_parent = namespaces.new_user || namespaces.staged || plan->wait_for_scope ||
                          !spec.platform.net_devices.empty() || spec.platform.intel_rdt;
  state->user_namespace = namespaces.in_user();
  state->new_pid_namespace = namespaces.new_pid;
  return namespaces;
}

// The child's end of `channel` is in the plan; `lock` must not live on in the child, since flock(2)
// lasts as long as any copy of its descriptor.
Result<UniqueFd> Fork(CreatePlan* plan, const NamespacePlan& namespaces, UniqueFd* channel,
                      UniqueFd* lock, ContainerState* state) {
  UniqueFd cgroup;
  if (state->cgroups.directories.empty()) {
    // Without cgroups of its own, or moved into them later.
  } else if (state->cgroups.unified) {
    cgroup = TRY(OpenFile(state->cgroups.Main(), O_RDONLY | O_DIRECTORY));
  } else {
    plan->process.cgroup_tasks = TRY(OpenTasks(state->cgroups));
  }
  int pidfd = -1;
  pid_t pid = -1;
  if (namespaces.staged) {
    pid = TRY(ForkByStage(plan, namespaces, channel, lock, cgroup));
  } else {
    clone_args args{};
    args.flags = CLONE_PIDFD | namespaces.clone_flags;
    args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
    args.exit_signal = SIGCHLD;
    if (cgroup.valid()) {
      args.flags |= CLONE_INTO_CGROUP;
      args.cgroup = static_cast<uint64_t>(cgroup.get());
    }
    pid = kernel::CloneFork(&args);
    if (pid < 0) return ErrnoErrorOf(-pid, "making the container's process");
    if (pid == 0) {
      channel->Reset();
      lock->Reset();
      child::RunCreated(plan);
    }
  }
  UniqueFd process(pidfd);
  plan->process.channel.Reset();
  plan->gate.Reset();
  plan->process.console_socket.Reset();
  state->pid = pid;
  std::optional<kernel::ProcessStat> stat = kernel::ReadProcessStat(pid);
  if (stat) state->start_time = stat->start_time;
  if (!process.valid()) process = TRY(kernel::OpenProcess(pid, state->start_time));
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

Result<UniqueFd> ConnectPidfdSocket(const std::string& path) {
  if (path.empty()) return UniqueFd();
  return TRY_WITH(kernel::ConnectUnix(path), "pidfd socket");
}

Result<> SendPidfd(BorrowedFd socket, BorrowedFd pidfd, std::string_view kind) {
  if (!socket.valid()) return {};
  TRY_WITH(kernel::SendDescriptor(socket, pidfd, kind), "sending the pidfd");
  return {};
}

Result<child::SeccompProgram> PrepareSeccomp(const oci::Spec& spec) {
  child::SeccompProgram program;
  if (!spec.platform.seccomp) return program;
  const oci::Seccomp& seccomp = *spec.platform.seccomp;
  program = TRY_WITH(CompileSeccomp(seccomp), "linux.seccomp");
  if (!seccomp.listener_metadata.empty() && seccomp.listener_path.empty()) {
    return InvalidArgument("linux.seccomp.listenerMetadata: there is no listenerPath");
  }
  if (program.notifies) {
    program.listener_path = seccomp.listener_path;
    program.listener_metadata = seccomp.listener_metadata;
  }
  return program;
}

Result<> ConnectListener(child::SeccompProgram* program) {
  if (!program->notifies) return {};
  program->listener_socket =
      TRY_WITH(kernel::ConnectUnix(program->listener_path), "linux.seccomp.listenerPath");
  return {};
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

namespace {

Result<> LaunchInto(Launched* out, CreateOptions options, Gate gate, UniqueFd console_socket) {
  Launched& launched = *out;
  StartTrace trace("runtime");
  ContainerState& state = launched.state;
  launched.spec = options.bundle.spec;
  oci::Spec& spec = launched.spec;
  // Sources of binds may be relative to the bundle.
  if (::chdir(options.bundle.path.c_str()) < 0) {
    return ErrnoError("entering '{}'", options.bundle.path);
  }
  CreatePlan plan;
  plan.process.console_socket = std::move(console_socket);
  UniqueFd pidfd_socket = TRY(ConnectPidfdSocket(options.pidfd_socket));
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
  trace.Lap("plan, state directory");
  TRY(MakeContainerCgroups(options, spec, &state));
  trace.Lap("cgroups");
  plan.cgroups = state.cgroups.directories;
  plan.cgroup_unified = state.cgroups.unified;
  plan.wait_for_scope = !state.scope.empty();

  if (spec.platform.intel_rdt) {
    TRY_WITH(MakeRdtGroup(state.rdt, *spec.platform.intel_rdt), "linux.intelRdt");
    undo.Push([&] { (void)RemoveRdtGroup(state.rdt); });
  }
  NamespacePlan namespaces = TRY(PrepareNamespaces(spec, &plan, &state));
  WarnOfCapabilities(plan.process);
  plan.process.container_state = StateJson(state, Status::kCreating).Dump();
  if (gate == Gate::kClosed) plan.gate = TRY(MakeGate(directory));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return ErrnoError("making a socket pair");
  }
  UniqueFd channel(ends[0]);
  plan.process.channel = UniqueFd(ends[1]);
  launched.pidfd = TRY(Fork(&plan, namespaces, &channel, &lock, &state));
  trace.Lap("namespaces, fork");
  undo.Push([&] {
    (void)kernel::SendSignal(launched.pidfd, SIGKILL);
    (void)kernel::WaitExit(launched.pidfd);
  });
  TRY(directory.Save(state));
  TRY(SendPidfd(pidfd_socket, launched.pidfd, "standard"));
  if (plan.wait_for_scope) {
    undo.Push([&] { (void)RemoveContainerCgroups(state, kCleanUpTime); });
    TRY(MakeContainerScope(spec, &state));
    TRY(directory.Save(state));
  }
  // While the child is at work.
  TRY(ReplaceFile(directory.PreparedPath(),
                  EncodePrepared(options.bundle.spec, plan.process.seccomp, state), 0600));
  TRY_WITH(Converse(launched, channel, plan, namespaces, gate),
           "unable to start container process");
  trace.Lap("mounts, security, in the child");
  TRY(WritePidFile(options.pid_file, state.pid));
  undo.Commit();
  // Where somebody asked for it; that it can't be written is no reason to fail a start.
  (void)trace.AppendTo(options.bundle.path);
  return {};
}

}  // namespace

Result<Launched> Launch(CreateOptions options, Gate gate, UniqueFd console_socket) {
  Launched launched;
  Result<> done = LaunchInto(&launched, std::move(options), gate, std::move(console_socket));
  if (done.ok()) return launched;
  // There was a container, and it is destroyed: lifecycle steps 3 to 5 go on at 12.
  if (launched.state.pid != 0) {
    RunPoststopHooks(launched.spec, launched.state);
  }
  return std::move(done).error();
}

}  // namespace gantry::runtime
