// SPDX-License-Identifier: Apache-2.0
#include "containerd/proxy_snapshotter.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <charconv>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "base/undo.h"
#include "containerd/rpc.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"

namespace gantry::containerd {
namespace {

namespace snapshots_api = ::containerd::services::snapshots::v1;
using snapshots::Kind;
using snapshots::Mount;
using snapshots::Record;
using snapshots::Usage;

// Preparing may fetch or copy a whole image.
constexpr std::chrono::minutes kCallLimit{10};
constexpr int kMaxMessageBytes = 16 << 20;
// Labels that are meant for snapshotters.
constexpr std::string_view kInheritedLabel = "containerd.io/snapshot/";
// The other side may be a whole containerd, which collects what nothing refers to.
constexpr const char* kRemoteRootLabel = "containerd.io/gc.root";

std::string RemoteKey(const std::string& ns, uint64_t number, const std::string& key) {
  return fmt::format("{}/{}/{}", ns, number, key);
}
std::string RemoteKey(const Record& record) {
  return RemoteKey(record.ns, record.number, record.key);
}

// Whether RemoteKey may have made it.
bool LooksOurs(const std::string& ns, std::string_view name) {
  if (!name.starts_with(ns + "/")) return false;
  name.remove_prefix(ns.size() + 1);
  size_t slash = name.find('/');
  return slash != name.npos && slash > 0 && slash + 1 < name.size() &&
         name.substr(0, slash).find_first_not_of("0123456789") == name.npos;
}

template <typename Response>
std::vector<Mount> MountsOf(const Response& response) {
  std::vector<Mount> mounts;
  for (const auto& mount : response.mounts()) {
    mounts.push_back({mount.type(),
                      mount.source(),
                      mount.target(),
                      {mount.options().begin(), mount.options().end()}});
  }
  return mounts;
}

class ProxySnapshotter : public snapshots::Snapshotter {
 public:
  ProxySnapshotter(const ProxySettings& settings, snapshots::SnapshotRecords* records)
      : settings_(settings),
        remote_name_(settings.remote_name.empty() ? settings.name : settings.remote_name),
        records_(records) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
    std::string address = settings.address;
    if (address.starts_with('/')) address = "unix://" + address;
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    stub_ = snapshots_api::Snapshots::NewStub(channel_);
  }

  std::string_view name() const override { return settings_.name; }

  Result<std::vector<Mount>> Prepare(const std::string& ns, const std::string& key,
                                     const std::string& parent,
                                     const snapshots::Labels& labels) override {
    return Create<snapshots_api::PrepareSnapshotRequest, snapshots_api::PrepareSnapshotResponse>(
        &Stub::Prepare, Kind::kActive, ns, key, parent, labels);
  }

  Result<std::vector<Mount>> View(const std::string& ns, const std::string& key,
                                  const std::string& parent,
                                  const snapshots::Labels& labels) override {
    return Create<snapshots_api::ViewSnapshotRequest, snapshots_api::ViewSnapshotResponse>(
        &Stub::View, Kind::kView, ns, key, parent, labels);
  }

  Result<std::vector<Mount>> Mounts(const std::string& ns, const std::string& key) override {
    Record record = TRY(records_->Get(ns, key));
    if (record.kind == Kind::kCommitted) {
      return FailedPrecondition("mounting snapshot '{}': it is committed", key);
    }
    TRY(Reconcile());
    snapshots_api::MountsRequest request;
    request.set_snapshotter(remote_name_);
    request.set_key(RemoteKey(record));
    snapshots_api::MountsResponse response;
    TRY(Call(&Stub::Mounts, ns, request, &response));
    return MountsOf(response);
  }

  // There first: a crash in between leaves a committed snapshot that no record names, which
  // Reconcile() takes away together with the active one that is lost.
  Result<> Commit(const std::string& ns, const std::string& name, const std::string& key,
                  const snapshots::Labels& labels, std::optional<Usage> usage) override {
    if (name.empty()) return InvalidArgument("committing snapshot '{}': no name", key);
    TRY(Reconcile());
    MutexLock lock(commit_mutex_);
    Record record = TRY(records_->Get(ns, key));
    if (record.kind != Kind::kActive) {
      return FailedPrecondition("committing snapshot '{}': it is not active", key);
    }
    if (records_->Get(ns, name).ok()) return AlreadyExists("snapshot '{}': already exists", name);
    if (!usage) usage = TRY(RemoteUsage(record));
    snapshots_api::CommitSnapshotRequest request;
    request.set_snapshotter(remote_name_);
    request.set_key(RemoteKey(record));
    request.set_name(RemoteKey(ns, record.number, name));
    AddLabels(labels, request.mutable_labels());
    google::protobuf::Empty response;
    TRY(Call(&Stub::Commit, ns, request, &response));
    return records_->Commit(ns, key, name, labels, *usage);
  }

  Result<> Remove(const std::string& ns, const std::string& key) override {
    TRY(Reconcile());
    Record record = TRY(records_->Remove(ns, key));
    return RemoveThere(ns, RemoteKey(record));
  }

  Result<Usage> GetUsage(const std::string& ns, const std::string& key) override {
    Record record = TRY(records_->Get(ns, key));
    if (record.kind == Kind::kCommitted) return record.usage;
    return RemoteUsage(record);
  }

  Result<> Recover() override {
    for (const Record& record : TRY(records_->List(""))) {
      last_number_ = std::max(last_number_.load(), record.number);
    }
    auto reconciled = Reconcile();
    if (reconciled.ok()) return {};
    // It may be started later.
    log::Warning("snapshotter '{}': {}", settings_.name, reconciled.error().message());
    return {};
  }

  snapshots::SnapshotRecords& records() override { return *records_; }

 private:
  using Stub = snapshots_api::Snapshots::Stub;

  template <typename Request, typename Response>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

  static void SetUp(grpc::ClientContext* context, const std::string& ns) {
    context->AddMetadata("containerd-namespace", ns);
    context->set_deadline(std::chrono::system_clock::now() + kCallLimit);
  }

  Result<> Checked(const grpc::Status& status) const {
    TRY_WITH(ToResult(status), "snapshotter '{}' at '{}'", settings_.name, settings_.address);
    return {};
  }

  template <typename Request, typename Response>
  Result<> Call(Method<Request, Response> method, const std::string& ns, const Request& request,
                Response* response) {
    grpc::ClientContext context;
    SetUp(&context, ns);
    return Checked((stub_.get()->*method)(&context, request, response));
  }

  static void AddLabels(const snapshots::Labels& labels,
                        google::protobuf::Map<std::string, std::string>* out) {
    for (const auto& [key, value] : labels) {
      if (key.starts_with(kInheritedLabel)) (*out)[key] = value;
    }
    (*out)[kRemoteRootLabel] = "gantry";
  }

  template <typename Request, typename Response>
  Result<std::vector<Mount>> Create(Method<Request, Response> method, Kind kind,
                                    const std::string& ns, const std::string& key,
                                    const std::string& parent, const snapshots::Labels& labels) {
    if (key.empty()) return InvalidArgument("preparing snapshot: no key");
    TRY(Reconcile());
    auto existing = records_->Get(ns, key);
    if (existing.ok()) return AlreadyExists("snapshot '{}': already exists", key);
    if (existing.error().kind() != ErrorKind::kNotFound) return std::move(existing).error();
    Request request;
    if (!parent.empty()) {
      Record record = TRY_WITH(records_->Get(ns, parent), "preparing snapshot '{}'", key);
      if (record.kind != Kind::kCommitted) {
        return InvalidArgument("preparing snapshot '{}': parent '{}' is not committed", key,
                               parent);
      }
      request.set_parent(RemoteKey(record));
    }
    uint64_t number = ++last_number_;
    std::string remote_key = RemoteKey(ns, number, key);
    request.set_snapshotter(remote_name_);
    request.set_key(remote_key);
    AddLabels(labels, request.mutable_labels());
    Response response;
    TRY_WITH(Call(method, ns, request, &response), "preparing snapshot '{}'", key);
    Undo undo;
    undo.Push([&] {
      auto removed = RemoveThere(ns, remote_key);
      if (!removed.ok()) log::Warning("{}", removed.error().message());
    });
    WallTime now = WallClock::now();
    TRY(records_->Insert({.ns = ns,
                          .key = key,
                          .parent = parent,
                          .kind = kind,
                          .number = number,
                          .labels = labels,
                          .created_at = now,
                          .updated_at = now}));
    undo.Commit();
    return MountsOf(response);
  }

  Result<> RemoveThere(const std::string& ns, const std::string& remote_key) {
    snapshots_api::RemoveSnapshotRequest request;
    request.set_snapshotter(remote_name_);
    request.set_key(remote_key);
    google::protobuf::Empty response;
    auto removed = Call(&Stub::Remove, ns, request, &response);
    if (!removed.ok() && removed.error().kind() == ErrorKind::kNotFound) return {};
    return removed;
  }

  Result<Usage> RemoteUsage(const Record& record) {
    snapshots_api::UsageRequest request;
    request.set_snapshotter(remote_name_);
    request.set_key(RemoteKey(record));
    snapshots_api::UsageResponse response;
    TRY(Call(&Stub::Usage, record.ns, request, &response));
    return Usage{static_cast<uint64_t>(response.size()), static_cast<uint64_t>(response.inodes())};
  }

  // Name to parent of everything there in a namespace that looks like ours.
  Result<std::map<std::string, std::string>> ListThere(const std::string& ns) {
    snapshots_api::ListSnapshotsRequest request;
    request.set_snapshotter(remote_name_);
    grpc::ClientContext context;
    SetUp(&context, ns);
    auto stream = stub_->List(&context, request);
    std::map<std::string, std::string> found;
    snapshots_api::ListSnapshotsResponse response;
    while (stream->Read(&response)) {
      for (const auto& info : response.info()) {
        if (LooksOurs(ns, info.name())) found[info.name()] = info.parent();
      }
    }
    TRY(Checked(stream->Finish()));
    return found;
  }

  // Once, as soon as the other side can be reached: what a crash left there without a record goes,
  // and so do records of what is not there any more.
  Result<> Reconcile() {
    MutexLock lock(reconcile_mutex_);
    if (reconciled_) return {};
    std::map<std::string, std::vector<Record>> by_namespace;
    for (Record& record : TRY(records_->List(""))) {
      by_namespace[record.ns].push_back(std::move(record));
    }
    for (const auto& [ns, records] : by_namespace) {
      std::map<std::string, std::string> there = TRY(ListThere(ns));
      std::set<std::string> named;
      for (const Record& record : records) named.insert(RemoteKey(record));
      TRY(RemoveUnnamed(ns, there, named));
      RemoveLost(records, there);
    }
    reconciled_ = true;
    return {};
  }

  // Children before their parents.
  Result<> RemoveUnnamed(const std::string& ns, const std::map<std::string, std::string>& there,
                         const std::set<std::string>& named) {
    std::set<std::string> left;
    for (const auto& [name, parent] : there) {
      if (!named.contains(name)) left.insert(name);
    }
    for (bool progress = true; progress && !left.empty();) {
      progress = false;
      for (auto name = left.begin(); name != left.end();) {
        bool is_parent = false;
        for (const std::string& other : left) is_parent = is_parent || there.at(other) == *name;
        if (is_parent) {
          ++name;
          continue;
        }
        TRY(RemoveThere(ns, *name));
        name = left.erase(name);
        progress = true;
      }
    }
    return {};
  }

  void RemoveLost(std::vector<Record> records, const std::map<std::string, std::string>& there) {
    std::erase_if(records, [&](const Record& r) { return there.contains(RemoteKey(r)); });
    for (bool progress = true; progress && !records.empty();) {
      progress = std::erase_if(records, [&](const Record& record) {
                   // Refused while it has children, which may be lost as well.
                   bool removed = records_->Remove(record.ns, record.key).ok();
                   if (removed) {
                     log::Warning("snapshotter '{}': snapshot '{}' is not there any more",
                                  settings_.name, record.key);
                   }
                   return removed;
                 }) > 0;
    }
  }

  const ProxySettings settings_;
  const std::string remote_name_;
  snapshots::SnapshotRecords* const records_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
  std::atomic<uint64_t> last_number_{0};
  Mutex commit_mutex_;
  Mutex reconcile_mutex_;
  bool reconciled_ GUARDED_BY(reconcile_mutex_) = false;
};

}  // namespace

std::unique_ptr<snapshots::Snapshotter> MakeProxySnapshotter(const ProxySettings& settings,
                                                             snapshots::SnapshotRecords* records) {
  return std::make_unique<ProxySnapshotter>(settings, records);
}

}  // namespace gantry::containerd
