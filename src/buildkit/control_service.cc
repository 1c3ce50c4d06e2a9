// SPDX-License-Identifier: Apache-2.0
#include "buildkit/control_service.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/undo.h"
#include "build/cache_space.h"
#include "buildkit/cache_options.h"
#include "buildkit/exporters.h"
#include "buildkit/progress.h"
#include "buildkit/rpc.h"
#include "buildkit/session_stream.h"
#include "buildkit/solve.h"
#include "buildkit/usage_filter.h"
#include "engine/settings.h"
#include "oci/platform.h"

namespace gantry::buildkit {
namespace {

namespace api = moby::buildkit::v1;

// The BuildKit whose API this is.
constexpr const char* kVersion = "v0.17.0";

// What the client grants its build, as far as the daemon's configuration lets it.
Result<std::set<std::string>> ReadEntitlements(const api::SolveRequest& request,
                                               const engine::Settings& settings) {
  std::set<std::string> out;
  for (const std::string& wanted : request.entitlements()) {
    bool allowed = (wanted == "network.host" && settings.builds_use_host_network) ||
                   (wanted == "security.insecure" && settings.builds_run_insecure);
    if (!allowed) {
      return MakeError(ErrorKind::kPermissionDenied,
                       "granting entitlement {} is not allowed by build daemon configuration",
                       wanted);
    }
    out.insert(wanted);
  }
  return out;
}

// Clients send an empty one for none.
bool HasFilter(const google::protobuf::RepeatedPtrField<std::string>& filters) {
  return std::any_of(filters.begin(), filters.end(), [](const auto& one) { return !one.empty(); });
}

void Fill(const build::CachedStep& step, api::UsageRecord* record) {
  record->set_id(step.key);
  record->set_inuse(step.in_use);
  record->set_size(step.size);
  *record->mutable_createdat() = ToTimestamp(step.created_at);
  *record->mutable_lastusedat() = ToTimestamp(step.used_at);
  record->set_usagecount(step.uses);
  record->set_description(step.description);
  record->set_recordtype(step.type());
  if (!step.parent.empty()) record->add_parents(step.parent);
}

// Streams messages of which one is written at a time. Deletes itself.
class StatusStream : public grpc::ServerWriteReactor<api::StatusResponse> {
 public:
  static grpc::ServerWriteReactor<api::StatusResponse>* Start(Shared& shared, std::string ref) {
    auto stream = std::shared_ptr<StatusStream>(new StatusStream());
    stream->self_ = stream;
    shared.workers.Run([stream, &shared, ref = std::move(ref)] {
      auto job = shared.jobs.FindOrEnded(ref, kBeginBound);
      if (!job.ok()) return stream->End(ToStatus(job.error()));
      stream->job_ = *std::move(job);
      stream->Next();
    });
    return stream.get();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return End({grpc::StatusCode::CANCELLED, "the client is gone"});
    Next();
  }
  void OnCancel() override { End({grpc::StatusCode::CANCELLED, "the client is gone"}); }
  void OnDone() override { self_.reset(); }

 private:
  StatusStream() = default;

  void Next() {
    auto wake = [stream = self_] { stream->Next(); };
    switch (job_->Read(&number_, &update_, wake)) {
      case Job::Next::kHave:
        StartUnlessEnded();
        break;
      case Job::Next::kEnd:
        End(grpc::Status::OK);
        break;
      case Job::Next::kLater:
        break;
    }
  }
  void StartUnlessEnded() {
    MutexLock lock(mutex_);
    if (!ended_) StartWrite(&update_);
  }
  void End(const grpc::Status& status) {
    MutexLock lock(mutex_);
    if (!std::exchange(ended_, true)) Finish(status);
  }

  std::shared_ptr<StatusStream> self_;  // until gRPC is done with it
  std::shared_ptr<Job> job_;
  size_t number_ = 0;
  api::StatusResponse update_;
  Mutex mutex_;
  bool ended_ GUARDED_BY(mutex_) = false;
};

// What is made at once is streamed. Deletes itself.
template <typename Message>
class ListStream : public grpc::ServerWriteReactor<Message> {
 public:
  static grpc::ServerWriteReactor<Message>* Start(
      wire::WorkerPool& workers, std::function<Result<std::vector<Message>>()> make) {
    auto* stream = new ListStream();
    workers.Run([stream, make = std::move(make)] {
      auto made = make();
      if (!made.ok()) return stream->Finish(ToStatus(made.error()));
      stream->messages_ = *std::move(made);
      stream->Next();
    });
    return stream;
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish({grpc::StatusCode::CANCELLED, "the client is gone"});
    Next();
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (next_ == messages_.size()) return this->Finish(grpc::Status::OK);
    this->StartWrite(&messages_[next_++]);
  }

  std::vector<Message> messages_;
  size_t next_ = 0;
};

api::BuildHistoryEvent EventOf(const api::BuildHistoryRecord& record) {
  api::BuildHistoryEvent event;
  event.set_type(record.has_completedat() ? api::COMPLETE : api::STARTED);
  *event.mutable_record() = record;
  return event;
}

bool IsAskedFor(const api::BuildHistoryRequest& request, const api::BuildHistoryRecord& record) {
  return (request.ref().empty() || request.ref() == record.ref()) &&
         (!request.activeonly() || !record.has_completedat());
}

// What there is now, the newest ones where there is a limit.
Result<std::vector<api::BuildHistoryEvent>> EventsOf(History& history,
                                                     const api::BuildHistoryRequest& request) {
  if (HasFilter(request.filter())) {
    return Unimplemented("filters of the build history are not supported");
  }
  std::vector<api::BuildHistoryEvent> events;
  for (const api::BuildHistoryRecord& record : history.List()) {
    if (IsAskedFor(request, record)) events.push_back(EventOf(record));
  }
  auto limit = static_cast<size_t>(std::max(request.limit(), 0));
  if (limit > 0 && events.size() > limit) {
    events.erase(events.begin(), events.end() - static_cast<ptrdiff_t>(limit));
  }
  return events;
}

// What there is now and what changes, until the client goes. Deletes itself.
class HistoryStream : public grpc::ServerWriteReactor<api::BuildHistoryEvent> {
 public:
  static grpc::ServerWriteReactor<api::BuildHistoryEvent>* Start(Shared& shared,
                                                                 api::BuildHistoryRequest request) {
    auto stream = std::shared_ptr<HistoryStream>(new HistoryStream());
    stream->self_ = stream;
    shared.workers.Run([stream, &shared, request = std::move(request)] {
      // It is listened first: what comes meanwhile is told twice rather than never.
      stream->listening_ = shared.history.Listen(
          [weak = std::weak_ptr(stream), request](const api::BuildHistoryEvent& event) {
            auto there = weak.lock();
            bool gone = event.type() == api::DELETED && request.ref() == event.record().ref();
            if (there && (gone || IsAskedFor(request, event.record()))) there->Add(event);
          });
      auto events = EventsOf(shared.history, request);
      if (!events.ok()) return stream->End(ToStatus(events.error()));
      for (const api::BuildHistoryEvent& event : *events) stream->Add(event);
    });
    return stream.get();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return End({grpc::StatusCode::CANCELLED, "the client is gone"});
    MutexLock lock(mutex_);
    waiting_.pop_front();
    writes_ = false;
    WriteNext();
  }
  void OnCancel() override { End({grpc::StatusCode::CANCELLED, "the client is gone"}); }
  void OnDone() override {
    listening_.reset();
    self_.reset();
  }

 private:
  HistoryStream() = default;
  void Add(const api::BuildHistoryEvent& event) {
    MutexLock lock(mutex_);
    waiting_.push_back(event);
    WriteNext();
  }
  void WriteNext() REQUIRES(mutex_) {
    if (ended_ || writes_ || waiting_.empty()) return;
    writes_ = true;
    StartWrite(&waiting_.front());
  }
  void End(const grpc::Status& status) {
    MutexLock lock(mutex_);
    if (!std::exchange(ended_, true)) Finish(status);
  }

  std::shared_ptr<HistoryStream> self_;  // until gRPC is done with it
  std::shared_ptr<void> listening_;
  Mutex mutex_;
  std::deque<api::BuildHistoryEvent> waiting_ GUARDED_BY(mutex_);
  bool writes_ GUARDED_BY(mutex_) = false;
  bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace

void Describe(api::types::WorkerRecord* record) {
  record->set_id("gantry");
  (*record->mutable_labels())["org.mobyproject.buildkit.worker.executor"] = "gantry-containerd";
  // Without it buildx believes that there are no exporters but docker's own.
  (*record->mutable_labels())["org.mobyproject.buildkit.worker.snapshotter"] = "overlayfs";
  oci::Platform host = oci::HostPlatform();
  pb::Platform* platform = record->add_platforms();
  platform->set_os(host.os);
  platform->set_architecture(host.architecture);
  platform->set_variant(host.variant);
  record->mutable_buildkitversion()->set_package("gantry");
  record->mutable_buildkitversion()->set_version(kVersion);
}

Result<> ControlService::Build(const api::SolveRequest& request, api::SolveResponse* response,
                               const StopToken& stop, ErrorDetails* details) {
  auto entitlements = ReadEntitlements(request, *shared_.engine.settings());
  Wanted wanted{request.session(),
                entitlements.ok() ? *entitlements : std::set<std::string>(),
                {request.exporters().begin(), request.exporters().end()},
                {request.cache().exports().begin(), request.cache().exports().end()},
                {request.cache().imports().begin(), request.cache().imports().end()},
                {}};
  auto provenance =
      ReadProvenanceWish({request.frontendattrs().begin(), request.frontendattrs().end()});
  if (provenance.ok()) wanted.provenance = *provenance;
  if (!request.exporterdeprecated().empty()) {
    api::Exporter exporter;
    exporter.set_type(request.exporterdeprecated());
    *exporter.mutable_attrs() = request.exporterattrsdeprecated();
    if (wanted.exporters.empty()) wanted.exporters.push_back(std::move(exporter));
  }
  auto job = TRY(shared_.jobs.Begin(request.ref(), std::move(wanted)));
  Undo end;
  end.Push([&] { shared_.jobs.End(request.ref()); });
  TRY(entitlements);
  if (!request.sourcepolicy().empty() || !request.sourcepolicysession().empty()) {
    return Unimplemented("policies of sources are not supported");
  }
  TRY(provenance);
  std::vector<CacheExport> caches = TRY(ReadCacheExports(job->wanted()));
  std::vector<Export> exports = TRY(ReadExports(job->wanted()));
  if (!request.frontend().empty() || request.definition().def_size() > 0) {
    auto solved = TRY(buildkit::Solve(shared_, job,
                                      {request.definition(), request.frontend(),
                                       request.frontendattrs(), request.frontendinputs(), details},
                                      stop));
    job->Return(std::move(solved));
  }
  MadeResult made = TRY(job->AwaitReturn(stop, details));
  // What the front end tells the client; all of an answer to a client that has asked it directly.
  bool answers = made.parts.empty() && !request.frontend().empty();
  for (const auto& [key, value] : made.metadata) {
    if (!answers && !key.starts_with("frontend.")) continue;
    (*response->mutable_exporterresponse())[key] = value;
  }
  if (made.parts.empty()) return {};
  PutInlineCache(shared_, made, caches);
  for (const Export& one : exports) {
    TRY(RunExport(shared_, *job, made, one, response->mutable_exporterresponse(), stop));
  }
  return ExportCaches(shared_, *job, made, caches, response->mutable_exporterresponse(), stop);
}

Result<> ControlService::BuildRecorded(const api::SolveRequest& request,
                                       api::SolveResponse* response, const StopToken& stop,
                                       ErrorDetails* details) {
  if (request.internal() || request.ref().empty()) return Build(request, response, stop, details);
  TRY_WITH(shared_.history.Begin(request), "recording the build");
  Result<> built = Build(request, response, stop, details);
  History::End end{built, {}, {}};
  for (const auto& [key, value] : response->exporterresponse()) end.response[key] = value;
  auto job = shared_.jobs.FindOrEnded(request.ref(), std::chrono::milliseconds(0));
  if (job.ok()) end.progress = (*job)->Updates();
  Result<> recorded = shared_.history.Finish(request.ref(), end);
  if (!recorded.ok()) log::Warning("recording a build: {}", recorded.error().message());
  return built;
}

grpc::ServerUnaryReactor* ControlService::Solve(grpc::CallbackServerContext*,
                                                const api::SolveRequest* request,
                                                api::SolveResponse* response) {
  return WorkCall::Start(shared_.workers, [=, this](const StopToken& stop, ErrorDetails* details) {
    return BuildRecorded(*request, response, stop, details);
  });
}

grpc::ServerWriteReactor<api::StatusResponse>* ControlService::Status(
    grpc::CallbackServerContext*, const api::StatusRequest* request) {
  if (shared_.history.HasEnded(request->ref())) {
    return ListStream<api::StatusResponse>::Start(
        shared_.workers,
        [this, ref = request->ref()]() -> Result<std::vector<api::StatusResponse>> {
          auto progress = TRY(shared_.history.ReadProgress(ref));
          if (progress) return *std::move(progress);
          return NotFound("no such job {}", ref);
        });
  }
  return StatusStream::Start(shared_, request->ref());
}

grpc::ServerBidiReactor<api::BytesMessage, api::BytesMessage>* ControlService::Session(
    grpc::CallbackServerContext* context) {
  return ServeSessionStream(shared_, *context);
}

grpc::ServerUnaryReactor* ControlService::ListWorkers(grpc::CallbackServerContext* context,
                                                      const api::ListWorkersRequest*,
                                                      api::ListWorkersResponse* response) {
  Describe(response->add_record());
  auto* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ControlService::Info(grpc::CallbackServerContext* context,
                                               const api::InfoRequest*,
                                               api::InfoResponse* response) {
  response->mutable_buildkitversion()->set_package("gantry");
  response->mutable_buildkitversion()->set_version(kVersion);
  auto* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<api::BuildHistoryEvent>* ControlService::ListenBuildHistory(
    grpc::CallbackServerContext*, const api::BuildHistoryRequest* request) {
  if (!request->earlyexit()) return HistoryStream::Start(shared_, *request);
  return ListStream<api::BuildHistoryEvent>::Start(
      shared_.workers, [this, asked = *request] { return EventsOf(shared_.history, asked); });
}

grpc::ServerUnaryReactor* ControlService::UpdateBuildHistory(
    grpc::CallbackServerContext*, const api::UpdateBuildHistoryRequest* request,
    api::UpdateBuildHistoryResponse*) {
  return WorkCall::Start(shared_.workers, [=, this](const StopToken&, ErrorDetails*) -> Result<> {
    if (request->delete_()) return shared_.history.Remove(request->ref());
    // A record is whole as it is written.
    if (request->finalize()) return {};
    return shared_.history.Pin(request->ref(), request->pinned());
  });
}

grpc::ServerUnaryReactor* ControlService::DiskUsage(grpc::CallbackServerContext* context,
                                                    const api::DiskUsageRequest* request,
                                                    api::DiskUsageResponse* response) {
  auto* reactor = context->DefaultReactor();
  Result<UsageFilter> filter = UsageFilter::Parse(request->filter());
  if (!filter.ok()) {
    reactor->Finish(ToStatus(filter.error()));
    return reactor;
  }
  WallTime newest = WallClock::now() - std::chrono::nanoseconds(request->agelimit());
  for (const build::CachedStep& step : shared_.builds.cache().List()) {
    if (request->agelimit() > 0 && step.used_at > newest) continue;
    api::UsageRecord record;
    Fill(step, &record);
    if (filter->Matches(record)) *response->add_record() = std::move(record);
  }
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<api::UsageRecord>* ControlService::Prune(
    grpc::CallbackServerContext*, const api::PruneRequest* request) {
  auto prune = [this, request = *request]() -> Result<std::vector<api::UsageRecord>> {
    UsageFilter filter = TRY(UsageFilter::Parse(request.filter()));
    WallTime before = WallClock::now() - std::chrono::nanoseconds(request.keepduration());
    std::vector<build::CachedStep> steps = shared_.builds.cache().List();
    auto kept = TRY(build::KeysToKeep(
        steps, {request.reservedspace(), request.maxusedspace(), request.minfreespace()},
        shared_.engine.options().root));
    std::map<std::string, api::UsageRecord> known;
    for (const build::CachedStep& step : steps) Fill(step, &known[step.key]);
    auto pruned = TRY(shared_.builds.cache().Prune([&](const build::CachedStep& step) {
      auto record = known.find(step.key);
      return record != known.end() && !kept.contains(step.key) &&
             (request.keepduration() == 0 || step.used_at < before) &&
             filter.Matches(record->second);
    }));
    std::vector<api::UsageRecord> records;
    for (const std::string& key : pruned.keys) records.push_back(known[key]);
    return records;
  };
  return ListStream<api::UsageRecord>::Start(shared_.workers, std::move(prune));
}

}  // namespace gantry::buildkit
