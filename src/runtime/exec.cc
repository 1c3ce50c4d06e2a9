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
#include "runtime/process_settings.h"

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
    if (::stat(path.c_str(), &theirs) < 0) return ErrnoError("looking at '{}'", path);
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

// clone3 into the container's pid namespace and cgroup; the rest is the child's.
Result<UniqueFd> Enter(child::ExecPlan* plan, UniqueFd* channel, const kernel::CgroupPaths& cgroups,
                       pid_t* pid) {
  // Takes effect for our next child. Also when it is ours already: that does no harm.
  if (::setns(plan->container.get(), CLONE_NEWPID) < 0) {
    return ErrnoError("joining the container's pid namespace");
  }
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  UniqueFd cgroup;
  if (cgroups.unified) {
    cgroup = TRY(OpenFile(cgroups.Main(), O_RDONLY | O_DIRECTORY));
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(cgroup.get());
  } else {
    plan->process.cgroup_tasks = TRY(OpenTasks(cgroups));
  }
  *pid = kernel::CloneFork(&args);
  if (*pid < 0) return ErrnoErrorOf(-*pid, "making the process");
  if (*pid == 0) {
    channel->Reset();
    child::RunExec(plan);
  }
  return UniqueFd(pidfd);
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
Result<> ApplySpec(const oci::Spec& spec, const ExecOptions& options, oci::Process* process,
                   child::ProcessPlan* plan) {
  TRY(FillProcessSettings(spec.platform, plan));
  if (!process->exec_cpu_affinity) process->exec_cpu_affinity = spec.process->exec_cpu_affinity;
  if (process->exec_cpu_affinity) TRY(SetAffinity(*process->exec_cpu_affinity, plan));
  if (options.inherit_seccomp) plan->seccomp = TRY(PrepareSeccomp(spec));
  return {};
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

Result<int> Exec(const ExecOptions& options) {
  StateDirectory directory(options.root, options.id);
  ContainerState state = TRY(directory.Load());
  UniqueFd container = TRY(OpenContainer(directory, state, options.ignore_paused));
  oci::Process process = options.process;

  child::ExecPlan plan;
  plan.container = container;
  plan.namespaces = TRY(NamespacesToJoin(state.pid));
  plan.process.process = &process;
  plan.process.id = options.id;
  plan.process.new_keyring = !state.no_new_keyring;
  plan.process.preserve_fds = PreservedFds(options.preserve_fds, &process.env);
  plan.process.in_user_namespace = state.user_namespace;
  plan.process.container_state = StateJson(state, Status::kRunning).Dump();
  kernel::CgroupPaths cgroups = TRY(SubCgroups(state.cgroups, options.sub_cgroups));
  TRY(ApplySpec(TRY(directory.LoadSpec()), options, &process, &plan.process));
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
  UniqueFd pidfd = TRY(Enter(&plan, &channel, cgroups, &pid));
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
