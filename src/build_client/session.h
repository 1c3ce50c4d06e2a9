// SPDX-License-Identifier: Apache-2.0
//
// What the command line serves to the engine while a build runs (POST /session, docs/build.md):
// directories, logins, secrets, ssh agents, caches, places for results. One thread: the loop's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "build_client/directory_sender.h"
#include "build_client/result_receiver.h"
#include "wire/grpc_connection.h"

namespace gantry::build_client {

struct Login {
  std::string user;
  std::string secret;  // without a user: an identity token
};

// What there is to serve.
struct Offers {
  std::map<std::string, std::shared_ptr<const SharedDirectory>> directories;
  std::map<int, ResultTarget> results;  // by the exporter's number
  // An empty one when the user has none at that registry ("docker.io", "localhost:5000").
  std::function<Result<Login>(const std::string& registry)> find_login;
  // What they are is read when it is asked for.
  std::map<std::string, std::function<Result<std::string>()>> secrets;
  std::map<std::string, std::string> agents;  // sockets by id
  std::map<std::string, std::string> caches;  // directories by the names of their stores
};

class Session {
 public:
  Session(EventLoop& loop, Offers offers) : loop_(loop), offers_(std::move(offers)) {}

  // What the engine may call, "/moby.filesync.v1.FileSync/DiffCopy".
  std::vector<std::string> Methods() const;
  // The connection that POST /session has given; calls are answered while the loop runs.
  Result<> Begin(UniqueFd socket, std::string_view received);
  int64_t bytes_sent() const { return connection_ == nullptr ? 0 : connection_->bytes_sent(); }

 private:
  using Call = std::shared_ptr<wire::GrpcCall>;
  void Serve(const Call& call);
  void SendDirectory(const Call& call);
  void TakeResult(const Call& call);
  void Forward(const Call& call);
  void ServeCache(const Call& call);
  Result<std::string> FindLogin(std::string_view request);
  Result<std::string> FindSecret(std::string_view request);
  Result<std::string> FindAgent(std::string_view request);

  EventLoop& loop_;
  const Offers offers_;
  std::unique_ptr<wire::GrpcConnection> connection_;
};

}  // namespace gantry::build_client
