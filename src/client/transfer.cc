// SPDX-License-Identifier: Apache-2.0
//
// The Transfer and Streaming services: archives in and out, pulls. Bytes travel over a stream of
// Any messages: the receiver grants a window (WindowUpdate), the sender sends that much (Data).
#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/random.h"
#include "base/undo.h"
#include "client/containerd.h"
#include "client/stubs.h"
#include "containerd/types/transfer/imagestore.pb.h"
#include "containerd/types/transfer/importexport.pb.h"
#include "containerd/types/transfer/progress.pb.h"
#include "containerd/types/transfer/registry.pb.h"
#include "containerd/types/transfer/streaming.pb.h"
#include "formats/protobuf_wire.h"
#include "oci/image_spec.h"

namespace gantry::client {

namespace transfer = containerd::types::transfer;
using google::protobuf::Any;

namespace {

constexpr size_t kChunkBytes = size_t{256} << 10;
constexpr int32_t kWindowBytes = 4 << 20;

Any Pack(const google::protobuf::Message& message) {
  Any any;
  any.set_type_url(message.GetTypeName());
  any.set_value(message.SerializeAsString());
  return any;
}

template <typename Message>
bool Unpack(const Any& any, Message* message) {
  const std::string& url = any.type_url();
  std::string_view name = std::string_view(url).substr(url.rfind('/') + 1);
  return name == message->GetTypeName() && message->ParseFromString(any.value());
}

// One named stream. Open before the Transfer call that names it.
class Stream {
 public:
  static Result<std::unique_ptr<Stream>> Open(Containerd::Stubs* stubs, std::string_view purpose) {
    auto stream = std::unique_ptr<Stream>(new Stream());
    stream->id_ = fmt::format("{}-{}", purpose, RandomHex(8));
    stubs->Prepare(&stream->context_, std::chrono::milliseconds(0));
    stream->stream_ = stubs->streaming->Stream(&stream->context_);
    containerd::services::streaming::v1::StreamInit init;
    init.set_id(stream->id_);
    Any acknowledgement;
    if (!stream->stream_->Write(Pack(init)) || !stream->stream_->Read(&acknowledgement)) {
      Result<> status = ToResult(stream->stream_->Finish());
      if (status.ok()) return Unavailable("opening a stream: containerd closed it");
      if (status.error().kind() == ErrorKind::kUnimplemented) {
        return Unimplemented(
            "this containerd pulls, pushes, imports and exports no images for its clients: it has "
            "no Transfer service, which containerd 2 has; use its own client for that");
      }
      return std::move(status).error().AddContext("opening a stream");
    }
    return stream;
  }

  const std::string& id() const { return id_; }
  bool Write(const google::protobuf::Message& message) { return stream_->Write(Pack(message)); }
  bool Write(const Any& packed) { return stream_->Write(packed); }
  bool Read(Any* any) { return stream_->Read(any); }
  void WritesDone() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }

 private:
  Stream() = default;
  grpc::ClientContext context_;
  std::string id_;
  std::unique_ptr<grpc::ClientReaderWriter<Any, Any>> stream_;
};

// Joins its thread at the end of its life.
class Worker {
 public:
  Worker() = default;
  void Run(std::function<void()> function) { thread_ = std::thread(std::move(function)); }
  ~Worker() { Join(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::thread thread_;
};

// A message Data that is packed where its bytes are read to: one copy less of each.
class DataMessage {
 public:
  DataMessage() { any_.set_type_url(transfer::Data().GetTypeName()); }

  // Room for `size` bytes.
  char* Room(size_t size) {
    any_.mutable_value()->resize(kHeadBytes + size);
    return any_.mutable_value()->data() + kHeadBytes;
  }
  // With the first `size` bytes of the room.
  const Any& Packed(size_t size) {
    std::string head;
    formats::ProtoWriter writer(&head);
    writer.Tag(transfer::Data::kDataFieldNumber, formats::ProtoWire::kBytes);
    writer.RawVarint(size);
    std::string& value = *any_.mutable_value();
    value.resize(kHeadBytes + size);
    // Short ones have a shorter head.
    value.replace(0, kHeadBytes, head);
    return any_;
  }

 private:
  // Tag and length of what has 16 KiB to 2 MiB.
  static constexpr size_t kHeadBytes = 4;
  Any any_;
};

// Sends what `read` gives until its end, within the receiver's window.
Result<> SendAll(Stream* stream, const Containerd::ReadFunction& read) {
  int64_t window = 0;
  DataMessage data;
  for (;;) {
    while (window <= 0) {
      Any any;
      transfer::WindowUpdate update;
      if (!stream->Read(&any)) return {};  // the receiver wants no more; Transfer says why
      if (Unpack(any, &update)) window += update.update();
    }
    size_t want = std::min<size_t>(kChunkBytes, static_cast<size_t>(window));
    size_t got = TRY(read(data.Room(want), want));
    if (got == 0) break;
    if (!stream->Write(data.Packed(got))) return {};
    window -= static_cast<int64_t>(got);
  }
  stream->WritesDone();
  return {};
}

Result<> ReceiveAll(Stream* stream, const Containerd::WriteFunction& write) {
  int64_t window = 0;
  for (;;) {
    if (window < kWindowBytes / 2) {
      transfer::WindowUpdate update;
      update.set_update(kWindowBytes);
      if (stream->Write(update)) window += kWindowBytes;
    }
    Any any;
    transfer::Data data;
    if (!stream->Read(&any)) return {};
    if (!Unpack(any, &data)) continue;
    window -= static_cast<int64_t>(data.data().size());
    TRY(write(data.data()));
  }
}

void FollowProgress(Stream* stream, const ProgressCallback& callback) {
  Any any;
  while (stream->Read(&any)) {
    transfer::Progress progress;
    if (!Unpack(any, &progress)) continue;
    Progress out;
    out.event = progress.event();
    out.name = progress.name();
    out.parents.assign(progress.parents().begin(), progress.parents().end());
    out.progress = progress.progress();
    out.total = progress.total();
    out.descriptor = {progress.desc().media_type(), progress.desc().digest(),
                      progress.desc().size()};
    callback(out);
  }
}

template <typename Message>
void SetPlatform(const oci::Platform& platform, Message* message) {
  message->set_os(platform.os);
  message->set_architecture(platform.architecture);
  message->set_variant(platform.variant);
}

void SetUnpack(transfer::ImageStore* store, const std::string& snapshotter,
               const oci::Platform& platform) {
  auto* unpack = store->add_unpacks();
  unpack->set_snapshotter(snapshotter);
  SetPlatform(platform, unpack->mutable_platform());
  *store->add_platforms() = unpack->platform();
}

// One Transfer call that a stop request cancels.
Result<> RunTransfer(Containerd::Stubs* stubs,
                     const containerd::services::transfer::v1::TransferRequest& request,
                     const StopToken& stop) {
  grpc::ClientContext context;
  stubs->Prepare(&context, std::chrono::milliseconds(0));
  google::protobuf::Empty response;
  StopSource finished = TRY(StopSource::Create());
  Worker watcher;
  if (stop.fd().valid()) {
    watcher.Run([&] {
      Result<> waited = WaitFor(stop.fd(), /*POLLIN=*/1, std::chrono::hours(24), finished.token());
      if (waited.ok()) context.TryCancel();
    });
  }
  Result<> done = ToResult(stubs->transfer->Transfer(&context, request, &response));
  finished.RequestStop();
  return done;
}

// A Transfer between the store and a registry: with the streams of its progress and, where there
// are some, of the credentials that the daemon asks for.
class RegistryCall {
 public:
  Result<transfer::OCIRegistry> Open(Containerd::Stubs* stubs, const std::string& reference,
                                     const std::string& hosts_directory,
                                     const std::optional<Credentials>& credentials) {
    reports_ = TRY(Stream::Open(stubs, "progress"));
    transfer::OCIRegistry registry;
    registry.set_reference(reference);
    if (!hosts_directory.empty()) registry.mutable_resolver()->set_host_dir(hosts_directory);
    if (credentials) {
      credentials_ = credentials;
      questions_ = TRY(Stream::Open(stubs, "auth"));
      registry.mutable_resolver()->set_auth_stream(questions_->id());
    }
    return registry;
  }

  Result<> Run(Containerd::Stubs* stubs,
               containerd::services::transfer::v1::TransferRequest request,
               const ProgressCallback& progress, const StopToken& stop) {
    request.mutable_options()->set_progress_stream(reports_->id());
    Worker follower;
    Worker answerer;
    follower.Run([&] {
      FollowProgress(reports_.get(), [&](const Progress& report) {
        if (progress) progress(report);
      });
    });
    if (questions_) answerer.Run([this] { AnswerQuestions(); });
    Result<> done = RunTransfer(stubs, request, stop);
    if (questions_) questions_->Cancel();
    answerer.Join();
    if (!done.ok()) reports_->Cancel();
    follower.Join();
    return done;
  }

 private:
  void AnswerQuestions() {
    Any any;
    while (questions_->Read(&any)) {
      transfer::AuthRequest asked;
      if (!Unpack(any, &asked)) continue;
      transfer::AuthResponse answer;
      if (!credentials_->identity_token.empty()) {
        answer.set_authtype(transfer::REFRESH);
        answer.set_secret(credentials_->identity_token);
      } else {
        answer.set_authtype(transfer::CREDENTIALS);
        answer.set_username(credentials_->username);
        answer.set_secret(credentials_->secret);
      }
      if (!questions_->Write(answer)) return;
    }
  }

  std::unique_ptr<Stream> reports_;
  std::unique_ptr<Stream> questions_;
  std::optional<Credentials> credentials_;
};

}  // namespace

Result<> Containerd::RemoveArchiveIndex(const std::string& unnamed, SavedImages* saved) {
  for (auto image = saved->begin(); image != saved->end(); ++image) {
    if (!image->first.starts_with(unnamed + "@") || !oci::IsIndex(image->second.media_type))
      continue;
    std::string text = TRY(ReadBlob(image->second.digest));
    // An index that is itself an image of the archive lists none of the others.
    bool lists = std::any_of(saved->begin(), saved->end(), [&](const auto& other) {
      return text.find(other.second.digest) != std::string::npos;
    });
    if (!lists) continue;
    TRY(DeleteImage(image->first, false));
    saved->erase(image);
    return {};
  }
  return {};
}

Result<std::vector<std::string>> Containerd::Import(const ReadFunction& read,
                                                    const std::string& unnamed,
                                                    const std::string& snapshotter,
                                                    const std::vector<oci::Platform>& platforms,
                                                    const ProgressCallback& progress,
                                                    const StopToken& stop) {
  Undo counted;
  counted.Push([this] { ++image_changes_; });
  auto data = TRY(Stream::Open(stubs_.get(), "import"));
  auto reports = TRY(Stream::Open(stubs_.get(), "progress"));
  transfer::ImageImportStream source;
  source.set_stream(data->id());
  transfer::ImageStore destination;
  for (const oci::Platform& platform : platforms) SetUnpack(&destination, snapshotter, platform);
  if (platforms.empty()) {
    SetUnpack(&destination, snapshotter, oci::HostPlatform());
    destination.clear_platforms();
  }
  // Names of the archive are stored as they are.
  auto* reference = destination.add_extra_references();
  reference->set_name(unnamed);
  reference->set_is_prefix(true);
  reference->set_allow_overwrite(true);
  reference->set_add_digest(true);
  reference->set_skip_named_digest(true);
  containerd::services::transfer::v1::TransferRequest request;
  *request.mutable_source() = Pack(source);
  *request.mutable_destination() = Pack(destination);
  request.mutable_options()->set_progress_stream(reports->id());

  SavedImages saved;
  Result<> sent;
  Worker sender;
  Worker follower;
  sender.Run([&] {
    sent = SendAll(data.get(), read);
    // A source that fails must not look like an archive that ends.
    if (!sent.ok()) data->Cancel();
  });
  follower.Run([&] {
    FollowProgress(reports.get(), [&](const Progress& report) {
      if (report.event == "saved" && !report.name.empty()) saved[report.name] = report.descriptor;
      if (progress) progress(report);
    });
  });
  Result<> done = RunTransfer(stubs_.get(), request, stop);
  if (!done.ok()) data->Cancel();
  sender.Join();
  if (!done.ok()) reports->Cancel();
  follower.Join();
  if (!sent.ok()) return std::move(sent).error();
  if (!done.ok()) return std::move(done).error();
  TRY(RemoveArchiveIndex(unnamed, &saved));
  std::vector<std::string> names;
  for (const auto& [name, descriptor] : saved) names.push_back(name);
  return names;
}

Result<> Containerd::Export(const std::vector<std::string>& names,
                            const std::vector<oci::Platform>& platforms, const WriteFunction& write,
                            const StopToken& stop) {
  auto data = TRY(Stream::Open(stubs_.get(), "export"));
  transfer::ImageStore source;
  CHECK(!names.empty());
  source.set_name(names.front());
  for (size_t i = 1; i < names.size(); ++i) source.add_extra_references()->set_name(names[i]);
  transfer::ImageExportStream destination;
  destination.set_stream(data->id());
  for (const oci::Platform& platform : platforms) {
    SetPlatform(platform, destination.add_platforms());
  }
  destination.set_all_platforms(platforms.empty());
  containerd::services::transfer::v1::TransferRequest request;
  *request.mutable_source() = Pack(source);
  *request.mutable_destination() = Pack(destination);
  Result<> received;
  Worker receiver;
  receiver.Run([&] {
    received = ReceiveAll(data.get(), write);
    if (!received.ok()) data->Cancel();
  });
  Result<> done = RunTransfer(stubs_.get(), request, stop);
  if (!done.ok()) data->Cancel();
  receiver.Join();
  TRY(received);
  return done;
}

Result<> Containerd::UnpackImage(const std::string& name, const std::string& snapshotter,
                                 const oci::Platform& platform) {
  transfer::ImageStore source;
  source.set_name(name);
  transfer::ImageStore destination = source;
  SetUnpack(&destination, snapshotter, platform);
  containerd::services::transfer::v1::TransferRequest request;
  *request.mutable_source() = Pack(source);
  *request.mutable_destination() = Pack(destination);
  return RunTransfer(stubs_.get(), request, StopToken());
}

Result<> Containerd::Pull(const PullRequest& pull, const ProgressCallback& progress,
                          const StopToken& stop) {
  Undo counted;
  counted.Push([this] { ++image_changes_; });
  RegistryCall call;
  transfer::OCIRegistry source =
      TRY(call.Open(stubs_.get(), pull.reference, pull.hosts_directory, pull.credentials));
  transfer::ImageStore destination;
  destination.set_name(pull.store_name);
  SetUnpack(&destination, pull.snapshotter, pull.platform);
  containerd::services::transfer::v1::TransferRequest request;
  *request.mutable_source() = Pack(source);
  *request.mutable_destination() = Pack(destination);
  return call.Run(stubs_.get(), std::move(request), progress, stop);
}

Result<> Containerd::Push(const PushRequest& push, const ProgressCallback& progress,
                          const StopToken& stop) {
  RegistryCall call;
  transfer::OCIRegistry destination =
      TRY(call.Open(stubs_.get(), push.reference, push.hosts_directory, push.credentials));
  transfer::ImageStore source;
  source.set_name(push.store_name);
  if (push.platform) SetPlatform(*push.platform, source.add_platforms());
  containerd::services::transfer::v1::TransferRequest request;
  *request.mutable_source() = Pack(source);
  *request.mutable_destination() = Pack(destination);
  return call.Run(stubs_.get(), std::move(request), progress, stop);
}

}  // namespace gantry::client
