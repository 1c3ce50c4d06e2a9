// SPDX-License-Identifier: Apache-2.0
//
// One request and its answer on the server's side. A handler runs on a worker thread, reads the
// body, and answers in one of four ways: whole (Respond), streamed (Begin, Write, Finish), parked
// (Park: it returns, and whoever holds the sink writes later), or hijacked (the socket is its own).
// One thread; ResponseSink: any thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/byte_stream.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "wire/http_parser.h"
#include "wire/socket_io.h"
#include "wire/url.h"

namespace gantry::wire {

class HttpServer;
class RequestBody;

// A connection of the server: with the loop while idle, with a worker while a request computes,
// with a ResponseSink while parked.
struct ServerConnection {
  UniqueFd socket;
  std::string received;  // bytes after what is parsed: body, or the next request
  HttpHeadParser parser{HttpHeadParser::Kind::kRequest};
  bool has_begun = false;              // the client has sent something
  SteadyClock::time_point deadline;    // for the loop: closed when it is over
  std::optional<Leftovers> leftovers;  // after an answer that ends it
};

// A parked answer that is written bit by bit, from any thread, without ever blocking.
class ResponseSink : public std::enable_shared_from_this<ResponseSink> {
 public:
  ResponseSink(EventLoop& loop, std::shared_ptr<HttpServer> server,
               std::unique_ptr<ServerConnection> connection, bool chunked, bool keep_alive);
  ~ResponseSink();

  // Queues one piece; false when the client is gone.
  bool Write(std::string_view data);
  // The answer ends here; later writes are dropped.
  void Finish();
  // Bytes that the socket has not taken yet.
  size_t queued() const;
  bool closed() const;

  // Both are called in the loop's thread and must not block. `gone`: the client has hung up (at
  // once if it had before); not called after Finish. `drained`: nothing is queued any more.
  void Watch(std::function<void()> gone, std::function<void()> drained = nullptr);

 private:
  void Flush() REQUIRES(mutex_);
  void OnEvents(uint32_t events);

  EventLoop& loop_;
  const std::shared_ptr<HttpServer> server_;
  const bool chunked_;
  const bool keep_alive_;
  mutable Mutex mutex_;
  std::unique_ptr<ServerConnection> connection_ GUARDED_BY(mutex_);
  std::string queue_ GUARDED_BY(mutex_);
  size_t sent_ GUARDED_BY(mutex_) = 0;  // of queue_
  bool finished_ GUARDED_BY(mutex_) = false;
  bool gone_ GUARDED_BY(mutex_) = false;
  bool settle_posted_ GUARDED_BY(mutex_) = false;
  std::function<void()> on_gone_ GUARDED_BY(mutex_);
  std::function<void()> on_drained_ GUARDED_BY(mutex_);
  // Only in the loop's thread.
  bool watched_ = false;
  void Settle();
};

class Exchange {
 public:
  Exchange(std::shared_ptr<HttpServer> server, std::unique_ptr<ServerConnection> connection,
           HttpRequest request, Target target);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const HttpRequest& request() const { return request_; }
  const std::string& path() const { return target_.path; }
  const Query& query() const { return target_.query; }

  // The body as a stream; the first read answers "Expect: 100-continue".
  ByteSource& body();
  // More than `limit` bytes: kInvalidArgument with EMSGSIZE. Too much by all requests together:
  // kUnavailable.
  Result<std::string> ReadBody(size_t limit = size_t{16} << 20);

  // Fields of the answer; set them before it begins.
  HttpHeaders& headers() { return headers_; }

  Result<> Respond(int status, std::string_view body = {});
  // A streamed answer: as long as the field Content-Length says that is set before, chunked, or to
  // the end of the connection for HTTP/1.0. Write blocks while the client is slow. One that is not
  // finished ends with the connection.
  Result<> Begin(int status);
  Result<> Write(std::string_view data);
  Result<> Finish();

  // Sends the head of a streamed answer; the exchange is over for the handler.
  Result<std::shared_ptr<ResponseSink>> Park(int status);

  struct Raw {
    UniqueFd socket;       // non-blocking
    std::string received;  // bytes that came after the request
  };
  // Sends a head without any framing, such as 101; the socket is the caller's.
  Result<Raw> Hijack(int status);

  bool begun() const { return state_ != State::kOpen; }
  // For waits beside the client's end (POLLRDHUP). Valid until parked or hijacked.
  BorrowedFd socket() const { return connection_->socket; }

 private:
  friend class HttpServer;
  enum class State { kOpen, kStreaming, kDone, kTaken };

  // Given back with the exchange.
  Result<> TakeBudget(size_t bytes);
  Result<std::string> FormatAnswer(int status, bool with_body);
  // What is left of the body is read and dropped; false when it is too much.
  bool SkipBody();

  std::shared_ptr<HttpServer> server_;
  std::unique_ptr<ServerConnection> connection_;
  HttpRequest request_;
  Target target_;
  HttpHeaders headers_;
  std::unique_ptr<RequestBody> body_;
  State state_ = State::kOpen;
  bool keep_alive_ = true;
  bool chunked_ = false;
  size_t body_size_ = 0;  // read by ReadBody
  size_t charged_ = 0;    // of that, to the budget of all bodies
};

}  // namespace gantry::wire
