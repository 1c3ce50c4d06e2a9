// SPDX-License-Identifier: Apache-2.0
//
// The client's side of HTTP/1.1 over unix and tcp sockets, blocking: one request after the other on
// a kept connection, bodies as streams both ways, and the raw socket under an upgraded connection.
//
//   HttpConnection connection = TRY(HttpConnection::Connect(endpoint));
//   TRY(connection.Send(request, body));
//   HttpResponse head = TRY(connection.ReceiveHead());
//   while (std::string_view piece = TRY(connection.ReadBody()); !piece.empty()) …
//
// Requests may be sent before the answers of earlier ones are read, if all bodies are read in
// order. One thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "wire/http_parser.h"

namespace gantry::wire {

struct Endpoint {
  enum class Scheme { kUnix, kTcp };
  Scheme scheme = Scheme::kUnix;
  std::string address;  // a path, or host:port
  std::string base_path;

  // "unix:///run/x.sock", "tcp://host:2375", "http://host:2375/base".
  static Result<Endpoint> Parse(std::string_view url);
  // What goes into the Host header.
  std::string HostHeader() const;
};

class HttpConnection {
 public:
  static Result<HttpConnection> Connect(const Endpoint& endpoint);
  // Over a socket that is connected already.
  explicit HttpConnection(UniqueFd socket);

  // Adds Content-Length when there is a body or the method calls for one; one system call.
  Result<> Send(HttpRequest request, std::string_view body = {});
  // Sends `source` to its end as the body: with its length if it is a regular file, else chunked.
  // Keeps reading what the server answers meanwhile; stops early, without an error, when the server
  // has answered and closed. `source` may be anything that can be read.
  Result<> SendFrom(HttpRequest request, BorrowedFd source);

  // The next answer's head; 1xx other than 101 are skipped. `method` is the request's.
  Result<HttpResponse> ReceiveHead(std::string_view method = "GET");
  // The next piece of the body; "" at its end. Valid until the next call. An early end is an error
  // of kind kUnavailable.
  Result<std::string_view> ReadBody();
  Result<std::string> ReadWholeBody(size_t limit);

  // Whether the last answer is read to its end and another request may follow; looks at the socket
  // for a close that has come meanwhile.
  bool Reusable();

  // Everything that the connection has: after 101, or 200 with a raw stream.
  struct Raw {
    UniqueFd socket;
    std::string received;  // bytes that came with the head
  };
  Raw Hijack() &&;

  BorrowedFd fd() const { return socket_; }

 private:
  Result<bool> Fill();
  std::string_view Waiting() const {
    return std::string_view(buffer_.data() + begin_, end_ - begin_);
  }

  UniqueFd socket_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  BodyFraming framing_ = BodyFraming::kNone;
  uint64_t left_ = 0;
  ChunkedDecoder chunks_;
  bool body_done_ = true;
  bool keep_alive_ = true;
};

}  // namespace gantry::wire
