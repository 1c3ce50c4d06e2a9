// SPDX-License-Identifier: Apache-2.0
#include "etcd/client.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>

#include <atomic>
#include <thread>
#include <utility>

#include "base/io.h"
#include "base/mutex.h"
#include "etcd/rpc.grpc.pb.h"

namespace gantry::etcd {
namespace {

namespace api = etcdserverpb;

constexpr std::chrono::seconds kBound{10};  // of one call
constexpr int kReconnectMs = 100;
constexpr int kKeepAliveMs = 10'000;
constexpr int kMaxMessageBytes = 64 << 20;

Error ToError(const grpc::Status& status) {
  return Error(static_cast<ErrorKind>(status.error_code()),
               fmt::format("etcd: {}", status.error_message()));
}

// The first key after all that begin so.
std::string EndOf(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::string(1, '\0');
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

KeyValue FromProto(const mvccpb::KeyValue& item) {
  return {item.key(), item.value(), item.lease()};
}

api::Compare ToProto(const Guard& guard) {
  api::Compare compare;
  compare.set_key(guard.key);
  compare.set_result(api::Compare::EQUAL);
  if (guard.kind == Guard::Kind::kValue) {
    compare.set_target(api::Compare::VALUE);
    compare.set_value(guard.value);
    return compare;
  }
  // What is not there was created at revision 0.
  compare.set_target(api::Compare::CREATE);
  compare.set_create_revision(0);
  if (guard.kind == Guard::Kind::kPresent) compare.set_result(api::Compare::GREATER);
  if (guard.kind == Guard::Kind::kNothingBelow) compare.set_range_end(EndOf(guard.key));
  return compare;
}

api::RequestOp ToProto(const Change& change) {
  api::RequestOp op;
  if (!change.put) {
    op.mutable_request_delete_range()->set_key(change.key);
    return op;
  }
  api::PutRequest* put = op.mutable_request_put();
  put->set_key(change.key);
  put->set_value(change.value);
  put->set_lease(change.lease);
  return op;
}

Result<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const Options& options) {
  if (options.ca.empty() && options.certificate.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions files;
  if (!options.ca.empty()) files.pem_root_certs = TRY(ReadFile(options.ca));
  if (!options.certificate.empty()) {
    files.pem_cert_chain = TRY(ReadFile(options.certificate));
    files.pem_private_key = TRY(ReadFile(options.key));
  }
  return grpc::SslCredentials(files);
}

struct Member {
  explicit Member(std::shared_ptr<grpc::Channel> channel)
      : kv(api::KV::NewStub(channel)),
        watch(api::Watch::NewStub(channel)),
        lease(api::Lease::NewStub(channel)),
        auth(api::Auth::NewStub(channel)) {}
  std::unique_ptr<api::KV::Stub> kv;
  std::unique_ptr<api::Watch::Stub> watch;
  std::unique_ptr<api::Lease::Stub> lease;
  std::unique_ptr<api::Auth::Stub> auth;
};

// Cancels a call while it lives once the token stops: a blocking read of a stream sees no
// descriptor.
class CancelOnStop {
 public:
  CancelOnStop(const StopToken& stop, grpc::ClientContext* context, StopSource done)
      : done_(std::move(done)), thread_([stop, context, done = done_.token()] {
          pollfd both[] = {{stop.fd().get(), POLLIN, 0}, {done.fd().get(), POLLIN, 0}};
          while (::poll(both, 2, -1) < 0) {
          }
          if (stop.stop_requested()) context->TryCancel();
        }) {}
  ~CancelOnStop() {
    done_.RequestStop();
    thread_.join();
  }

 private:
  StopSource done_;
  std::thread thread_;
};

class GrpcClient : public Client {
 public:
  GrpcClient(Options options, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : options_(std::move(options)) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 10 * kReconnectMs);
    // A watch says nothing for hours: a host that vanished is found out by a ping.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveMs);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    for (const std::string& member : options_.members) {
      members_.push_back(
          std::make_unique<Member>(grpc::CreateCustomChannel(member, credentials, arguments)));
    }
  }

  Result<Listing> List(std::string_view prefix) override {
    api::RangeRequest request;
    request.set_key(std::string(prefix));
    request.set_range_end(EndOf(prefix));
    api::RangeResponse response;
    TRY(Call([&](Member& member, grpc::ClientContext* context) {
      return member.kv->Range(context, request, &response);
    }));
    Listing listing;
    listing.revision = response.header().revision();
    for (const auto& item : response.kvs()) listing.items.push_back(FromProto(item));
    return listing;
  }

  Result<bool> Commit(const std::vector<Guard>& guards,
                      const std::vector<Change>& changes) override {
    api::TxnRequest request;
    for (const Guard& guard : guards) *request.add_compare() = ToProto(guard);
    for (const Change& change : changes) *request.add_success() = ToProto(change);
    api::TxnResponse response;
    auto done = Call([&](Member& member, grpc::ClientContext* context) {
      return member.kv->Txn(context, request, &response);
    });
    // Nothing else of a transaction can be missing.
    if (!done.ok() && done.error().kind() == ErrorKind::kNotFound) {
      return FailedPrecondition("{}", done.error().message());
    }
    TRY(std::move(done));
    return response.succeeded();
  }

  Result<int64_t> Grant(std::chrono::seconds life) override {
    api::LeaseGrantRequest request;
    request.set_ttl(life.count());
    api::LeaseGrantResponse response;
    TRY(Call([&](Member& member, grpc::ClientContext* context) {
      return member.lease->LeaseGrant(context, request, &response);
    }));
    if (!response.error().empty()) return Internal("etcd: {}", response.error());
    return response.id();
  }

  Result<bool> Renew(int64_t lease) override {
    api::LeaseKeepAliveRequest request;
    request.set_id(lease);
    api::LeaseKeepAliveResponse response;
    TRY(Call([&](Member& member, grpc::ClientContext* context) {
      auto stream = member.lease->LeaseKeepAlive(context);
      bool answered = stream->Write(request) && stream->WritesDone() && stream->Read(&response);
      grpc::Status status = stream->Finish();
      if (answered || !status.ok()) return answered ? grpc::Status::OK : status;
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "a renewal without an answer");
    }));
    return response.ttl() > 0;
  }

  Result<> Revoke(int64_t lease) override {
    api::LeaseRevokeRequest request;
    request.set_id(lease);
    api::LeaseRevokeResponse response;
    return Call([&](Member& member, grpc::ClientContext* context) {
      return member.lease->LeaseRevoke(context, request, &response);
    });
  }

  Result<> Watch(const std::string& prefix, int64_t revision, const StopToken& stop,
                 const Changed& changed) override {
    grpc::ClientContext context;
    TRY(Authorize(&context));
    CancelOnStop canceller(stop, &context, TRY(StopSource::Create()));
    auto stream = members_[current_]->watch->Watch(&context);
    api::WatchRequest request;
    api::WatchCreateRequest* create = request.mutable_create_request();
    create->set_key(prefix);
    create->set_range_end(EndOf(prefix));
    create->set_start_revision(revision + 1);
    stream->Write(request);
    api::WatchResponse response;
    bool forgotten = false;
    while (stream->Read(&response)) {
      if (response.canceled()) {
        forgotten = response.compact_revision() > 0;
        context.TryCancel();
        break;
      }
      std::vector<Event> events;
      for (const auto& event : response.events()) {
        events.push_back({event.type() == mvccpb::Event::DELETE, FromProto(event.kv())});
      }
      if (!events.empty()) changed(events);
    }
    grpc::Status status = stream->Finish();
    if (stop.stop_requested()) return {};
    if (forgotten) return MakeError(ErrorKind::kOutOfRange, "etcd: watching what was compacted");
    PassOver(current_);
    return status.ok() ? Error(ErrorKind::kUnavailable, "etcd: a watch ended") : ToError(status);
  }

 private:
  // Asks one member after the other, beginning with the one that answered last.
  template <typename Method>
  Result<> Call(Method method) {
    grpc::Status status;
    std::string_view asked;
    for (size_t tried = 0; tried < members_.size(); ++tried) {
      size_t index = current_;
      asked = options_.members[index];
      grpc::ClientContext context;
      TRY(Authorize(&context));
      context.set_deadline(std::chrono::system_clock::now() + kBound);
      status = method(*members_[index], &context);
      if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) ForgetToken();
      bool away = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                  status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
      if (!away) break;
      PassOver(index);
    }
    if (status.ok()) return {};
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      return MakeError(ErrorKind::kUnavailable, "etcd: {} gave no answer within {} s", asked,
                       kBound.count());
    }
    return ToError(status);
  }

  void PassOver(size_t index) {
    current_.compare_exchange_strong(index, (index + 1) % members_.size());
  }

  Result<> Authorize(grpc::ClientContext* context) {
    if (options_.user.empty()) return {};
    MutexLock lock(mutex_);
    if (token_.empty()) {
      grpc::ClientContext asking;
      asking.set_deadline(std::chrono::system_clock::now() + kBound);
      api::AuthenticateRequest request;
      request.set_name(options_.user);
      request.set_password(options_.password);
      api::AuthenticateResponse response;
      grpc::Status status = members_[current_]->auth->Authenticate(&asking, request, &response);
      if (!status.ok()) return ToError(status);
      token_ = response.token();
    }
    context->AddMetadata("token", token_);
    return {};
  }

  void ForgetToken() {
    MutexLock lock(mutex_);
    token_.clear();
  }

  const Options options_;
  std::vector<std::unique_ptr<Member>> members_;
  std::atomic<size_t> current_ = 0;
  Mutex mutex_;
  std::string token_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<Client>> Client::Create(const Options& options) {
  CHECK(!options.members.empty());
  auto credentials = TRY_WITH(Credentials(options), "reading the files of etcd's TLS");
  return std::unique_ptr<Client>(std::make_unique<GrpcClient>(options, credentials));
}

}  // namespace gantry::etcd
