// SPDX-License-Identifier: Apache-2.0
#include "buildkit/session.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "buildkit/agent_forward.h"
#include "buildkit/rpc.h"
#include "buildkit/tree_receiver.h"
#include "buildkit/tree_sender.h"
#include "containerd/services/content/v1/content.grpc.pb.h"
#include "moby/buildkit/secrets.grpc.pb.h"
#include "moby/filesync/auth.grpc.pb.h"
#include "moby/filesync/filesync.grpc.pb.h"
#include "moby/filesync/upload.grpc.pb.h"
#include "moby/sshforward/ssh.grpc.pb.h"
#include "wire/url.h"
#include "wire/worker_pool.h"

namespace gantry::buildkit {
namespace {

constexpr std::chrono::seconds kAnswerBound{30};
// What Docker Hub is called in a client's configuration.
constexpr std::string_view kHubKey = "https://index.docker.io/v1/";
constexpr const char* kFileSend = "/moby.filesync.v1.FileSend/DiffCopy";
constexpr const char* kStoreKey = "buildkit-attachable-store-id";
constexpr const char* kExporterKey = "buildkit-attachable-exporter-id";

// Bytes as messages of a size that every client takes.
class MessageSink : public ByteSink {
 public:
  using BytesMessage = moby::filesync::v1::BytesMessage;
  using Stream = grpc::ClientReaderWriterInterface<BytesMessage, BytesMessage>;

  explicit MessageSink(Stream& stream) : stream_(stream) {}
  Result<> Write(std::string_view data) override {
    while (!data.empty()) {
      size_t size = std::min(data.size(), kPiece - pending_.size());
      pending_ += data.substr(0, size);
      data.remove_prefix(size);
      if (pending_.size() == kPiece) TRY(Flush());
    }
    return {};
  }
  Result<> Flush() {
    if (pending_.empty()) return {};
    BytesMessage message;
    bytes_ += static_cast<int64_t>(pending_.size());
    message.set_data(std::exchange(pending_, {}));
    if (stream_.Write(message)) return {};
    return MakeError(ErrorKind::kUnavailable, "the client's session broke");
  }
  int64_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kPiece = size_t{256} << 10;
  Stream& stream_;
  std::string pending_;
  int64_t bytes_ = 0;
};

}  // namespace

bool Session::alive() const {
  // A channel that was made of a descriptor has no state to be asked for.
  pollfd poll{connection_.get(), POLLRDHUP, 0};
  return ::poll(&poll, 1, 0) == 0;
}

Result<Received> Session::Receive(const Directory& directory, BorrowedFd root,
                                  const StopToken& stop) {
  grpc::ClientContext context;
  auto add = [&](const char* key, const std::vector<std::string>& values) {
    bool plain = true;
    for (const std::string& value : values) plain = plain && IsAscii(value);
    for (const std::string& value : values) {
      context.AddMetadata(key, plain ? value : wire::PercentEncode(value));
    }
    if (!plain) context.AddMetadata(std::string(key) + "-encoded", "1");
  };
  add("dir-name", {directory.name});
  add("exclude-patterns", directory.excludes);
  add("followpaths", directory.followed);
  add("include-patterns", directory.includes);
  CancelWith cancel(context, stop);
  auto stub = moby::filesync::v1::FileSync::NewStub(channel_);
  auto stream = stub->DiffCopy(&context);
  wire::WorkerPool::Blocked blocked;
  TreeReceiver receiver(
      root, directory.updates ? TreeReceiver::Root::kHasEarlier : TreeReceiver::Root::kEmpty,
      directory.told);
  GrpcPackets packets(*stream);
  Result<> received = receiver.Run(packets);
  if (!received.ok()) context.TryCancel();
  grpc::Status status = stream->Finish();
  if (!received.ok()) {
    // When the stream broke the status says why.
    bool broke = received.error().kind() == ErrorKind::kUnavailable && !status.ok();
    return broke ? ToResult(status).error() : std::move(received).error();
  }
  TRY(ToResult(status));
  return Received{receiver.bytes(), receiver.size()};
}

Result<client::Credentials> Session::FindLogin(const std::string& registry, const StopToken& stop) {
  if (!Serves("/moby.filesync.v1.Auth/Credentials")) return client::Credentials{};
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswerBound);
  CancelWith cancel(context, stop);
  moby::filesync::v1::CredentialsRequest request;
  request.set_host(registry == "docker.io" ? std::string(kHubKey) : registry);
  moby::filesync::v1::CredentialsResponse response;
  auto stub = moby::filesync::v1::Auth::NewStub(channel_);
  TRY_WITH(ToResult(stub->Credentials(&context, request, &response)), "asking for a login of {}",
           registry);
  client::Credentials login;
  // Without a name the secret is an identity token.
  (response.username().empty() ? login.identity_token : login.secret) = response.secret();
  login.username = response.username();
  return login;
}

Result<std::string> Session::Secret(const std::string& name, const StopToken& stop) {
  if (!Serves("/moby.buildkit.secrets.v1.Secrets/GetSecret")) {
    return NotFound("secret {}: not found", name);
  }
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswerBound);
  CancelWith cancel(context, stop);
  moby::buildkit::secrets::v1::GetSecretRequest request;
  request.set_id(name);
  moby::buildkit::secrets::v1::GetSecretResponse response;
  auto stub = moby::buildkit::secrets::v1::Secrets::NewStub(channel_);
  TRY_WITH(ToResult(stub->GetSecret(&context, request, &response)), "secret {}", name);
  return response.data();
}

Result<> Session::FindAgent(const std::string& name, const StopToken& stop) {
  if (!Serves("/moby.sshforward.v1.SSH/CheckAgent")) {
    return NotFound("the client forwards no ssh agent");
  }
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswerBound);
  CancelWith cancel(context, stop);
  moby::sshforward::v1::CheckAgentRequest request;
  request.set_id(name);
  moby::sshforward::v1::CheckAgentResponse response;
  auto stub = moby::sshforward::v1::SSH::NewStub(channel_);
  wire::WorkerPool::Blocked blocked;
  Result<> found = ToResult(stub->CheckAgent(&context, request, &response));
  if (found.ok() || found.error().kind() == ErrorKind::kCancelled) return found;
  // Clients have no code for an agent that is not there.
  return NotFound("{}", found.error().message());
}

std::shared_ptr<void> Session::ServeAgent(const std::string& name, UniqueFd listener) {
  return std::make_shared<AgentForward>(channel_, name, std::move(listener));
}

Result<> Session::ReadBlob(const StoredBlob& blob,
                           const std::function<Result<>(std::string_view piece)>& take,
                           const StopToken& stop) {
  namespace content = containerd::services::content::v1;
  if (!Serves("/containerd.services.content.v1.Content/Read")) {
    return NotFound("the client's session has no content store");
  }
  if (!IsAscii(blob.store)) return InvalidArgument("invalid name of a store: '{}'", blob.store);
  grpc::ClientContext context;
  context.AddMetadata(kStoreKey, blob.store);
  CancelWith cancel(context, stop);
  content::ReadContentRequest request;
  request.set_digest(blob.digest);
  auto reader = content::Content::NewStub(channel_)->Read(&context, request);
  wire::WorkerPool::Blocked blocked;
  content::ReadContentResponse piece;
  Result<> taken;
  while (taken.ok() && reader->Read(&piece)) taken = take(piece.data());
  if (!taken.ok()) context.TryCancel();
  grpc::Status status = reader->Finish();
  TRY(taken);
  TRY_WITH(ToResult(status), "reading {} from the client", blob.digest);
  return {};
}

Result<> Session::PullUpload(const std::string& path,
                             const std::function<Result<>(std::string_view piece)>& take,
                             const StopToken& stop) {
  if (!Serves("/moby.upload.v1.Upload/Pull")) {
    return NotFound("the client's session hands nothing over");
  }
  if (!IsAscii(path)) return InvalidArgument("invalid path of an upload: '{}'", path);
  grpc::ClientContext context;
  context.AddMetadata("urlpath", path);
  CancelWith cancel(context, stop);
  auto stream = moby::upload::v1::Upload::NewStub(channel_)->Pull(&context);
  stream->WritesDone();
  wire::WorkerPool::Blocked blocked;
  moby::upload::v1::BytesMessage piece;
  Result<> taken;
  while (taken.ok() && stream->Read(&piece)) taken = take(piece.data());
  if (!taken.ok()) context.TryCancel();
  grpc::Status status = stream->Finish();
  TRY(taken);
  return ToResult(status);
}

Result<> Session::WriteBlob(const StoredBlob& blob, int64_t size, const ReadPart& read,
                            const StopToken& stop) {
  namespace content = containerd::services::content::v1;
  if (!Serves("/containerd.services.content.v1.Content/Write")) {
    return NotFound("the client's session takes no blobs");
  }
  if (!IsAscii(blob.store)) return InvalidArgument("invalid name of a store: '{}'", blob.store);
  grpc::ClientContext context;
  context.AddMetadata(kStoreKey, blob.store);
  CancelWith cancel(context, stop);
  auto stream = content::Content::NewStub(channel_)->Write(&context);
  wire::WorkerPool::Blocked blocked;
  content::WriteContentRequest request;
  // A write of its own: what an earlier one has left says nothing.
  request.set_ref("gantry-" + RandomHex(8));
  request.set_total(size);
  request.set_expected(blob.digest);
  content::WriteContentResponse answer;
  auto send = [&]() -> Result<> {
    if (stream->Write(request) && stream->Read(&answer)) return {};
    return MakeError(ErrorKind::kUnavailable, "the client's session broke");
  };
  request.set_action(content::WRITE);
  Result<> written = read(0, static_cast<uint64_t>(size), [&](std::string_view piece) -> Result<> {
    request.set_data(piece.data(), piece.size());
    TRY(send());
    request.set_offset(request.offset() + static_cast<int64_t>(piece.size()));
    return {};
  });
  if (written.ok()) {
    request.set_action(content::COMMIT);
    request.clear_data();
    written = send();
  }
  stream->WritesDone();
  bool broke = !written.ok() && written.error().kind() == ErrorKind::kUnavailable;
  if (!written.ok() && !broke) context.TryCancel();
  // The end of a call comes behind all messages, also those that nobody waits for.
  while (stream->Read(&answer)) {
  }
  grpc::Status status = stream->Finish();
  if (!written.ok() && !broke) return written;
  if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) return {};
  TRY_WITH(ToResult(status), "writing {} to the client", blob.digest);
  return written;
}

Result<> Session::CheckTakesFiles() const {
  if (Serves(kFileSend)) return {};
  return FailedPrecondition("the client takes no files: its session has no {}", kFileSend);
}

Result<int64_t> Session::SendFile(int exporter, const std::map<std::string, std::string>& told,
                                  const std::function<Result<>(ByteSink& sink)>& write,
                                  const StopToken& stop) {
  TRY(CheckTakesFiles());
  grpc::ClientContext context;
  context.AddMetadata(kExporterKey, std::to_string(exporter));
  for (const auto& [key, value] : told) context.AddMetadata("exporter-md-" + key, value);
  CancelWith cancel(context, stop);
  auto stream = moby::filesync::v1::FileSend::NewStub(channel_)->DiffCopy(&context);
  wire::WorkerPool::Blocked blocked;
  MessageSink sink(*stream);
  Result<> written = write(sink);
  if (written.ok()) written = sink.Flush();
  if (!written.ok()) context.TryCancel();
  stream->WritesDone();
  moby::filesync::v1::BytesMessage answer;
  while (stream->Read(&answer)) {
  }
  grpc::Status status = stream->Finish();
  if (!written.ok()) {
    bool broke = written.error().kind() == ErrorKind::kUnavailable && !status.ok();
    return broke ? ToResult(status).error() : std::move(written).error();
  }
  TRY_WITH(ToResult(status), "sending the result to the client");
  return sink.bytes();
}

Result<int64_t> Session::SendTrees(int exporter, std::vector<SentTree> trees,
                                   const StopToken& stop) {
  TRY(CheckTakesFiles());
  grpc::ClientContext context;
  context.AddMetadata(kExporterKey, std::to_string(exporter));
  CancelWith cancel(context, stop);
  // One method whose messages depend on what the client does with them, which no generated stub
  // can say: fsutil's packets here.
  using Packet = fsutil::types::Packet;
  grpc::internal::RpcMethod method(kFileSend, grpc::internal::RpcMethod::BIDI_STREAMING, channel_);
  std::unique_ptr<grpc::ClientReaderWriter<Packet, Packet>> stream(
      grpc::internal::ClientReaderWriterFactory<Packet, Packet>::Create(channel_.get(), method,
                                                                        &context));
  wire::WorkerPool::Blocked blocked;
  TreeSender sender(std::move(trees));
  GrpcPackets packets(*stream);
  Result<> sent = sender.Run(packets);
  grpc::Status status = stream->Finish();
  if (!sent.ok()) {
    bool broke = sent.error().kind() == ErrorKind::kUnavailable && !status.ok();
    return broke ? ToResult(status).error() : std::move(sent).error();
  }
  TRY_WITH(ToResult(status), "sending the result to the client");
  return sender.bytes();
}

Result<> Sessions::Add(SessionHead head, UniqueFd connection) {
  UniqueFd watched(::fcntl(connection.get(), F_DUPFD_CLOEXEC, 3));
  if (!watched.valid()) return ErrnoError("duplicating a session's connection");
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateInsecureChannelFromFd("session", connection.Release());
  MutexLock lock(mutex_);
  Sweep();
  std::string id = head.id;
  sessions_[id] =
      std::make_shared<Session>(std::move(head), std::move(channel), std::move(watched));
  added_.NotifyAll();
  return {};
}

void Sessions::Sweep() {
  std::erase_if(sessions_, [](const auto& entry) { return !entry.second->alive(); });
}

Result<std::shared_ptr<Session>> Sessions::Find(const std::string& id,
                                                std::chrono::milliseconds bound) {
  wire::WorkerPool::Blocked blocked;
  auto deadline = SteadyClock::now() + bound;
  MutexLock lock(mutex_);
  for (;;) {
    Sweep();
    auto found = sessions_.find(id);
    if (found != sessions_.end()) return found->second;
    auto left = deadline - SteadyClock::now();
    if (left <= left.zero()) return NotFound("no active session for {}", id);
    (void)added_.WaitFor(mutex_, left);
  }
}

}  // namespace gantry::buildkit
