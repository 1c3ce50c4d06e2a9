// SPDX-License-Identifier: Apache-2.0
#include "containerd/restart_monitor.h"

#include <signal.h>

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "containerd/rpc.h"
#include "containerd/services/containers/v1/containers.grpc.pb.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "containerd/services/tasks/v1/tasks.grpc.pb.h"
#include "formats/json.h"

namespace gantry::containerd {
namespace {

namespace snapshots_api = ::containerd::services::snapshots::v1;
namespace tasks_api = ::containerd::services::tasks::v1;
using TaskStatus = ::containerd::v1::types::Status;

constexpr const char* kStatusLabel = "containerd.io/restart.status";
constexpr const char* kPolicyLabel = "containerd.io/restart.policy";
constexpr const char* kCountLabel = "containerd.io/restart.count";
constexpr const char* kStoppedLabel = "containerd.io/restart.explicitly-stopped";
constexpr const char* kLogLabel = "containerd.io/restart.loguri";

// A task that does not end or start in this time is looked at again at the next interval.
constexpr auto kCallLimit = std::chrono::seconds(10);

std::string Label(const ContainerLabels& labels, const char* key) {
  auto found = labels.find(key);
  return found == labels.end() ? "" : found->second;
}

// A count that can't be read counts from 0, as in containerd.
int CountOf(const ContainerLabels& labels) {
  return ParseNumber<int>(Label(labels, kCountLabel)).value_or(0);
}

// Go's strconv.ParseBool; what it can't read is false.
bool IsTrue(const std::string& text) {
  for (const char* word : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == word) return true;
  }
  return false;
}

bool WantsTerminal(const containers_api::Container& container) {
  auto spec = formats::Json::Parse(container.spec().value());
  return spec.ok() && (*spec)["process"]["terminal"].AsBool();
}

}  // namespace

Result<RestartPolicy> RestartPolicy::Parse(const std::string& text) {
  size_t colon = text.find(':');
  std::string name = text.substr(0, colon);
  RestartPolicy policy;
  if (name == "on-failure") {
    policy.kind = Kind::kOnFailure;
    if (colon == std::string::npos) return policy;
    std::string number = text.substr(colon + 1);
    auto most = ParseNumber<int>(number);
    if (!most) return InvalidArgument("invalid max retry count: {}", number);
    policy.most = *most;
    return policy;
  }
  if (name == "no") {
    policy.kind = Kind::kNo;
  } else if (name == "unless-stopped") {
    policy.kind = Kind::kUnlessStopped;
  } else if (!name.empty() && name != "always") {
    return InvalidArgument("restart policy \"{}\" not supported", text);
  }
  if (colon != std::string::npos) {
    return InvalidArgument("restart policy \"{}\" not support max retry count", name);
  }
  return policy;
}

Result<bool> ShouldRestart(const ContainerLabels& labels, uint32_t exit_status) {
  RestartPolicy policy = TRY(RestartPolicy::Parse(Label(labels, kPolicyLabel)));
  switch (policy.kind) {
    case RestartPolicy::Kind::kNo:
      return false;
    case RestartPolicy::Kind::kAlways:
      return true;
    case RestartPolicy::Kind::kUnlessStopped:
      return !IsTrue(Label(labels, kStoppedLabel));
    case RestartPolicy::Kind::kOnFailure:
      return exit_status != 0 && (policy.most == 0 || CountOf(labels) < policy.most);
  }
  return false;
}

std::unique_ptr<RestartMonitor> RestartMonitor::Start(Database* database, Connect connect,
                                                      std::chrono::milliseconds interval) {
  std::unique_ptr<RestartMonitor> monitor(
      new RestartMonitor(database, std::move(connect), interval));
  monitor->thread_ = std::thread([raw = monitor.get()] { raw->Run(); });
  return monitor;
}

RestartMonitor::RestartMonitor(Database* database, Connect connect,
                               std::chrono::milliseconds interval)
    : database_(database), connect_(std::move(connect)), interval_(interval) {}

RestartMonitor::~RestartMonitor() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    if (running_ != nullptr) running_->TryCancel();
    wake_.NotifyAll();
  }
  thread_.join();
}

void RestartMonitor::Run() {
  for (;;) {
    auto labelled = FindLabelled();
    if (!labelled.ok()) log::Failure("restart monitor: {}", labelled.error().message());
    if (labelled.ok() && !labelled->empty() && daemon_ == nullptr) daemon_ = connect_();
    for (const Labelled& one : labelled.ok() ? *labelled : std::vector<Labelled>()) {
      Result<> done = Reconcile(one);
      if (done.ok() || done.error().kind() == ErrorKind::kCancelled) continue;
      log::Warning("restart monitor: container {} in namespace {}: {}", one.container.id(), one.ns,
                   done.error().message());
    }
    MutexLock lock(mutex_);
    SteadyClock::time_point next = SteadyClock::now() + interval_;
    while (!stopping_ && wake_.WaitFor(mutex_, next - SteadyClock::now())) {
    }
    if (stopping_) return;
  }
}

// One look over the bytes of all records: most hosts have no such container.
Result<std::vector<RestartMonitor::Labelled>> RestartMonitor::FindLabelled() {
  std::vector<Labelled> found;
  auto tx = TRY(database_->Read());
  auto rows = TRY(tx.Query(
      "SELECT ns, record FROM containers WHERE instr(record, CAST(? AS BLOB)) > 0 ORDER BY ns, id",
      kStatusLabel));
  while (TRY(rows.Next())) {
    Labelled one;
    one.ns = rows.Text(0);
    std::string_view bytes = rows.Bytes(1);
    if (!one.container.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return MakeError(ErrorKind::kDataLoss, "listing containers: a record is damaged");
    }
    if (one.container.labels().contains(kStatusLabel)) found.push_back(std::move(one));
  }
  return found;
}

template <typename Stub, typename Request, typename Response>
Result<> RestartMonitor::Call(Stub* stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const std::string& ns, const Request& request, Response* response) {
  grpc::ClientContext context;
  context.AddMetadata("containerd-namespace", ns);
  context.set_deadline(std::chrono::system_clock::now() + kCallLimit);
  {
    MutexLock lock(mutex_);
    if (stopping_) return MakeError(ErrorKind::kCancelled, "the daemon stops");
    running_ = &context;
  }
  grpc::Status status = (stub->*method)(&context, request, response);
  MutexLock lock(mutex_);
  running_ = nullptr;
  return ToResult(status);
}

Result<> RestartMonitor::Reconcile(const Labelled& labelled) {
  const containers_api::Container& container = labelled.container;
  std::string wanted = Label(container.labels(), kStatusLabel);
  auto tasks = tasks_api::Tasks::NewStub(daemon_);
  tasks_api::GetRequest request;
  request.set_container_id(container.id());
  tasks_api::GetResponse response;
  Result<> got = Call(tasks.get(), &tasks_api::Tasks::Stub::Get, labelled.ns, request, &response);
  if (!got.ok() && got.error().kind() != ErrorKind::kNotFound) return got;
  TaskStatus status = response.process().status();
  if (wanted == "stopped") {
    return got.ok() && status != TaskStatus::STOPPED ? Kill(labelled) : Result<>();
  }
  bool lets_be = status == TaskStatus::RUNNING || status == TaskStatus::PAUSED ||
                 status == TaskStatus::PAUSING;
  if (wanted != "running" || lets_be) return {};
  if (!TRY(ShouldRestart(container.labels(), response.process().exit_status()))) return {};
  return StartAgain(labelled);
}

Result<> RestartMonitor::StartAgain(const Labelled& labelled) {
  const containers_api::Container& container = labelled.container;
  const std::string& ns = labelled.ns;
  // First: who starts again and again without success is counted.
  containers_api::UpdateContainerRequest update;
  update.mutable_container()->set_id(container.id());
  (*update.mutable_container()->mutable_labels())[kCountLabel] =
      std::to_string(CountOf(container.labels()) + 1);
  update.mutable_update_mask()->add_paths(std::string("labels.") + kCountLabel);
  containers_api::UpdateContainerResponse updated;
  auto containers = containers_api::Containers::NewStub(daemon_);
  TRY(Call(containers.get(), &containers_api::Containers::Stub::Update, ns, update, &updated));
  TRY(Kill(labelled));

  tasks_api::CreateTaskRequest create;
  create.set_container_id(container.id());
  if (!container.snapshot_key().empty()) {
    snapshots_api::MountsRequest request;
    request.set_snapshotter(container.snapshotter());
    request.set_key(container.snapshot_key());
    snapshots_api::MountsResponse response;
    auto snapshots = snapshots_api::Snapshots::NewStub(daemon_);
    TRY(Call(snapshots.get(), &snapshots_api::Snapshots::Stub::Mounts, ns, request, &response));
    *create.mutable_rootfs() = response.mounts();
  }
  if (std::string log = Label(container.labels(), kLogLabel); !log.empty()) {
    create.set_stdout(log);
    create.set_terminal(WantsTerminal(container));
    if (!create.terminal()) create.set_stderr(log);
  }
  auto tasks = tasks_api::Tasks::NewStub(daemon_);
  tasks_api::CreateTaskResponse created;
  TRY(Call(tasks.get(), &tasks_api::Tasks::Stub::Create, ns, create, &created));
  tasks_api::StartRequest start;
  start.set_container_id(container.id());
  tasks_api::StartResponse started;
  TRY(Call(tasks.get(), &tasks_api::Tasks::Stub::Start, ns, start, &started));
  log::Info("restart monitor: container {} in namespace {} was started", container.id(), ns);
  return {};
}

// Ends the task, whatever it is doing, and deletes it. None there: no error.
Result<> RestartMonitor::Kill(const Labelled& labelled) {
  const std::string& id = labelled.container.id();
  auto tasks = tasks_api::Tasks::NewStub(daemon_);
  tasks_api::KillRequest kill;
  kill.set_container_id(id);
  kill.set_signal(SIGKILL);
  kill.set_all(true);
  google::protobuf::Empty nothing;
  Result<> killed = Call(tasks.get(), &tasks_api::Tasks::Stub::Kill, labelled.ns, kill, &nothing);
  if (killed.ok()) {
    tasks_api::WaitRequest wait;
    wait.set_container_id(id);
    tasks_api::WaitResponse waited;
    TRY(Call(tasks.get(), &tasks_api::Tasks::Stub::Wait, labelled.ns, wait, &waited));
  }
  // One that had ended before can't be killed; whether it can be deleted is what counts.
  tasks_api::DeleteTaskRequest remove;
  remove.set_container_id(id);
  tasks_api::DeleteResponse removed;
  Result<> gone = Call(tasks.get(), &tasks_api::Tasks::Stub::Delete, labelled.ns, remove, &removed);
  if (!gone.ok() && gone.error().kind() == ErrorKind::kNotFound) return {};
  return gone;
}

}  // namespace gantry::containerd
