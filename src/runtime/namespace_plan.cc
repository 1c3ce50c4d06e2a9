// SPDX-License-Identifier: Apache-2.0
#include "runtime/namespace_plan.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/io.h"
#include "kernel/clone.h"
#include "kernel/mount_options.h"
#include "kernel/mounts.h"
#include "kernel/spawn.h"
#include "kernel/user_namespace.h"
#include "runtime/child/identity.h"
#include "runtime/id_maps.h"

namespace gantry::runtime {
namespace {

using child::CreatePlan;

struct NamespaceKind {
  std::string_view name;
  int flag;
};

constexpr NamespaceKind kNamespaces[] = {
    {"user", CLONE_NEWUSER},     {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},
    {"network", CLONE_NEWNET},   {"pid", CLONE_NEWPID},   {"mount", CLONE_NEWNS},
    {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

int FlagOf(std::string_view type) {
  for (const NamespaceKind& kind : kNamespaces) {
    if (kind.name == type) return kind.flag;
  }
  return 0;
}

// Joining the user namespace one is in already is refused (setns(2)).
Result<UniqueFd> OpenUserNamespace(const std::string& path) {
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY));
  struct stat theirs{};
  struct stat ours{};
  if (::fstat(fd.get(), &theirs) < 0 || ::stat("/proc/self/ns/user", &ours) < 0) {
    return ErrnoError("looking at '{}'", path);
  }
  if (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev) fd.Reset();
  return fd;
}

Result<> PlanJoin(const oci::Namespace& ns, int flag, bool staged, CreatePlan* plan) {
  UniqueFd fd = TRY(OpenFile(ns.path, O_RDONLY));
  // These two take effect for the next child only. The stage must see the child's number, so it
  // joins a pid namespace itself.
  if (flag == CLONE_NEWTIME || (flag == CLONE_NEWPID && !staged)) {
    if (::setns(fd.get(), flag) < 0) return ErrnoError("joining '{}'", ns.path);
    return {};
  }
  plan->joins.push_back({std::move(fd), flag, ns.path});
  return {};
}

// One namespace for each pair of maps, however many mounts have it.
class MountNamespaces {
 public:
  Result<UniqueFd> For(const oci::Mount& mount, const oci::LinuxPlatform& platform,
                       const NamespacePlan& namespaces) {
    if (mount.uid_mappings.empty() && namespaces.user.valid()) return Duplicate(namespaces.user);
    bool own = !mount.uid_mappings.empty();
    if (!own && !namespaces.new_user) {
      return InvalidArgument("option 'idmap' needs mappings, or a user namespace");
    }
    std::string uids = IdMapLines(own ? mount.uid_mappings : platform.uid_mappings);
    std::string gids = IdMapLines(own ? mount.gid_mappings : platform.gid_mappings);
    std::string key = uids + "/" + gids;
    auto found = made_.find(key);
    if (found == made_.end()) {
      UniqueFd fd = TRY_WITH(kernel::MakeUserNamespace(uids, gids), "mappings of ids");
      found = made_.emplace(std::move(key), std::move(fd)).first;
    }
    return Duplicate(found->second);
  }

 private:
  static Result<UniqueFd> Duplicate(BorrowedFd fd) {
    UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy.valid()) return ErrnoError("duplicating a descriptor");
    return copy;
  }

  std::map<std::string, UniqueFd> made_;
};

Result<UniqueFd> MapBind(const oci::Mount& mount, const kernel::MountOptions& options,
                         BorrowedFd user_namespace) {
  kernel::BindKind kind = options.bind == kernel::BindKind::kBind ? kernel::BindKind::kBind
                                                                  : kernel::BindKind::kRecursive;
  UniqueFd tree = TRY(kernel::CloneMount(BorrowedFd(), mount.source, kind));
  TRY(kernel::MapMountIds(
      tree, user_namespace,
      options.idmap_recursive ? kernel::Scope::kWholeTree : kernel::Scope::kThisMount));
  return tree;
}

Result<> MapMount(size_t index, const oci::Spec& spec, const NamespacePlan& namespaces,
                  MountNamespaces* made, CreatePlan* plan) {
  const oci::Mount& mount = spec.mounts[index];
  kernel::MountOptions options = kernel::ParseMountOptions(mount.options);
  UniqueFd user_namespace = TRY(made->For(mount, spec.platform, namespaces));
  if (options.bind != kernel::BindKind::kNone || mount.type == "bind") {
    plan->mapped_binds[index] = TRY(MapBind(mount, options, user_namespace));
  } else {
    plan->mount_user_namespaces[index] = std::move(user_namespace);
  }
  return {};
}

Result<> JoinAll(const CreatePlan& plan, const NamespacePlan& namespaces) {
  for (const CreatePlan::Join& join : plan.joins) {
    if (::setns(join.fd.get(), join.type) < 0) return ErrnoError("joining '{}'", join.path);
  }
  if (namespaces.user.valid() && ::setns(namespaces.user.get(), CLONE_NEWUSER) < 0) {
    return ErrnoError("joining the user namespace");
  }
  return {};
}

[[noreturn]] void RunStage(CreatePlan* plan, const NamespacePlan& namespaces, BorrowedFd cgroup,
                           UniqueFd answer) {
  // Others are in a user namespace that is joined, so the child does not become dumpable and can't
  // write to its own files in /proc; what is inherited is set here.
  Result<> joined;
  if (namespaces.user.valid()) joined = child::ApplyProcessAttributes(plan->process);
  if (joined.ok()) joined = JoinAll(*plan, namespaces);
  plan->joins.clear();
  pid_t pid = -1;
  if (joined.ok()) {
    clone_args args{};
    args.flags = CLONE_PARENT | namespaces.clone_flags;
    if (cgroup.valid()) {
      args.flags |= CLONE_INTO_CGROUP;
      args.cgroup = static_cast<uint64_t>(cgroup.get());
    }
    pid = kernel::CloneFork(&args);
    if (pid == 0) {
      answer.Reset();
      child::RunCreated(plan);
    }
    if (pid < 0) joined = ErrnoErrorOf(-pid, "making the container's process");
  }
  if (!joined.ok()) (void)child::SendFailure(plan->process.channel, joined.error());
  if (pid > 0) (void)WriteAll(answer, fmt::format("{}", pid));
  ::_exit(0);
}

}  // namespace

Result<NamespacePlan> PlanNamespaces(const oci::Spec& spec, CreatePlan* plan) {
  NamespacePlan out;
  bool has_mount = false;
  bool any_path = false;
  for (const oci::Namespace& ns : spec.platform.namespaces) {
    has_mount |= ns.type == "mount";
    if (ns.type != "user") {
      any_path |= !ns.path.empty();
    } else if (ns.path.empty()) {
      out.new_user = true;
    } else {
      out.user = TRY(OpenUserNamespace(ns.path));
    }
  }
  if (!has_mount) return InvalidArgument("linux.namespaces: a mount namespace is needed");
  out.staged = out.user.valid() || (out.new_user && any_path);
  for (const oci::Namespace& ns : spec.platform.namespaces) {
    int flag = FlagOf(ns.type);
    if (!ns.path.empty()) {
      if (flag != CLONE_NEWUSER) TRY(PlanJoin(ns, flag, out.staged, plan));
    } else if (flag == CLONE_NEWCGROUP) {
      plan->unshare_cgroup_namespace = true;
    } else if (flag == CLONE_NEWTIME) {
      if (::unshare(CLONE_NEWTIME) < 0) return ErrnoError("making a time namespace");
    } else {
      out.clone_flags |= static_cast<uint64_t>(flag);
      out.new_pid |= flag == CLONE_NEWPID;
    }
  }
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

Result<> MapMounts(const oci::Spec& spec, const NamespacePlan& namespaces, CreatePlan* plan) {
  MountNamespaces made;
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const oci::Mount& mount = spec.mounts[i];
    if (mount.uid_mappings.empty() && !kernel::ParseMountOptions(mount.options).idmap) continue;
    TRY_WITH(MapMount(i, spec, namespaces, &made, plan), "mounting '{}' to '{}'", mount.source,
             mount.destination);
  }
  return {};
}

Result<pid_t> ForkByStage(CreatePlan* plan, const NamespacePlan& namespaces, UniqueFd* channel,
                          UniqueFd* lock, BorrowedFd cgroup) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd answer(ends[0]);
  UniqueFd question(ends[1]);
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  pid_t stage = kernel::CloneFork(&args);
  if (stage < 0) return ErrnoErrorOf(-stage, "making a process");
  if (stage == 0) {
    channel->Reset();
    lock->Reset();
    RunStage(plan, namespaces, cgroup, std::move(question));
  }
  UniqueFd process(pidfd);
  question.Reset();
  std::string text = TRY(ReadToEnd(answer, 64));
  TRY(kernel::WaitExit(process));
  if (text.empty()) {
    TRY(child::ReceiveMessage(*channel));
    return Internal("joining namespaces: the stage ended without a word");
  }
  return static_cast<pid_t>(std::atoi(text.c_str()));
}

}  // namespace gantry::runtime
