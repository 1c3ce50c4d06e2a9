// SPDX-License-Identifier: Apache-2.0
//
// `exec`: another process in a container.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "kernel/clone.h"
#include "kernel/pidfd.h"
#include "kernel/pty.h"
#include "runtime/cgroup_setup.h"
#include "runtime/foreground.h"
#include "runtime/launch.h"
#include "runtime/operations.h"
#include "runtime/prepared.h"
#include "runtime/process_settings.h"
#include "runtime/systemd_scope.h"

namespace gantry::runtime {
namespace {

struct NamespaceFile {
  const char* name;
  int flag;
};

constexpr NamespaceFile kNamespaceFiles[] = {
    {"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS},  {"net", CLONE_NEWNET},
    {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP},
    {"time", CLONE_NEWTIME},
};

// Only what differs from ours: joining the user namespace one is in already is refused (setns(2)).
Result<int> NamespacesToJoin(pid_t pid) {
  int flags = 0;
  for (const NamespaceFile& file : kNamespaceFiles) {
    struct stat theirs{};
    struct stat ours{};
    std::string path = fmt::format("/proc/{}/ns/{}", pid, file.name);
    if (::stat(path.c_str(), &theirs) < 0) {
      // A kernel before 5.6 has no time namespaces.
      if (errno == ENOENT && file.flag == CLONE_NEWTIME) continue;
      return ErrnoError("looking at '{}'", path);
    }
    if (::stat(fmt::format("/proc/self/ns/{}", file.name).c_str(), &ours) < 0) {
      return ErrnoError("looking at our own namespaces");
    }
    if (theirs.st_ino != ours.st_ino) flags |= file.flag;
  }
  return flags;
}

struct Console {
  UniqueFd for_child;
  UniqueFd receiver;
};

Result<Console> OpenConsole(const ExecOptions& options) {
  Console console;
  if (!options.console_socket.empty()) {
    console.for_child = TRY_WITH(kernel::ConnectUnix(options.console_socket), "console socket");
  } else if (options.process.terminal) {
    if (options.detach) {
      return InvalidArgument("cannot allocate a terminal without a console socket");
    }
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
      return ErrnoError("making a socket pair");
    }
    console = {UniqueFd(ends[1]), UniqueFd(ends[0])};
  }
  return console;
}

// Takes effect for our next child. Also when it is ours already: that does no harm.
Result<> JoinPidNamespace(child::ExecPlan* plan) {
  int types = CLONE_NEWPID;
  // Only root of the container's user namespace has a right to its pid namespace, so an
  // unprivileged user becomes that first, and the child is born as such.
  if (::geteuid() != 0 && (plan->namespaces & CLONE_NEWUSER) != 0) {
    types |= CLONE_NEWUSER;
    plan->namespaces &= ~CLONE_NEWUSER;
  }
  if (::setns(plan->container.get(), types) < 0) {
    return ErrnoError("joining the container's pid namespace");
  }
  return {};
}

// clone3 with the child born in a v2 cgroup, or (no directory) in ours. pid or -errno.
pid_t CloneInto(child::ExecPlan* plan, UniqueFd* channel, const std::string& directory,
                UniqueFd* pidfd) {
  int fd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&fd);
  args.exit_signal = SIGCHLD;
  UniqueFd cgroup;
  if (!directory.empty()) {
    cgroup = UniqueFd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup.valid()) return -errno;
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup.get());
  }
  pid_t pid = kernel::CloneFork(&args);
  if (pid == 0) {
    channel->Reset();
    child::RunExec(plan);
  }
  if (pid > 0) *pidfd = UniqueFd(fd);
  return pid;
}

struct Target {
  const ContainerState* state;
  kernel::CgroupPaths cgroups;
  bool below = false;  // a cgroup that `--cgroup` names
};

// The process in the container's pid namespace and cgroup; the rest is the child's.
Result<UniqueFd> Enter(child::ExecPlan* plan, UniqueFd* channel, const Target& target, pid_t* pid) {
  const ContainerState& state = *target.state;
  std::string first;
  if (target.cgroups.unified && !target.cgroups.directories.empty()) {
    first = TRY(kernel::CgroupPathsOfProcess(state.pid)).Main();
  }
  TRY(JoinPidNamespace(plan));
  if (!target.cgroups.unified) plan->process.cgroup_tasks = TRY(OpenTasks(target.cgroups));
  UniqueFd pidfd;
  std::string directory = target.cgroups.unified ? target.cgroups.Main() : "";
  *pid = CloneInto(plan, channel, directory, &pidfd);
  // The container has made cgroups below its own, which then takes no process (cgroups(7), "no
  // internal processes"): beside its first process.
  if (*pid == -EBUSY && !target.below) *pid = CloneInto(plan, channel, first, &pidfd);
  // From a session's cgroup to the user's own services' is systemd's to move.
  bool by_systemd = *pid == -EACCES && state.user_scope && !target.below;
  if (by_systemd) {
    plan->wait_for_scope = true;
    *pid = CloneInto(plan, channel, "", &pidfd);
  }
  if (*pid < 0) return ErrnoErrorOf(-*pid, "making the process");
  if (by_systemd) {
    Result<> moved = AttachToScope(SystemdInstance::kUser, state.scope, *pid);
    if (moved.ok()) moved = child::SendMessage(*channel, child::Message::kGo);
    if (!moved.ok()) {
      (void)kernel::SendSignal(pidfd, SIGKILL);
      (void)kernel::WaitExit(pidfd);
      return std::move(moved).error();
    }
  }
  return pidfd;
}

// The first set of processors is ours, which the process inherits until it is in the cgroup.
Result<> SetAffinity(const oci::ExecCpuAffinity& affinity, child::ProcessPlan* plan) {
  if (!affinity.initial.empty()) {
    auto mask = TRY(ParseNumberList(affinity.initial, "process.execCPUAffinity.initial"));
    if (::syscall(SYS_sched_setaffinity, 0, mask.size() * sizeof(unsigned long), mask.data()) < 0) {
      return ErrnoError("setting process.execCPUAffinity.initial");
    }
  }
  if (!affinity.final_cpus.empty()) {
    plan->final_cpus = TRY(ParseNumberList(affinity.final_cpus, "process.execCPUAffinity.final"));
  }
  return {};
}

// What the container's config.json says about all of its processes.
Result<> ApplySpec(Prepared prepared, const ExecOptions& options, oci::Process* process,
                   child::ProcessPlan* plan) {
  TRY(FillProcessSettings(prepared.spec.platform, plan));
  if (!process->exec_cpu_affinity) {
    process->exec_cpu_affinity = prepared.spec.process->exec_cpu_affinity;
  }
  if (process->exec_cpu_affinity) TRY(SetAffinity(*process->exec_cpu_affinity, plan));
  if (!options.inherit_seccomp) return {};
  plan->seccomp = std::move(prepared.seccomp);
  return ConnectListener(&plan->seccomp);
}

Result<UniqueFd> OpenContainer(const StateDirectory& directory, const ContainerState& state,
                               bool ignore_paused) {
  Status status = TRY(StatusOf(directory, state));
  if (status == Status::kStopped) return FailedPrecondition("container not running");
  // Before `start` the first process still runs our own program file (runtime/own_binary.h).
  if (status == Status::kCreated) {
    return FailedPrecondition("container not running: it was not started yet");
  }
  if (status == Status::kPaused && !ignore_paused) {
    return FailedPrecondition("cannot exec in a paused container");
  }
  Result<UniqueFd> process = kernel::OpenProcess(state.pid, state.start_time);
  if (!process.ok()) return FailedPrecondition("container not running");
  return process;
}

}  // namespace

Result<int> Exec(ExecOptions options) {
  StateDirectory directory(options.root, options.id);
  ContainerState state = TRY(directory.Load());
  UniqueFd container = TRY(OpenContainer(directory, state, options.ignore_paused));
  oci::Process process = options.process;

  child::ExecPlan plan;
  plan.container = container;
  plan.namespaces = TRY(NamespacesToJoin(state.pid));
  if ((plan.namespaces & CLONE_NEWNS) == 0) {
    plan.root = TRY(OpenFile(fmt::format("/proc/{}/root", state.pid), O_PATH | O_DIRECTORY));
  }
  plan.process.process = &process;
  plan.process.id = options.id;
  plan.process.new_keyring = !state.no_new_keyring;
  plan.process.preserve_fds = PreservedFds(options.preserve_fds, &process.env);
  plan.process.in_user_namespace = state.user_namespace;
  plan.process.container_state = StateJson(state, Status::kRunning).Dump();
  Target target{&state, TRY(SubCgroups(state.cgroups, options.sub_cgroups)),
                !options.sub_cgroups.empty()};
  if (!options.prepared) options.prepared = TRY(LoadPrepared(directory, state));
  TRY(ApplySpec(std::move(*options.prepared), options, &process, &plan.process));
  WarnOfCapabilities(plan.process);
  Console console = TRY(OpenConsole(options));
  plan.process.console_socket = std::move(console.for_child);
  UniqueFd pidfd_socket = TRY(ConnectPidfdSocket(options.pidfd_socket));

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return ErrnoError("making a socket pair");
  }
  UniqueFd channel(ends[0]);
  plan.process.channel = UniqueFd(ends[1]);
  // The process is in the container's pid namespace with the host's descriptors before it is the
  // container's; with a user namespace root inside could trace it else (CVE-2016-9962). The exec
  // ends this.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return ErrnoError("becoming not dumpable");
  std::optional<SignalForwarder> forwarder;
  if (!options.detach) forwarder = TRY(SignalForwarder::Create());
  pid_t pid = -1;
  UniqueFd pidfd = TRY(Enter(&plan, &channel, target, &pid));
  plan.process.channel.Reset();
  plan.process.console_socket.Reset();
  Result<child::Received> answer = child::ReceiveMessage(channel);
  if (!answer.ok()) {
    (void)kernel::WaitExit(pidfd);
    return std::move(answer).error().AddContext("unable to start container process");
  }
  Result<> sent = SendPidfd(pidfd_socket, pidfd, "setns");
  if (!sent.ok()) {
    (void)kernel::SendSignal(pidfd, SIGKILL);
    (void)kernel::WaitExit(pidfd);
    return std::move(sent).error();
  }
  TRY(WritePidFile(options.pid_file, pid));
  if (options.detach) return 0;
  UniqueFd terminal;
  if (console.receiver.valid()) terminal = TRY(kernel::ReceiveDescriptor(console.receiver));
  return forwarder->Follow(pidfd, std::move(terminal));
}

}  // namespace gantry::runtime
