// SPDX-License-Identifier: Apache-2.0
//
// gRPC (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md) over one HTTP/2 connection, for programs that
// link no gRPC: calls that we make or, as the server, those that the peer makes. Messages are not
// compressed; HTTP/2 itself is nghttp2's. One thread: the event loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"

struct nghttp2_session;

namespace gantry::wire {

using GrpcMetadata = std::vector<std::pair<std::string, std::string>>;

class GrpcConnection;

// One call, of either side. Handlers may be set until the loop goes on; they may do anything with
// the call, and with others.
class GrpcCall {
 public:
  // "/package.Service/Method"
  const std::string& method() const { return method_; }
  // What the caller says beside its messages: all values of a name, or the first one.
  std::vector<std::string> Values(std::string_view name) const;
  std::string Value(std::string_view name) const;

  void Send(std::string_view message);
  // Bytes that wait for the peer.
  size_t unsent() const { return out_.size() - out_sent_; }
  // The caller sends no more.
  void EndSends();
  // The server's answer is complete. Once.
  void Finish(const Result<>& status);
  void Cancel();

  std::function<void(std::string_view message)> on_message;
  // The caller sends no more messages.
  std::function<void()> on_last_message;
  // Little waits for the peer: more may be sent.
  std::function<void()> on_writable;
  // Once, with the call's status; nothing comes after it.
  std::function<void(const Result<>& status)> on_end;

 private:
  friend class GrpcConnection;
  GrpcCall(GrpcConnection* connection, int32_t stream) : connection_(connection), stream_(stream) {}
  Result<> Take(std::string_view data);
  void TakeHeader(std::string_view name, std::string_view value);
  Result<> EndStatus(uint32_t http2_error) const;

  GrpcConnection* connection_;  // nullptr once it is closed
  int32_t stream_;
  std::string method_;
  GrpcMetadata metadata_;
  std::string in_;
  std::string out_;
  size_t out_sent_ = 0;
  bool sends_ended_ = false;
  bool is_served_ = false;
  bool ended_ = false;
  int grpc_status_ = -1;
  std::string grpc_message_;
  std::string http_status_;
  Result<> answer_;
};

class GrpcConnection {
 public:
  // A call of the peer begins: `serve` sets its handlers, or finishes it.
  using Serve = std::function<void(const std::shared_ptr<GrpcCall>& call)>;

  // `socket` is connected; `received` came with the answer to the upgrade. The loop outlives it.
  static Result<std::unique_ptr<GrpcConnection>> Connect(EventLoop& loop, UniqueFd socket,
                                                         std::string_view received);
  static Result<std::unique_ptr<GrpcConnection>> Accept(EventLoop& loop, UniqueFd socket,
                                                        std::string_view received, Serve serve);
  ~GrpcConnection();
  GrpcConnection(const GrpcConnection&) = delete;
  GrpcConnection& operator=(const GrpcConnection&) = delete;

  std::shared_ptr<GrpcCall> Call(const std::string& method, const GrpcMetadata& metadata);
  // A call with one message each way. `then` gets the answer.
  std::shared_ptr<GrpcCall> CallOnce(const std::string& method, std::string_view request,
                                     std::function<void(Result<std::string> answer)> then);

  // Bytes that went over the socket to the peer.
  int64_t bytes_sent() const { return bytes_sent_; }
  // The peer has hung up; calls have ended before.
  std::function<void(const Error& why)> on_close;

 private:
  friend class GrpcCall;
  struct Callbacks;
  GrpcConnection(EventLoop& loop, UniqueFd socket, Serve serve)
      : loop_(loop), socket_(std::move(socket)), serve_(std::move(serve)) {}
  static Result<std::unique_ptr<GrpcConnection>> Begin(EventLoop& loop, UniqueFd socket,
                                                       std::string_view received, Serve serve,
                                                       bool is_server);
  void Ready(uint32_t events);
  void Receive();
  Result<> Take(std::string_view bytes);
  // Gives the socket what it takes, and asks calls for more.
  void Pump();
  Result<> Write();
  bool AskWriters();
  void Resume(int32_t stream);
  void Close(const Error& why);
  std::shared_ptr<GrpcCall> Find(int32_t stream);

  EventLoop& loop_;
  UniqueFd socket_;
  const Serve serve_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::shared_ptr<GrpcCall>> calls_;
  std::string pending_;  // what the socket has not taken
  bool busy_ = false;    // within Pump or Take
  bool waits_ = false;   // for the socket
  int64_t bytes_sent_ = 0;
};

}  // namespace gantry::wire
