// SPDX-License-Identifier: Apache-2.0
//
// ttrpc (containerd's small RPC over unix sockets): unary calls, payloads are bytes.
//
// TtrpcServer: the shim's and gantry-containerd's listener. Everything runs in the loop's thread.
// A handler may answer at once or keep the call and answer later.
//
// TtrpcClient: Call() and CallAsync() from any thread; replies are read, and callbacks run, in the
// thread of the loop given to Connect, which must outlive the client. Call() blocks and so must not
// be used in that thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "wire/ttrpc_frame.h"

namespace gantry::wire {

class TtrpcServerConnection;

// One call to a server. Copyable; all copies are the same call.
class TtrpcCall {
 public:
  TtrpcCall(std::weak_ptr<TtrpcServerConnection> connection, uint32_t stream, TtrpcRequest request);

  const std::string& service() const { return state_->request.service; }
  const std::string& method() const { return state_->request.method; }
  const std::string& payload() const { return state_->request.payload; }
  // Metadata value, or "".
  std::string_view Metadata(std::string_view key) const;
  // Answers once; an answer to a peer that is gone is dropped. A call whose last copy dies
  // unanswered is answered with an error.
  void Reply(Result<std::string> result) const;

 private:
  struct State {
    ~State();
    void Reply(const Result<std::string>& result);

    std::weak_ptr<TtrpcServerConnection> connection;
    uint32_t stream = 0;
    TtrpcRequest request;
    bool answered = false;
  };
  std::shared_ptr<State> state_;
};

class TtrpcServer {
 public:
  using Handler = std::function<void(TtrpcCall call)>;

  // `listener` is a listening unix socket; connections of other users than root and our own are
  // refused. `handler` gets every call.
  static Result<std::unique_ptr<TtrpcServer>> Create(EventLoop* loop, UniqueFd listener,
                                                     Handler handler);
  ~TtrpcServer();
  // Connections that are open.
  size_t connections() const { return connections_.size(); }
  // Bytes of answers that the peers have not taken yet.
  size_t PendingBytes() const;

 private:
  friend class TtrpcServerConnection;
  TtrpcServer(EventLoop* loop, UniqueFd listener, Handler handler);
  void Accept();
  void Forget(TtrpcServerConnection* connection);

  EventLoop* loop_;
  UniqueFd listener_;
  Handler handler_;
  std::unordered_map<TtrpcServerConnection*, std::shared_ptr<TtrpcServerConnection>> connections_;
};

class TtrpcClient {
 public:
  using Callback = std::function<void(Result<std::string>)>;

  // `path`: of a unix socket, with or without "unix://". `on_close` runs once in the loop's thread
  // when the connection ends by the peer or an error, not when the client is destroyed. `metadata`
  // goes with every call: runc's shim wants "containerd-namespace-ttrpc".
  using Metadata = std::vector<std::pair<std::string, std::string>>;
  static Result<std::unique_ptr<TtrpcClient>> Connect(EventLoop* loop, const std::string& path,
                                                      std::function<void()> on_close,
                                                      Metadata metadata = {});
  ~TtrpcClient();

  // Blocks; a timeout of 0 waits for ever. Kind kDeadlineExceeded when the time is up,
  // kUnavailable ("ttrpc: closed") when the connection ended.
  Result<std::string> Call(std::string_view service, std::string_view method,
                           std::string_view payload, std::chrono::nanoseconds timeout);
  // `callback` runs once in the loop's thread; never inside this call.
  void CallAsync(std::string_view service, std::string_view method, std::string_view payload,
                 std::chrono::nanoseconds timeout, Callback callback);

 private:
  class Connection;
  TtrpcClient(std::shared_ptr<Connection> connection, Metadata metadata);
  std::shared_ptr<Connection> connection_;
  const Metadata metadata_;
};

}  // namespace gantry::wire
