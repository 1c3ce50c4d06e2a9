// SPDX-License-Identifier: Apache-2.0
//
// What the container's process does from its birth to execve: the two straight recipes, for a new
// container and for a process that joins one.
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "base/io.h"
#include "kernel/cgroups.h"
#include "kernel/paths.h"
#include "runtime/child/console.h"
#include "runtime/child/hooks.h"
#include "runtime/child/identity.h"
#include "runtime/child/labels.h"
#include "runtime/child/namespaces.h"
#include "runtime/child/plan.h"
#include "runtime/child/root.h"

namespace gantry::runtime::child {
namespace {

Result<> JoinCgroups(std::vector<UniqueFd>* tasks) {
  for (UniqueFd& file : *tasks) {
    if (::write(file.get(), "0", 1) < 0) return ErrnoError("joining a cgroup");
    file.Reset();
  }
  return {};
}

// Becomes what the user namespace calls root. Its files in /proc would belong to the host's root
// while the process is not dumpable; in a new namespace there is nobody else who could look.
Result<> BecomeNamespaceRoot(const CreatePlan& plan) {
  if (::syscall(SYS_setresgid, 0, 0, 0) < 0) return ErrnoError("becoming the namespace's group 0");
  if (::syscall(SYS_setresuid, 0, 0, 0) < 0) return ErrnoError("becoming the namespace's root");
  ::prctl(PR_SET_DUMPABLE, plan.user_namespace_joined ? 0 : 1, 0, 0, 0);
  return {};
}

Result<> JoinNamespaces(const CreatePlan& plan) {
  for (const CreatePlan::Join& join : plan.joins) {
    if (::setns(join.fd.get(), join.type) < 0) {
      return ErrnoError("joining namespace '{}'", join.path);
    }
    // We are at its root now; sources of binds may be relative to the bundle.
    if (join.type == CLONE_NEWNS && ::chdir(plan.bundle.c_str()) < 0) {
      return ErrnoError("entering '{}' in namespace '{}'", plan.bundle, join.path);
    }
  }
  if (plan.unshare_cgroup_namespace && ::unshare(CLONE_NEWCGROUP) < 0) {
    return ErrnoError("making a cgroup namespace");
  }
  return {};
}

int PidInProc() {
  char link[32] = {};
  ssize_t size = ::readlink("/proc/self", link, sizeof link - 1);
  return size > 0 ? ::atoi(link) : ::getpid();
}

// What a signal-blocking caller left behind must not reach the program.
void ResetSignals() {
  struct sigaction by_default{};
  by_default.sa_handler = SIG_DFL;
  for (int signal = 1; signal < 65; ++signal) ::sigaction(signal, &by_default, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void Execute(const std::string& program, const oci::Process& process,
                          const std::vector<std::string>& environment, BorrowedFd report) {
  std::vector<char*> argv;
  for (const std::string& text : process.args) argv.push_back(const_cast<char*>(text.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const std::string& text : environment) envp.push_back(const_cast<char*>(text.c_str()));
  envp.push_back(nullptr);
  ::execve(program.c_str(), argv.data(), envp.data());
  Error error = ErrnoError("exec {}", program);
  (void)SendFailure(report, error);
  ::_exit(error.error_number() == ENOENT ? 127 : 126);
}

// Everything above the preserved descriptors closes at the exec.
Result<> MarkDescriptors(unsigned preserved) {
  if (::close_range(3 + preserved, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
    return ErrnoError("marking descriptors");
  }
  for (unsigned i = 0; i < preserved; ++i) {
    ::fcntl(static_cast<int>(3 + i), F_SETFD, 0);
  }
  return {};
}

Result<std::string> LocateProgram(const ProcessPlan& plan) {
  if (::chdir(plan.process->cwd.c_str()) < 0 && errno != EACCES) {
    return ErrnoError("chdir to cwd '{}'", plan.process->cwd);
  }
  return FindProgram(*plan.process, plan.process->env);
}

Result<> PrepareFileSystem(CreatePlan* plan) {
  const oci::Spec& spec = *plan->spec;
  UniqueFd root = TRY(PrepareRoot(plan));
  TRY(MakeDevices(root, *plan));
  if (plan->process.process->terminal) {
    TRY(AttachTerminal(root, plan->process, ConsoleNode::kAtConsole));
  }
  TRY(HidePaths(root, spec.platform));
  if (!spec.hooks.create_container.empty()) {
    TRY(RunHooks(spec.hooks.create_container, "createContainer",
                 WithStatus(plan->process.container_state, "creating", plan->process.host_pid)));
  }
  TRY(FinishRoot(root, *plan));
  return EnterRoot(root, *plan);
}

Result<> PrepareContainer(CreatePlan* plan) {
  const oci::Spec& spec = *plan->spec;
  // Until the parent has written down who we are, we do not outlive it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  TRY(JoinCgroups(&plan->process.cgroup_tasks));
  if (plan->wait_for_parent) TRY(AwaitGo(plan->process.channel));
  if (plan->cgroups.empty()) {
    plan->own_cgroups = plan->wait_for_scope;
    plan->cgroups = TRY(kernel::CgroupPathsOfProcess(0)).directories;
  }
  if (plan->process.in_user_namespace) TRY(BecomeNamespaceRoot(*plan));
  ::setsid();
  plan->process.host_pid = PidInProc();
  TRY(JoinNamespaces(*plan));
  ::umask(0);
  if (plan->parent_hooks) {
    TRY(SendMessage(plan->process.channel, Message::kHooks));
    TRY(AwaitGo(plan->process.channel));
  }
  for (const oci::Namespace& ns : spec.platform.namespaces) {
    if (ns.type == "network" && ns.path.empty()) TRY(RaiseLoopback());
  }
  TRY(SetHostName(spec));
  TRY(SetSysctls(spec));
  if (!plan->user_namespace_joined) TRY(ApplyProcessAttributes(plan->process));
  plan->process.labels = TRY(OpenLabels(*plan->process.process, plan->process.preserve_fds));
  TRY(PrepareFileSystem(plan));
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::umask(022);
  return MarkDescriptors(plan->process.preserve_fds);
}

// `start` connects; the connection then carries an error, or ends at the exec.
Result<UniqueFd> WaitAtGate(BorrowedFd gate) {
  for (;;) {
    UniqueFd connection(::accept4(gate.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) return connection;
    if (errno != EINTR) return ErrnoError("waiting for start");
  }
}

Result<> BecomeContainer(CreatePlan* plan, const std::string& program, BorrowedFd report) {
  const oci::Spec& spec = *plan->spec;
  TRY(ApplyLabels(plan->process.labels));  // before no_new_privs, which forbids some changes
  std::vector<std::string> environment = spec.process->env;
  TRY(BecomeUser(plan->process, &environment));
  // These hooks' programs are the image's: they get no more rights than its own program.
  if (!spec.hooks.start_container.empty()) {
    TRY(RunHooks(spec.hooks.start_container, "startContainer",
                 WithStatus(plan->process.container_state, "created", plan->process.host_pid)));
  }
  Execute(program, *spec.process, environment, report);
}

Result<> PrepareExec(ExecPlan* plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  TRY(JoinCgroups(&plan->process.cgroup_tasks));
  if (plan->wait_for_scope) TRY(AwaitGo(plan->process.channel));
  ::setsid();
  plan->process.host_pid = PidInProc();
  // Before the namespaces: /proc/self/oom_score_adj of the host needs the host's rights.
  TRY(ApplyProcessAttributes(plan->process));
  plan->process.labels = TRY(OpenLabels(*plan->process.process, plan->process.preserve_fds));
  if (::setns(plan->container.get(), plan->namespaces) < 0) {
    return ErrnoError("joining the container's namespaces");
  }
  if (plan->root.valid() && (::fchdir(plan->root.get()) < 0 || ::chroot(".") < 0)) {
    return ErrnoError("changing the root");
  }
  if (::chdir("/") < 0) return ErrnoError("entering the root");
  if (plan->process.process->terminal) {
    UniqueFd root = TRY(kernel::OpenRoot("/"));
    TRY(AttachTerminal(root, plan->process, ConsoleNode::kNone));
  }
  ::umask(022);
  return MarkDescriptors(plan->process.preserve_fds);
}

}  // namespace

std::string WithStatus(const std::string& state, std::string_view status, int pid) {
  Result<formats::Json> json = formats::Json::Parse(state);
  if (!json.ok()) return state;
  json->Set("status", status);
  json->Set("pid", pid);
  return json->Dump();
}

void RunCreated(CreatePlan* plan) {
  ResetSignals();
  BorrowedFd report = plan->process.channel;
  Result<std::string> program = Error(ErrorKind::kUnknown, "");
  Result<> prepared = PrepareContainer(plan);
  if (prepared.ok()) {
    program = LocateProgram(plan->process);
    if (!program.ok()) prepared = std::move(program).error();
  }
  UniqueFd connection;
  if (prepared.ok()) {
    ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    if (plan->gate.valid()) {
      prepared = SendMessage(plan->process.channel, Message::kReady);
      if (prepared.ok()) {
        plan->process.channel.Reset();
        Result<UniqueFd> accepted = WaitAtGate(plan->gate);
        if (!accepted.ok()) ::_exit(1);
        connection = std::move(accepted).value();
        report = connection;
      }
    }
  }
  if (prepared.ok()) prepared = BecomeContainer(plan, *program, report);
  (void)SendFailure(report, prepared.error());
  ::_exit(1);
}

void RunExec(ExecPlan* plan) {
  ResetSignals();
  Result<> prepared = PrepareExec(plan);
  Result<std::string> program = Error(ErrorKind::kUnknown, "");
  if (prepared.ok()) {
    program = LocateProgram(plan->process);
    if (!program.ok()) prepared = std::move(program).error();
  }
  if (prepared.ok()) {
    ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    std::vector<std::string> environment = plan->process.process->env;
    prepared = ApplyLabels(plan->process.labels);
    if (prepared.ok()) prepared = BecomeUser(plan->process, &environment);
    if (prepared.ok())
      Execute(*program, *plan->process.process, environment, plan->process.channel);
  }
  (void)SendFailure(plan->process.channel, prepared.error());
  ::_exit(255);
}

}  // namespace gantry::runtime::child
