// SPDX-License-Identifier: Apache-2.0
//
// The HTTP/1.1 server (docs/connections.md): one loop thread accepts and holds idle connections and
// unfinished heads; a request is handled on a worker; parked answers live on a second loop. It
// knows no nouns: one handler takes every request. Any thread may call Listen and Stop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "wire/http_exchange.h"
#include "wire/loop_thread.h"
#include "wire/worker_pool.h"

namespace gantry::wire {

class HttpServer : public std::enable_shared_from_this<HttpServer> {
 public:
  // Called on a worker. An exchange that it neither answers nor takes gets status 500.
  using Handler = std::function<void(Exchange&)>;

  // `parked` is the loop of parked answers; both outlive the server.
  static Result<std::shared_ptr<HttpServer>> Create(WorkerPool& workers, EventLoop& parked,
                                                    Handler handler);
  ~HttpServer();

  // "unix:///path" (mode 0660, group `group` where it exists) or "tcp://host:port".
  Result<> Listen(const std::string& url, const std::string& group);
  // Turns an accepted connection into the one that is served, such as TlsServer::Wrap does. Called
  // in the loop's thread; must not block.
  using Wrapper = std::function<Result<UniqueFd>(UniqueFd accepted)>;
  // A socket that listens already.
  Result<> Adopt(UniqueFd listener, Wrapper wrap = nullptr);
  // Takes connections that begin with HTTP/2's preface (RFC 9113, section 3.4); called on a worker.
  // Before the first Listen or Adopt; without it they are bad requests.
  using Http2Taker = std::function<void(UniqueFd socket)>;
  void HandHttp2To(Http2Taker taker) { http2_ = std::move(taker); }
  // Closes listeners and idle connections; requests that compute are finished.
  void Stop();

  EventLoop& parked_loop() { return parked_; }
  // Any thread: the connection waits for its next request.
  void Resume(std::unique_ptr<ServerConnection> connection);

 private:
  HttpServer(WorkerPool& workers, EventLoop& parked, Handler handler,
             std::unique_ptr<LoopThread> thread);
  EventLoop& loop() { return thread_->loop(); }
  // In the loop's thread.
  void Accept(BorrowedFd listener, const Wrapper& wrap);
  void Hold(std::unique_ptr<ServerConnection> connection);
  void OnReadable(int fd);
  void Drop(int fd);
  void Sweep();
  // On a worker.
  void Serve(std::unique_ptr<ServerConnection> connection);
  // False when the connection was closed or taken.
  bool ServeOne(std::unique_ptr<ServerConnection>* connection);
  bool AwaitNext(ServerConnection* connection);

  WorkerPool& workers_;
  EventLoop& parked_;
  const Handler handler_;
  Http2Taker http2_;
  // Only in the loop's thread.
  std::vector<UniqueFd> listeners_;
  std::unordered_map<int, std::unique_ptr<ServerConnection>> held_;
  std::unique_ptr<LoopThread> thread_;
};

}  // namespace gantry::wire
