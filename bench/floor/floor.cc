// SPDX-License-Identifier: Apache-2.0
//
// The floor under `gantry-runtime run`: a bare program that does the kernel work that bench's
// config.json asks for (runc's default one with limits of memory and processes: v1 cgroups, clone3,
// mounts, devices, pivot_root, masks, capabilities, a seccomp filter as large as that of the
// engine's default profile, exec, wait, clean-up) and nothing else: no configuration, no state, no
// checks of what an image could do. With more than one round it prints microseconds a step. Not
// installed; for cgroup v1 hosts.
//
//   floor ROOTFS ROUNDS filter|no-filter PROGRAM [ARGUMENT…]
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace {

enum Step {
  kCgroups,
  kLimits,
  kClone,
  kJoin,
  kMounts,
  kDevices,
  kHide,
  kPivot,
  kCaps,
  kFilter,
  kExec,
  kClean,
  kSteps
};
constexpr const char* kNames[] = {"cgroup mkdir",      "limits and devices", "clone3",
                                  "join cgroups",      "root and mounts",    "device nodes",
                                  "masked, read-only", "pivot_root",         "capabilities",
                                  "seccomp filter",    "exec to reaped",     "cgroup rmdir"};
// The instructions of the engine's default profile, compiled (src/runtime/seccomp_filter.cc).
constexpr size_t kFilterSize = 683;

// The hierarchies of v1 that this host has mounted by these names.
std::vector<const char*> Controllers() {
  std::vector<const char*> found;
  for (const char* name : {"memory", "cpu", "cpuacct", "cpuset", "pids", "blkio", "devices",
                           "freezer", "hugetlb", "net_cls", "net_prio", "perf_event", "systemd"}) {
    std::string tasks = std::string("/sys/fs/cgroup/") + name + "/tasks";
    if (access(tasks.c_str(), F_OK) == 0) found.push_back(name);
  }
  return found;
}

struct Arguments {
  std::vector<const char*> controllers;
  const char* rootfs;
  int rounds;
  bool filter;
  char** program;
};

void Must(bool ok, const char* what) {
  if (ok) return;
  perror(what);
  _exit(1);
}

double Now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

struct Shared {
  double at[kSteps + 1];
};

void Put(const std::string& path, const char* text) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  Must(fd >= 0 && write(fd, text, strlen(text)) >= 0, path.c_str());
  close(fd);
}

std::string Get(const std::string& path) {
  char text[256] = {};
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  Must(fd >= 0 && read(fd, text, sizeof text - 1) >= 0, path.c_str());
  close(fd);
  return text;
}

void Cover(int root, const char* path, int mount) {
  int target = openat(root, path, O_PATH | O_CLOEXEC);
  if (target >= 0 && mount >= 0) {
    Must(move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0,
         path);
  }
  close(target);
  close(mount);
}

int New(const char* type, std::vector<std::pair<const char*, const char*>> options,
        unsigned attributes) {
  int context = fsopen(type, FSOPEN_CLOEXEC);
  for (auto [key, value] : options) fsconfig(context, FSCONFIG_SET_STRING, key, value, 0);
  Must(fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0, type);
  int mount = fsmount(context, FSMOUNT_CLOEXEC, attributes);
  close(context);
  return mount;
}

int ReadOnlyCopy(int at, const char* path) {
  int mount = open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (mount < 0) return -1;
  struct mount_attr attributes{};
  attributes.attr_set =
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  mount_setattr(mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
  return mount;
}

int MountAll(const Arguments& arguments, const std::string& group) {
  constexpr unsigned kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr);
  int root =
      open_tree(AT_FDCWD, arguments.rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  int slash = open("/", O_PATH | O_CLOEXEC);
  Must(move_mount(root, "", slash, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0,
       "root");
  Cover(root, "proc", New("proc", {}, 0));
  Cover(root, "dev", New("tmpfs", {{"mode", "755"}, {"size", "65536k"}}, MOUNT_ATTR_NOSUID));
  for (const char* name : {"dev/pts", "dev/shm", "dev/mqueue"}) mkdirat(root, name, 0755);
  Cover(root, "dev/pts",
        New("devpts", {{"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}},
            kSafe & ~MOUNT_ATTR_NODEV));
  Cover(root, "dev/shm", New("tmpfs", {{"mode", "1777"}, {"size", "65536k"}}, kSafe));
  Cover(root, "dev/mqueue", New("mqueue", {}, kSafe));
  Cover(root, "sys", New("sysfs", {}, kSafe | MOUNT_ATTR_RDONLY));
  Cover(root, "sys/fs/cgroup", New("tmpfs", {{"mode", "755"}}, kSafe));
  for (const char* controller : arguments.controllers) {
    std::string inside = std::string("sys/fs/cgroup/") + controller;
    mkdirat(root, inside.c_str(), 0755);
    Cover(root, inside.c_str(), ReadOnlyCopy(AT_FDCWD, ("/" + inside + group).c_str()));
  }
  return root;
}

void DropCapabilities() {
  for (int capability = 0; capability < 41; ++capability) {
    if (capability != 5 && capability != 10 && capability != 29) prctl(PR_CAPBSET_DROP, capability);
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {{0x20000420, 0x20000420, 0}, {0, 0, 0}};
  syscall(SYS_capset, &header, data);
}

// A tree of decisions over the call's number, as a compiled profile is one: half of `size` tests,
// half of it verdicts. All of them allow.
void PutTree(std::vector<sock_filter>* out, uint32_t first, uint32_t last, size_t size) {
  if (size < 3) {
    out->push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
    return;
  }
  uint32_t middle = first + (last - first) / 2;
  size_t low = (size - 2) / 2;
  // Its way is too long for a condition's eight bits.
  out->push_back({BPF_JMP | BPF_JGE | BPF_K, 0, 1, middle});
  size_t jump = out->size();
  out->push_back({BPF_JMP | BPF_JA, 0, 0, 0});
  PutTree(out, first, middle, low);
  (*out)[jump].k = static_cast<uint32_t>(out->size() - jump - 1);
  PutTree(out, middle, last, size - 2 - low);
}

std::vector<sock_filter> Filter() {
  std::vector<sock_filter> code{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch)},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_THREAD},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
  };
  PutTree(&code, 0, 460, kFilterSize - code.size());
  return code;
}

void LoadFilter() {
  std::vector<sock_filter> code = Filter();
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  Must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0,
       "seccomp");
}

void RaiseLoopback() {
  int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  Must(ioctl(socket_fd, SIOCSIFFLAGS, &request) == 0, "lo");
  close(socket_fd);
}

[[noreturn]] void Child(Shared* shared, const Arguments& arguments, const std::vector<int>& tasks,
                        const std::string& group) {
  shared->at[kClone + 1] = Now();
  for (int fd : tasks) Must(write(fd, "0", 1) == 1, "tasks");
  setsid();
  RaiseLoopback();
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, group.c_str());
  shared->at[kJoin + 1] = Now();
  int root = MountAll(arguments, group);
  shared->at[kMounts + 1] = Now();
  constexpr unsigned kNodes[][2] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}};
  for (auto [major, minor] : kNodes) {
    std::string name = "dev/" + std::to_string(major) + "." + std::to_string(minor);
    mknodat(root, name.c_str(), S_IFCHR | 0666, makedev(major, minor));
  }
  for (const char* name : {"dev/fd", "dev/stdin", "dev/stdout", "dev/stderr", "dev/ptmx"}) {
    if (symlinkat("x", root, name) < 0) perror(name);
  }
  shared->at[kDevices + 1] = Now();
  for (const char* path : {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"}) {
    Cover(root, path, ReadOnlyCopy(root, path));
  }
  for (const char* path : {"proc/keys", "proc/timer_list"}) {
    Cover(root, path, open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  }
  for (const char* path : {"proc/acpi", "sys/firmware"})
    Cover(root, path, New("tmpfs", {}, MOUNT_ATTR_RDONLY));
  shared->at[kHide + 1] = Now();
  struct mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  mount_setattr(root, "", AT_EMPTY_PATH, &read_only, sizeof read_only);
  Must(fchdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 &&
           umount2(".", MNT_DETACH) == 0 && chdir("/") == 0,
       "pivot_root");
  shared->at[kPivot + 1] = Now();
  Must(sethostname("floor", 5) == 0, "sethostname");
  DropCapabilities();
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_close_range, 3, ~0U, 4);
  shared->at[kCaps + 1] = Now();
  if (arguments.filter) LoadFilter();
  shared->at[kFilter + 1] = Now();
  execv(arguments.program[0], arguments.program);
  _exit(127);
}

void Round(Shared* shared, const Arguments& arguments, int number) {
  std::string group = "/gantry-floor-" + std::to_string(getpid()) + "-" + std::to_string(number);
  auto place = [&](const char* controller) {
    return std::string("/sys/fs/cgroup/") + controller + group;
  };
  shared->at[0] = Now();
  for (const char* controller : arguments.controllers)
    Must(mkdir(place(controller).c_str(), 0755) == 0, controller);
  shared->at[kCgroups + 1] = Now();
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    Put(place("cpuset") + file, Get(std::string("/sys/fs/cgroup/cpuset") + file).c_str());
  }
  Put(place("memory") + "/memory.limit_in_bytes", "268435456");
  Put(place("pids") + "/pids.max", "100");
  Put(place("devices") + "/devices.deny", "a");
  for (const char* rule : {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
                           "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"}) {
    Put(place("devices") + "/devices.allow", rule);
  }
  std::vector<int> tasks;
  for (const char* controller : arguments.controllers)
    tasks.push_back(open((place(controller) + "/tasks").c_str(), O_WRONLY | O_CLOEXEC));
  shared->at[kLimits + 1] = Now();
  clone_args args{};
  args.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  args.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &args, sizeof args);
  Must(pid >= 0, "clone3");
  if (pid == 0) Child(shared, arguments, tasks, group);
  int status = 0;
  waitpid(static_cast<pid_t>(pid), &status, 0);
  for (int fd : tasks) close(fd);
  shared->at[kExec + 1] = Now();
  Must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the program");
  for (const char* controller : arguments.controllers)
    Must(rmdir(place(controller).c_str()) == 0, controller);
  shared->at[kClean + 1] = Now();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: floor ROOTFS ROUNDS filter|no-filter PROGRAM [ARGUMENT…]\n");
    return 1;
  }
  Arguments arguments{Controllers(), argv[1], atoi(argv[2]), strcmp(argv[3], "filter") == 0,
                      argv + 4};
  auto* shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::vector<double> steps[kSteps + 1];
  for (int round = 0; round < arguments.rounds; ++round) {
    Round(shared, arguments, round);
    for (int step = 0; step < kSteps; ++step)
      steps[step].push_back(shared->at[step + 1] - shared->at[step]);
    steps[kSteps].push_back(shared->at[kSteps] - shared->at[0]);
  }
  if (arguments.rounds < 2) return 0;
  for (int step = 0; step <= kSteps; ++step) {
    std::sort(steps[step].begin(), steps[step].end());
    printf("%-20s min %6.0f  median %6.0f us\n", step < kSteps ? kNames[step] : "all",
           steps[step].front(), steps[step][steps[step].size() / 2]);
  }
  return 0;
}
