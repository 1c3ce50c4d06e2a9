// SPDX-License-Identifier: Apache-2.0
#include "build_client/session.h"

#include "base/number.h"
#include "build_client/agent.h"
#include "build_client/cache_directory.h"
#include "formats/protobuf_wire.h"
#include "moby/buildkit/secrets.plain.h"
#include "moby/filesync/auth.plain.h"
#include "moby/sshforward/ssh.plain.h"

namespace gantry::build_client {
namespace {

namespace filesync = plain::moby::filesync::v1;
namespace secrets = plain::moby::buildkit::secrets::v1;
namespace sshforward = plain::moby::sshforward::v1;

constexpr std::string_view kFiles = "/moby.filesync.v1.FileSync/DiffCopy";
constexpr std::string_view kResults = "/moby.filesync.v1.FileSend/DiffCopy";
constexpr std::string_view kLogins = "/moby.filesync.v1.Auth/Credentials";
constexpr std::string_view kSecrets = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
constexpr std::string_view kCheckAgent = "/moby.sshforward.v1.SSH/CheckAgent";
constexpr std::string_view kForwardAgent = "/moby.sshforward.v1.SSH/ForwardAgent";
constexpr std::string_view kReadBlob = "/containerd.services.content.v1.Content/Read";
constexpr std::string_view kWriteBlob = "/containerd.services.content.v1.Content/Write";
// An engine that gets no answer gives the session up.
constexpr std::string_view kHealth = "/grpc.health.v1.Health/Check";
// HealthCheckResponse with status SERVING.
constexpr std::string_view kServing("\x08\x01", 2);

// One message each way.
void Answer(const std::shared_ptr<wire::GrpcCall>& call,
            std::function<Result<std::string>(std::string_view request)> work) {
  wire::GrpcCall* at = call.get();
  call->on_message = [at, work = std::move(work)](std::string_view request) {
    Result<std::string> answer = work(request);
    if (!answer.ok()) return at->Finish(answer.error());
    at->Send(*answer);
    at->Finish({});
  };
}

}  // namespace

std::vector<std::string> Session::Methods() const {
  std::vector<std::string> out{std::string(kHealth), std::string(kFiles), std::string(kLogins)};
  if (!offers_.results.empty()) out.emplace_back(kResults);
  if (!offers_.secrets.empty()) out.emplace_back(kSecrets);
  if (!offers_.agents.empty()) {
    out.emplace_back(kCheckAgent);
    out.emplace_back(kForwardAgent);
  }
  if (!offers_.caches.empty()) {
    out.emplace_back(kReadBlob);
    out.emplace_back(kWriteBlob);
  }
  return out;
}

Result<> Session::Begin(UniqueFd socket, std::string_view received) {
  connection_ = TRY(wire::GrpcConnection::Accept(loop_, std::move(socket), received,
                                                 [this](const Call& call) { Serve(call); }));
  return {};
}

void Session::Serve(const Call& call) {
  const std::string& method = call->method();
  if (method == kFiles) return SendDirectory(call);
  if (method == kResults) return TakeResult(call);
  if (method == kForwardAgent) return Forward(call);
  if (method == kReadBlob || method == kWriteBlob) return ServeCache(call);
  if (method == kHealth) {
    return Answer(call, [](std::string_view) { return std::string(kServing); });
  }
  if (method == kLogins) {
    return Answer(call, [this](std::string_view request) { return FindLogin(request); });
  }
  if (method == kSecrets) {
    return Answer(call, [this](std::string_view request) { return FindSecret(request); });
  }
  if (method == kCheckAgent) {
    return Answer(call, [this](std::string_view request) { return FindAgent(request); });
  }
  call->Finish(Unimplemented("unknown method {}", method));
}

void Session::SendDirectory(const Call& call) {
  std::string name = call->Value("dir-name");
  auto found = offers_.directories.find(name);
  if (found == offers_.directories.end()) {
    return call->Finish(NotFound("no access allowed to dir \"{}\"", name));
  }
  DirectorySender::Serve(call, found->second);
}

void Session::TakeResult(const Call& call) {
  // Engines that know one exporter only name none.
  int number = ParseNumber<int>(call->Value("buildkit-attachable-exporter-id")).value_or(0);
  auto found = offers_.results.find(number);
  if (found == offers_.results.end()) {
    return call->Finish(NotFound("there is no place for the result of exporter {}", number));
  }
  ReceiveResult(call, found->second);
}

void Session::Forward(const Call& call) {
  std::string id = call->Value("buildkit.ssh.id");
  auto found = offers_.agents.find(id.empty() ? "default" : id);
  if (found == offers_.agents.end()) return call->Finish(NotFound("unset ssh forward key {}", id));
  ForwardAgent(loop_, call, found->second);
}

void Session::ServeCache(const Call& call) {
  std::string store = call->Value("buildkit-attachable-store-id");
  auto found = offers_.caches.find(store);
  if (found == offers_.caches.end()) return call->Finish(NotFound("there is no store {}", store));
  if (call->method() == kReadBlob) return ServeCacheRead(call, found->second);
  ServeCacheWrite(call, found->second);
}

Result<std::string> Session::FindLogin(std::string_view request) {
  auto asked = TRY(formats::ProtoDecode<filesync::CredentialsRequest>(request));
  Login login = TRY(offers_.find_login(asked.Host));
  filesync::CredentialsResponse answer;
  answer.Username = login.user;
  answer.Secret = login.secret;
  return formats::ProtoEncode(answer);
}

Result<std::string> Session::FindSecret(std::string_view request) {
  auto asked = TRY(formats::ProtoDecode<secrets::GetSecretRequest>(request));
  auto found = offers_.secrets.find(asked.ID);
  if (found == offers_.secrets.end()) return NotFound("secret {} not found", asked.ID);
  secrets::GetSecretResponse answer;
  answer.data = TRY(found->second());
  return formats::ProtoEncode(answer);
}

Result<std::string> Session::FindAgent(std::string_view request) {
  auto asked = TRY(formats::ProtoDecode<sshforward::CheckAgentRequest>(request));
  if (!offers_.agents.contains(asked.ID.empty() ? "default" : asked.ID)) {
    return NotFound("unset ssh forward key {}", asked.ID);
  }
  return formats::ProtoEncode(sshforward::CheckAgentResponse());
}

}  // namespace gantry::build_client
