// SPDX-License-Identifier: Apache-2.0
#include "buildkit/gateway_container.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/io.h"
#include "build/stage_state.h"
#include "buildkit/definitions.h"
#include "buildkit/job.h"
#include "dockerfile/patterns.h"
#include "engine/attach.h"
#include "engine/root_view.h"
#include "engine/signals.h"
#include "llb/graph.h"
#include "llb/mount_plan.h"

namespace gantry::buildkit {
namespace {

using build::PlannedMount;

constexpr size_t kMostContainers = 64;
constexpr int kMostMounts = 1'000;

Result<> MayBeInsecure(const build::BuildRequest& request, const GatewayContainer::Init& init) {
  if (init.security() != pb::INSECURE || request.allows_insecure) return {};
  return MakeError(ErrorKind::kPermissionDenied, "security.insecure is not allowed");
}

}  // namespace

GatewayContainer::GatewayContainer(Shared& shared, build::Context context, const StopToken& stop)
    : shared_(shared),
      context_(std::move(context)),
      views_(shared.engine),
      mounter_({shared.engine, request_, context_, views_, shared.builds.cache(), stop}) {}

void GatewayContainer::End() {
  MutexLock lock(mutex_);
  ended_ = true;
  container_.reset();
}

Result<std::shared_ptr<GatewayContainer>> GatewayContainer::Create(Shared& shared, Job& job,
                                                                   const Request& request,
                                                                   const StopToken& stop) {
  build::Context context = TRY(build::Context::Create(shared.engine));
  UniqueFd nothing = TRY(context.MakeDirectory("nothing"));
  std::shared_ptr<GatewayContainer> out(new GatewayContainer(shared, std::move(context), stop));
  out->nothing_ = std::move(nothing);
  TRY(out->Plan(job, request));
  if (!job.wanted().session.empty()) {
    // Its secrets and agents are asked for as long as it lives.
    AskSession(TRY(shared.sessions.Find(job.wanted().session, kBeginBound)), {}, &out->request_);
  }
  bool asks = std::any_of(out->planned_.begin(), out->planned_.end(), [](const auto& one) {
    using Type = dockerfile::RunMount::Type;
    return one.mount.type == Type::kSecret || one.mount.type == Type::kSsh;
  });
  if (asks && !out->request_.find_secret) {
    return FailedPrecondition("the build has no session for its secrets");
  }
  out->mounts_ = TRY(out->mounter_.Make(out->planned_));
  return out;
}

Result<> GatewayContainer::Plan(Job& job, const Request& request) {
  const std::set<std::string>& entitled = job.wanted().entitlements;
  request_.allows_host_network = entitled.contains("network.host");
  request_.allows_insecure = entitled.contains("security.insecure");
  hostname_ = request.hostname();
  for (const pb::HostIP& host : request.extrahosts()) {
    host_.extra_hosts.push_back(host.host() + ":" + host.ip());
  }
  if (request.network() == pb::NONE) host_.network_mode = "none";
  if (request.network() == pb::HOST) {
    if (!request_.allows_host_network) {
      return MakeError(ErrorKind::kPermissionDenied, "network.host is not allowed");
    }
    host_.network_mode = "host";
  }
  if (request.mounts_size() > kMostMounts) {
    return MakeError(ErrorKind::kResourceExhausted, "{} mounts: there may be {}",
                     request.mounts_size(), kMostMounts);
  }
  for (const pb::Mount& mount : request.mounts()) TRY(PlanMount(job, mount));
  if (std::count(targets_.begin(), targets_.end(), "/") == 1) return {};
  return InvalidArgument("the container has no root, or more than one");
}

Result<> GatewayContainer::PlanMount(Job& job, const pb::Mount& mount) {
  pb::Mount checked = mount;
  checked.set_input(-1);
  TRY(llb::CheckMount(checked, 0));
  std::shared_ptr<Made> made;
  if (!mount.resultid().empty()) {
    made = TRY_WITH(job.Get(mount.resultid()), "mounting '{}'", mount.dest());
    held_.push_back(made);
  }
  std::string chain = made == nullptr ? "" : made->result().chain_id;
  if (mount.dest() == "/") {
    if (mount.mounttype() != pb::BIND || !mount.selector().empty()) {
      return InvalidArgument("the container's root is no whole file system");
    }
    targets_.emplace_back("/");
    root_ = std::move(chain);
    host_.readonly_rootfs = mount.readonly();
    return {};
  }
  PlannedMount out;
  out.target = "/" + dockerfile::CleanRelative(mount.dest());
  if (mount.dest().empty()) out.target.clear();
  out.mount.read_only = mount.readonly();
  out.mount.source = "/" + dockerfile::CleanRelative(mount.selector());
  if (mount.mounttype() == pb::BIND || (mount.mounttype() == pb::CACHE && made != nullptr)) {
    out.mount.from = "input";
    out.tree.chain_id = chain;
    out.tree.path = context_.PathOf("nothing");
    out.tree.root = made == nullptr ? BorrowedFd(nothing_) : TRY(made->OpenFiles());
    out.content = chain;
  }
  llb::PlanOwnMount(mount, made != nullptr, &agents_, &out);
  targets_.push_back(out.target);
  planned_.push_back(std::move(out));
  return {};
}

Result<> GatewayContainer::AskForSecrets(const Init& init, std::vector<std::string>* env) const {
  for (const pb::SecretEnv& secret : init.secretenv()) {
    if (!request_.find_secret) {
      return FailedPrecondition("the build has no session for its secrets");
    }
    Result<std::string> value = request_.find_secret(secret.id());
    bool missing = !value.ok() && value.error().kind() == ErrorKind::kNotFound;
    if (missing && secret.optional()) continue;
    if (missing) return NotFound("secret {}: not found", secret.id());
    std::string text = TRY(value);
    if (text.find('\0') != std::string::npos) {
      return InvalidArgument("secret {} can't be a variable: it has a byte of zero", secret.id());
    }
    env->push_back(secret.name() + "=" + text);
  }
  return {};
}

Result<GatewayContainer::Process> GatewayContainer::Start(const Init& init, const StopToken& stop) {
  if (init.meta().args().empty()) return InvalidArgument("the process has no words");
  TRY(MayBeInsecure(request_, init));
  MutexLock lock(mutex_);
  if (ended_) return MakeError(ErrorKind::kCancelled, "the container was released");
  if (container_) return StartAnother(init);
  return StartFirst(init, stop);
}

Result<GatewayContainer::Process> GatewayContainer::StartFirst(const Init& init,
                                                               const StopToken& stop) {
  engine::ContainerConfig config;
  const pb::Meta& meta = init.meta();
  config.cmd = {.set = true, .words = {meta.args().begin(), meta.args().end()}};
  config.entrypoint = {.set = true, .words = {}};
  config.healthcheck = engine::Healthcheck{.test = {"NONE"}};
  config.env = {meta.env().begin(), meta.env().end()};
  config.working_dir = meta.cwd().empty() ? "/" : meta.cwd();
  config.user = meta.user();
  config.hostname = hostname_;
  config.tty = init.tty();
  config.open_stdin = config.stdin_once = true;
  engine::HostConfig host = host_;
  host.log_config.type = "none";
  host.privileged = init.security() == pb::INSECURE;
  TRY(AskForSecrets(init, &mounts_.inputs->env));
  auto container = TRY(build::StepContainer::Create(shared_.engine, std::move(config),
                                                    std::move(host), {root_, "", mounts_.inputs}));
  if (stop.stop_requested()) return MakeError(ErrorKind::kCancelled, "the build was cancelled");
  auto running =
      TRY(container.Start(engine::kAttachStdin | engine::kAttachStdout | engine::kAttachStderr));
  container_.emplace(std::move(container));
  Process out;
  out.streams = std::move(running.streams);
  out.end = std::move(running.end);
  return out;
}

Result<GatewayContainer::Process> GatewayContainer::StartAnother(const Init& init) {
  const pb::Meta& meta = init.meta();
  engine::ExecOptions options;
  options.config.cmd = {meta.args().begin(), meta.args().end()};
  options.config.env = {meta.env().begin(), meta.env().end()};
  options.config.user = meta.user();
  options.config.working_dir = meta.cwd();
  options.config.tty = init.tty();
  options.config.privileged = init.security() == pb::INSECURE;
  TRY(AskForSecrets(init, &options.config.env));
  options.attach_stdin = options.attach_stdout = options.attach_stderr = true;
  auto ended = std::make_shared<std::promise<engine::WaitResult>>();
  options.ended = [ended](int64_t code) { ended->set_value({static_cast<int>(code), ""}); };
  Process out;
  out.end = ended->get_future();
  out.frames_input = false;
  out.exec = TRY(shared_.execs.Create(container_->id(), std::move(options)));
  auto take = [&]() -> Result<engine::AttachRequest> {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
      return ErrnoError("making a process's connection");
    }
    out.streams = UniqueFd(ends[0]);
    engine::AttachRequest request;
    request.client = UniqueFd(ends[1]);
    request.streams = engine::kAttachStdin | engine::kAttachStdout | engine::kAttachStderr;
    request.form = wire::RelayForm::kFrames;
    return request;
  };
  auto started = TRY(shared_.execs.Start(out.exec, take, 0, 0));
  if (started.failed) return *std::move(started.failed);
  return out;
}

Result<> GatewayContainer::Resize(const std::string& exec, uint32_t rows, uint32_t columns) {
  if (!exec.empty()) return shared_.execs.Resize(exec, columns, rows);
  MutexLock lock(mutex_);
  if (!container_) return FailedPrecondition("the container has not been started");
  return shared_.engine.Resize(container_->id(), columns, rows);
}

Result<> GatewayContainer::Signal(const std::string& exec, const std::string& name) {
  int number = TRY(engine::ParseSignal(name));
  MutexLock lock(mutex_);
  if (!container_) return FailedPrecondition("the container has not been started");
  return shared_.engine.containerd().Kill(container_->id(), exec, static_cast<uint32_t>(number),
                                          /*all=*/false);
}

Result<UniqueFd> GatewayContainer::OpenMount(int number) {
  if (number < 0 || static_cast<size_t>(number) >= targets_.size()) {
    return InvalidArgument("the container has {} mounts, none with the number {}", targets_.size(),
                           number);
  }
  const std::string& target = targets_[static_cast<size_t>(number)];
  if (target == "/") {
    MutexLock lock(mutex_);
    if (!container_) {
      if (root_.empty()) return OpenFile(context_.PathOf("nothing"), O_RDONLY | O_DIRECTORY);
      return views_.OpenAnother(root_);
    }
    auto mounts = TRY(shared_.engine.containerd().SnapshotMounts(
        shared_.engine.options().snapshotter, container_->id()));
    if (mounts.empty()) return Internal("the container has no files");
    return engine::OpenReadOnlyView(mounts[0]);
  }
  for (const engine::StepMount& mount : mounts_.inputs->mounts) {
    if (mount.destination != target) continue;
    UniqueFd out(::fcntl(mount.part.get(), F_DUPFD_CLOEXEC, 0));
    if (!out.valid()) return ErrnoError("opening the mount '{}'", target);
    return out;
  }
  return NotFound("the mount '{}' is not there", target);
}

Result<> GatewayContainers::Add(const std::string& id,
                                std::shared_ptr<GatewayContainer> container) {
  MutexLock lock(mutex_);
  if (ended_) return MakeError(ErrorKind::kCancelled, "the build has ended");
  if (containers_.size() >= kMostContainers) {
    return MakeError(ErrorKind::kResourceExhausted, "there are {} containers already",
                     kMostContainers);
  }
  if (containers_.emplace(id, std::move(container)).second) return {};
  return AlreadyExists("container {} exists already", id);
}

Result<std::shared_ptr<GatewayContainer>> GatewayContainers::Find(const std::string& id) {
  MutexLock lock(mutex_);
  auto found = containers_.find(id);
  if (found == containers_.end()) return NotFound("there is no container {}", id);
  return found->second;
}

Result<> GatewayContainers::Release(const std::string& id) {
  std::shared_ptr<GatewayContainer> container;
  {
    MutexLock lock(mutex_);
    auto found = containers_.find(id);
    if (found == containers_.end()) return NotFound("there is no container {}", id);
    container = std::move(found->second);
    containers_.erase(found);
  }
  container->End();
  return {};
}

void GatewayContainers::End() {
  std::map<std::string, std::shared_ptr<GatewayContainer>> containers;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    containers.swap(containers_);
  }
  for (auto& [id, container] : containers) container->End();
}

}  // namespace gantry::buildkit
