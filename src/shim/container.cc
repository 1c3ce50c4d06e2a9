// SPDX-License-Identifier: Apache-2.0
//
// Create and Start; see container_exit.cc for exits and Delete, container_calls.cc for the rest.
#include "shim/container.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "containerd/events/task.plain.h"
#include "formats/json.h"
#include "kernel/memory_file.h"
#include "shim/gate.h"

namespace gantry::shim {
namespace {

namespace events = plain::containerd::events;

// The number under which our own runtime gets the root (docs/root-handover.md).
constexpr int kRootDescriptor = 3;
// Where `exec` of any runtime finds the process's document.
constexpr int kProcessDescriptor = 3;

Result<pid_t> ReadPidFile(const std::string& path) {
  std::string text = TRY(ReadFile(path, 32));
  pid_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  if (pid <= 0) return Internal("reading pid file '{}': '{}' is no process id", path, text);
  return pid;
}

bool ValidId(const std::string& id) {
  return !id.empty() && id.size() <= 128 && id.find('/') == std::string::npos && id[0] != '.';
}

}  // namespace

Container::Container(EventLoop* loop, Reaper* reaper, Publisher* publisher, Arguments arguments)
    : loop_(loop), reaper_(reaper), publisher_(publisher), arguments_(std::move(arguments)) {}

Result<> Container::CheckId(const std::string& id) const {
  if (init_ != nullptr && id == arguments_.id) return {};
  return NotFound("container '{}' not found", id);
}

Result<Container::ProcessPtr> Container::Find(const std::string& exec_id) const {
  if (init_ == nullptr) return FailedPrecondition("container '{}' is not created", arguments_.id);
  if (exec_id.empty()) return init_;
  auto found = execs_.find(exec_id);
  if (found == execs_.end()) return NotFound("process does not exist {}", exec_id);
  return found->second;
}

std::string Container::PidFile(const Process& process) const {
  return bundle_ + "/" + (process.is_init() ? "init" : process.exec_id) + ".pid";
}

Result<> Container::ReadSettings(const formats::ProtoAny& options) {
  options_ = {};
  if (options.TypeName() == "containerd.runc.v1.Options") {
    options_ = TRY(plain::containerd::runc::v1::Options::Decode(options.value));
  } else if (!options.type_url.empty()) {
    return InvalidArgument("runtime options of type '{}'", options.type_url);
  }
  RuntimeSettings settings;
  settings.binary = TRY(FindRuntime(options_.binary_name));
  settings.own = settings.binary.ends_with("/gantry-runtime");
  settings.root = options_.root.empty() ? DefaultRuntimeRoot(arguments_)
                                        : options_.root + "/" + arguments_.name_space;
  settings.systemd_cgroup = options_.systemd_cgroup;
  TRY(settings.Save(bundle_));
  runtime_ = std::make_unique<RuntimeCommand>(reaper_, bundle_, settings);
  return {};
}

// Without a pid namespace of its own the container's other processes outlive its init.
Result<> Container::ReadConfig() {
  std::string text = TRY(ReadFile(bundle_ + "/config.json"));
  formats::Json config = TRY_WITH(formats::Json::Parse(text), "file '{}/config.json'", bundle_);
  shares_pid_namespace_ = true;
  has_poststart_hooks_ = !config["hooks"]["poststart"].items().empty();
  for (const formats::Json& item : config["linux"]["namespaces"].items()) {
    if (item["type"].AsString() == "pid") {
      shares_pid_namespace_ = !item["path"].AsString().empty();
    }
  }
  return {};
}

Result<> Container::AddStdio(const ProcessPtr& process, std::optional<ConsoleSocket>* console,
                             RuntimeCall* call) {
  if (process->io_request.terminal) {
    console->emplace(TRY(ConsoleSocket::Create(bundle_)));
    call->args.emplace_back("--console-socket");
    call->args.push_back((*console)->name());
    return {};
  }
  ChildStdio& child = process->io->child();
  if (child.in.valid()) call->fds.push_back({child.in.get(), 0});
  if (child.out.valid()) call->fds.push_back({child.out.get(), 1});
  if (child.err.valid()) call->fds.push_back({child.err.get(), 2});
  return {};
}

Result<RuntimeCall> Container::PrepareCreate(const task::CreateTaskRequest& request,
                                             const ProcessPtr& init,
                                             std::optional<ConsoleSocket>* console) {
  if (!request.checkpoint.empty()) {
    return Unimplemented("creating a container from a checkpoint");
  }
  bundle_ = request.bundle;
  TRY(ReadSettings(request.options.value_or(formats::ProtoAny{})));
  TRY(ReadConfig());
  const char* wanted = std::getenv("GANTRY_SHIM_ROOT");
  bool by_path = wanted != nullptr && std::string_view(wanted) == "path";
  root_ = TRY(ContainerRoot::Make(
      request.rootfs, bundle_,
      runtime_->settings().own && !by_path ? RootHandover::kDescriptor : RootHandover::kPath));
  init->io_request =
      IoRequest{arguments_.name_space, request.id,       request.stdin,   request.stdout,
                request.stderr,        request.terminal, options_.io_uid, options_.io_gid};
  init->io = TRY(CreateProcessIo(loop_, init->io_request));
  RuntimeCall call;
  call.args = {"create", "--bundle", bundle_, "--pid-file", PidFile(*init)};
  TRY(AddStdio(init, console, &call));
  if (options_.no_pivot_root) call.args.emplace_back("--no-pivot");
  if (options_.no_new_keyring) call.args.emplace_back("--no-new-keyring");
  if (root_.descriptor().valid()) {
    call.args.emplace_back("--root-fd");
    call.args.push_back(std::to_string(kRootDescriptor));
    call.fds.push_back({root_.descriptor().get(), kRootDescriptor});
  }
  call.args.push_back(request.id);
  return call;
}

void Container::Create(const task::CreateTaskRequest& request,
                       Done<task::CreateTaskResponse> done) {
  if (init_ != nullptr) return done(AlreadyExists("container '{}'", arguments_.id));
  if (request.id != arguments_.id) {
    return done(
        InvalidArgument("this shim serves container '{}', not '{}'", arguments_.id, request.id));
  }
  auto init = std::make_shared<Process>();
  auto console = std::make_shared<std::optional<ConsoleSocket>>();
  Result<RuntimeCall> call = PrepareCreate(request, init, console.get());
  if (!call.ok()) {
    root_ = {};
    return done(std::move(call).error());
  }
  init_ = init;
  auto hold = std::make_shared<Reaper::Hold>(reaper_);
  runtime_->Run(std::move(*call), [this, request, init, console, hold, done](Result<> result) {
    OnCreated(request, init, *console, std::move(result), done);
  });
}

// What a started process needs from us: its pid known, its terminal served, our copies of its
// descriptors closed.
Result<> Container::TakeStarted(const ProcessPtr& process, std::optional<ConsoleSocket>& console) {
  process->io->CloseChildEnds();
  process->pid = TRY(ReadPidFile(PidFile(*process)));
  reaper_->OnExit(process->pid,
                  [this, process](const ProcessExit& exit) { OnExit(process, exit); });
  if (!console.has_value()) return process->io->StartOutput();
  UniqueFd master = TRY(console->Receive());
  process->terminal = UniqueFd(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  if (process->rows != 0 || process->columns != 0) {
    winsize size{process->rows, process->columns, 0, 0};
    ::ioctl(master.get(), TIOCSWINSZ, &size);
  }
  return process->io->UseTerminal(std::move(master));
}

void Container::OnCreated(const task::CreateTaskRequest& request, const ProcessPtr& init,
                          std::optional<ConsoleSocket>& console, Result<> result,
                          const Done<task::CreateTaskResponse>& done) {
  for (auto& call : std::exchange(after_create_, {})) loop_->Post(std::move(call));
  if (result.ok()) result = TakeStarted(init, console);
  if (!result.ok()) {
    init->io->Close();
    init_.reset();
    root_ = {};
    return done(std::move(result).error());
  }
  init->state = ProcessState::kCreated;
  Result<kernel::CgroupPaths> cgroup = kernel::CgroupPathsOfProcess(init->pid);
  if (cgroup.ok()) cgroup_ = std::move(*cgroup);
  WatchOom();
  events::TaskCreate event;
  event.container_id = request.id;
  event.bundle = request.bundle;
  event.rootfs = request.rootfs;
  auto& io = event.io.emplace();
  io.stdin = request.stdin;
  io.stdout = request.stdout;
  io.stderr = request.stderr;
  io.terminal = request.terminal;
  event.pid = static_cast<uint32_t>(init->pid);
  publisher_->Publish("/tasks/create", "containerd.events.TaskCreate", event.Encode());
  task::CreateTaskResponse response;
  response.pid = static_cast<uint32_t>(init->pid);
  done(std::move(response));
}

void Container::WatchOom() {
  if (!cgroup_.has_value()) return;
  auto watch = OomWatch::Create(loop_, *cgroup_, [this] {
    events::TaskOOM event;
    event.container_id = arguments_.id;
    publisher_->Publish("/tasks/oom", "containerd.events.TaskOOM", event.Encode());
  });
  // A container without a memory cgroup has no such events.
  if (watch.ok()) oom_ = std::move(*watch);
}

void Container::Start(const task::StartRequest& request, Done<task::StartResponse> done) {
  Result<ProcessPtr> process = Find(request.exec_id);
  if (!process.ok()) return done(std::move(process).error());
  if ((*process)->is_init()) return StartInit(*process, std::move(done));
  StartExec(*process, std::move(done));
}

void Container::StartInit(const ProcessPtr& init, Done<task::StartResponse> done) {
  if (init->state != ProcessState::kCreated || init->exit.has_value()) {
    return done(FailedPrecondition("cannot start a {} process",
                                   init->exit.has_value() ? "stopped" : "started"));
  }
  init->state = ProcessState::kStarting;
  auto started = [this, init, done](Result<> result) { OnStarted(init, std::move(result), done); };
  const RuntimeSettings& settings = runtime_->settings();
  if (settings.own && !has_poststart_hooks_ &&
      OpenGate(loop_, settings.root + "/" + arguments_.id, started).ok()) {
    return;
  }
  RuntimeCall call;
  call.args = {"start", arguments_.id};
  runtime_->Run(std::move(call), std::move(started));
}

void Container::OnStarted(const ProcessPtr& init, Result<> result,
                          const Done<task::StartResponse>& done) {
  init->state = result.ok() ? ProcessState::kRunning : ProcessState::kCreated;
  if (result.ok()) {
    events::TaskStart event;
    event.container_id = arguments_.id;
    event.pid = static_cast<uint32_t>(init->pid);
    publisher_->Publish("/tasks/start", "containerd.events.TaskStart", event.Encode());
    task::StartResponse response;
    response.pid = static_cast<uint32_t>(init->pid);
    done(std::move(response));
  } else {
    done(std::move(result).error());
  }
  if (init->exit.has_value()) TellExit(init);
}

namespace {

// Whether there is a terminal is the request's to say, not the specification's, as in containerd's
// shim.
Result<std::string> ProcessSpec(const formats::ProtoAny& spec, bool terminal) {
  formats::Json process = TRY_WITH(formats::Json::Parse(spec.value), "reading the process");
  if (process["terminal"].AsBool() == terminal) return spec.value;
  process.Set("terminal", terminal);
  return process.Dump();
}

}  // namespace

Result<> Container::Exec(const task::ExecProcessRequest& request) {
  ProcessPtr init = TRY(RunningInit("cannot exec in a {} state"));
  if (init->state == ProcessState::kPaused) return WrongState("cannot exec in a {} state");
  if (!ValidId(request.exec_id)) return InvalidArgument("exec id '{}'", request.exec_id);
  if (execs_.contains(request.exec_id)) return AlreadyExists("id {}", request.exec_id);
  if (!request.spec.has_value()) return InvalidArgument("exec without a process");
  auto process = std::make_shared<Process>();
  process->exec_id = request.exec_id;
  process->spec = TRY(ProcessSpec(*request.spec, request.terminal));
  // As in containerd's shim, a log program of an exec is told the exec's id.
  process->io_request =
      IoRequest{arguments_.name_space, request.exec_id,  request.stdin,   request.stdout,
                request.stderr,        request.terminal, options_.io_uid, options_.io_gid};
  process->io = TRY(CreateProcessIo(loop_, process->io_request));
  execs_.emplace(request.exec_id, process);
  events::TaskExecAdded event;
  event.container_id = arguments_.id;
  event.exec_id = request.exec_id;
  publisher_->Publish("/tasks/exec-added", "containerd.events.TaskExecAdded", event.Encode());
  return {};
}

Result<RuntimeCall> Container::PrepareExec(const ProcessPtr& process,
                                           std::optional<ConsoleSocket>* console) {
  RuntimeCall call;
  call.process = TRY(kernel::MemoryFile("process.json", process->spec));
  call.fds.push_back({call.process.get(), kProcessDescriptor});
  call.args = {"exec", "--process", fmt::format("/proc/self/fd/{}", kProcessDescriptor)};
  TRY(AddStdio(process, console, &call));
  call.args.insert(call.args.end(), {"--detach", "--pid-file", PidFile(*process), arguments_.id});
  return call;
}

void Container::StartExec(const ProcessPtr& process, Done<task::StartResponse> done) {
  Result<ProcessPtr> init = RunningInit("cannot exec in a {} state");
  if (!init.ok()) return done(std::move(init).error());
  if (process->state != ProcessState::kAdded) {
    return done(FailedPrecondition("process '{}' is started already", process->exec_id));
  }
  auto console = std::make_shared<std::optional<ConsoleSocket>>();
  Result<RuntimeCall> call = PrepareExec(process, console.get());
  if (!call.ok()) return done(std::move(call).error());
  process->state = ProcessState::kStarting;
  auto hold = std::make_shared<Reaper::Hold>(reaper_);
  runtime_->Run(std::move(*call), [this, process, console, hold, done](Result<> result) {
    if (result.ok()) result = TakeStarted(process, *console);
    if (!result.ok()) {
      // Nothing ran: it counts as stopped, so that it can be deleted.
      process->io->Close();
      process->state = ProcessState::kStopped;
      process->exit_code = 255;
      process->exited_at = WallClock::now();
      for (auto& waiter : std::exchange(process->waiters, {})) waiter();
      done(std::move(result).error());
      if (init_ && init_->exit.has_value() && !init_->stopped()) TellExit(init_);
      return;
    }
    process->state = ProcessState::kRunning;
    events::TaskExecStarted event;
    event.container_id = arguments_.id;
    event.exec_id = process->exec_id;
    event.pid = static_cast<uint32_t>(process->pid);
    publisher_->Publish("/tasks/exec-started", "containerd.events.TaskExecStarted", event.Encode());
    task::StartResponse response;
    response.pid = static_cast<uint32_t>(process->pid);
    done(std::move(response));
  });
}

}  // namespace gantry::shim
