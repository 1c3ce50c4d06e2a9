// SPDX-License-Identifier: Apache-2.0
#include "wire/grpc_connection.h"

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/io.h"
#include "base/number.h"

namespace gantry::wire {
namespace {

constexpr size_t kPrefix = 5;  // of a message: compressed or not, its length
constexpr size_t kMostMessage = size_t{64} << 20;
constexpr size_t kLowMark = size_t{256} << 10;
// How much a peer may send before it is read: results of builds are large.
constexpr int32_t kWindow = 4 << 20;

// The status text: RFC 3986's percent encoding of what is not printable.
std::string Encode(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string Decode(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    auto code = text[at] == '%' && at + 2 < text.size()
                    ? ParseNumber<uint8_t>(text.substr(at + 1, 2), 16)
                    : std::nullopt;
    out += code ? static_cast<char>(*code) : text[at];
    if (code) at += 2;
  }
  return out;
}

nghttp2_nv Header(std::string_view name, std::string_view value) {
  auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct GrpcConnection::Callbacks {
  static GrpcConnection* Self(void* user) { return static_cast<GrpcConnection*>(user); }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    bool is_request = frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    if (!is_request) return 0;
    GrpcConnection* self = Self(user);
    std::shared_ptr<GrpcCall> call(new GrpcCall(self, frame->hd.stream_id));
    call->is_served_ = true;
    self->calls_[frame->hd.stream_id] = std::move(call);
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    auto call = Self(user)->Find(frame->hd.stream_id);
    if (call == nullptr) return 0;
    call->TakeHeader({reinterpret_cast<const char*>(name), name_size},
                     {reinterpret_cast<const char*>(value), value_size});
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    GrpcConnection* self = Self(user);
    auto call = self->Find(frame->hd.stream_id);
    if (call == nullptr) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      nghttp2_data_provider body{{.ptr = call.get()}, ReadBody};
      nghttp2_nv headers[] = {Header(":status", "200"), Header("content-type", "application/grpc")};
      nghttp2_submit_response(session, call->stream_, headers, std::size(headers), &body);
      self->serve_(call);
    }
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (ends && call->is_served_ && call->on_last_message) call->on_last_message();
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t stream, const uint8_t* data,
                    size_t size, void* user) {
    auto call = Self(user)->Find(stream);
    if (call == nullptr) return 0;
    Result<> taken = call->Take({reinterpret_cast<const char*>(data), size});
    if (!taken.ok()) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_PROTOCOL_ERROR);
    }
    return 0;
  }

  static int OnStreamClose(nghttp2_session*, int32_t stream, uint32_t error, void* user) {
    GrpcConnection* self = Self(user);
    auto call = self->Find(stream);
    if (call == nullptr) return 0;
    self->calls_.erase(stream);
    call->connection_ = nullptr;
    call->ended_ = true;
    if (call->on_end) call->on_end(call->EndStatus(error));
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session* session, int32_t stream, uint8_t* buffer, size_t size,
                          uint32_t* flags, nghttp2_data_source* source, void*) {
    auto* call = static_cast<GrpcCall*>(source->ptr);
    size_t take = std::min(size, call->unsent());
    std::memcpy(buffer, call->out_.data() + call->out_sent_, take);
    call->out_sent_ += take;
    if (call->out_sent_ == call->out_.size()) {
      call->out_.clear();
      call->out_sent_ = 0;
    }
    if (call->unsent() > 0) return static_cast<ssize_t>(take);
    if (!call->sends_ended_ && take == 0) return NGHTTP2_ERR_DEFERRED;
    if (!call->sends_ended_) return static_cast<ssize_t>(take);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!call->is_served_) return static_cast<ssize_t>(take);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const Result<>& answer = call->answer_;
    std::string code = std::to_string(answer.ok() ? 0 : static_cast<int>(answer.error().kind()));
    std::string text = answer.ok() ? "" : Encode(answer.error().message());
    nghttp2_nv trailers[] = {Header("grpc-status", code), Header("grpc-message", text)};
    nghttp2_submit_trailer(session, stream, trailers, answer.ok() ? 1 : 2);
    return static_cast<ssize_t>(take);
  }
};

std::vector<std::string> GrpcCall::Values(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : metadata_) {
    if (key == name) out.push_back(value);
  }
  return out;
}

std::string GrpcCall::Value(std::string_view name) const {
  auto values = Values(name);
  return values.empty() ? "" : values[0];
}

void GrpcCall::TakeHeader(std::string_view name, std::string_view value) {
  if (name == ":path") {
    method_ = value;
  } else if (name == ":status") {
    http_status_ = value;
  } else if (name == "grpc-status") {
    grpc_status_ = ParseNumber<int>(value).value_or(-1);
  } else if (name == "grpc-message") {
    grpc_message_ = Decode(value);
  } else {
    metadata_.emplace_back(name, value);
  }
}

Result<> GrpcCall::Take(std::string_view data) {
  in_ += data;
  size_t at = 0;
  while (in_.size() - at >= kPrefix) {
    uint32_t size = 0;
    for (size_t i = 1; i < kPrefix; ++i) size = size << 8 | static_cast<uint8_t>(in_[at + i]);
    if (in_[at] != 0 || size > kMostMessage) return InvalidArgument("a bad message");
    if (in_.size() - at - kPrefix < size) break;
    if (on_message) on_message(std::string_view(in_).substr(at + kPrefix, size));
    at += kPrefix + size;
  }
  in_.erase(0, at);
  return {};
}

void GrpcCall::Send(std::string_view message) {
  if (connection_ == nullptr) return;
  char prefix[kPrefix] = {0};
  for (size_t i = 1; i < kPrefix; ++i) {
    prefix[i] = static_cast<char>(message.size() >> (8 * (kPrefix - 1 - i)));
  }
  // What was sent goes before it is many times what waits.
  if (out_sent_ > kLowMark) out_.erase(0, std::exchange(out_sent_, 0));
  out_.append(prefix, kPrefix).append(message);
  connection_->Resume(stream_);
}

void GrpcCall::EndSends() {
  if (connection_ == nullptr) return;
  sends_ended_ = true;
  connection_->Resume(stream_);
}

void GrpcCall::Finish(const Result<>& status) {
  answer_ = status;
  EndSends();
}

void GrpcCall::Cancel() {
  if (connection_ == nullptr) return;
  nghttp2_submit_rst_stream(connection_->session_, NGHTTP2_FLAG_NONE, stream_, NGHTTP2_CANCEL);
  connection_->Pump();
}

Result<> GrpcCall::EndStatus(uint32_t http2_error) const {
  if (grpc_status_ == 0) return {};
  if (grpc_status_ > 0 && grpc_status_ <= static_cast<int>(ErrorKind::kUnauthenticated)) {
    return Error(static_cast<ErrorKind>(grpc_status_), grpc_message_);
  }
  if (http2_error == NGHTTP2_CANCEL)
    return MakeError(ErrorKind::kCancelled, "the call was cancelled");
  if (is_served_ && http2_error == NGHTTP2_NO_ERROR) return {};
  if (!http_status_.empty() && http_status_ != "200") {
    return Unavailable("{} was answered with HTTP status {}", method_, http_status_);
  }
  return Unavailable("{} broke: {}", method_, nghttp2_http2_strerror(http2_error));
}

Result<std::unique_ptr<GrpcConnection>> GrpcConnection::Connect(EventLoop& loop, UniqueFd socket,
                                                                std::string_view received) {
  return Begin(loop, std::move(socket), received, {}, false);
}

Result<std::unique_ptr<GrpcConnection>> GrpcConnection::Accept(EventLoop& loop, UniqueFd socket,
                                                               std::string_view received,
                                                               Serve serve) {
  return Begin(loop, std::move(socket), received, std::move(serve), true);
}

Result<std::unique_ptr<GrpcConnection>> GrpcConnection::Begin(EventLoop& loop, UniqueFd socket,
                                                              std::string_view received,
                                                              Serve serve, bool is_server) {
  std::unique_ptr<GrpcConnection> self(
      new GrpcConnection(loop, std::move(socket), std::move(serve)));
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnStreamClose);
  int made = is_server ? nghttp2_session_server_new(&self->session_, callbacks, self.get())
                       : nghttp2_session_client_new(&self->session_, callbacks, self.get());
  nghttp2_session_callbacks_del(callbacks);
  if (made != 0) return Internal("beginning HTTP/2: {}", nghttp2_strerror(made));
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow}};
  nghttp2_submit_settings(self->session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(self->session_, NGHTTP2_FLAG_NONE, 0, kWindow);
  TRY(loop.Watch(self->socket_, EPOLLIN,
                 [at = self.get()](uint32_t events) { at->Ready(events); }));
  TRY(self->Take(received));
  self->Pump();
  return self;
}

GrpcConnection::~GrpcConnection() {
  for (auto& [stream, call] : calls_) call->connection_ = nullptr;
  if (socket_.valid()) loop_.Unwatch(socket_);
  nghttp2_session_del(session_);
}

std::shared_ptr<GrpcCall> GrpcConnection::Find(int32_t stream) {
  auto found = calls_.find(stream);
  return found == calls_.end() ? nullptr : found->second;
}

std::shared_ptr<GrpcCall> GrpcConnection::Call(const std::string& method,
                                               const GrpcMetadata& metadata) {
  std::shared_ptr<GrpcCall> call(new GrpcCall(this, 0));
  call->method_ = method;
  std::vector<nghttp2_nv> headers = {
      Header(":method", "POST"), Header(":scheme", "http"),
      Header(":path", method),   Header(":authority", "localhost"),
      Header("te", "trailers"),  Header("content-type", "application/grpc"),
  };
  for (const auto& [name, value] : metadata) headers.push_back(Header(name, value));
  nghttp2_data_provider body{{.ptr = call.get()}, Callbacks::ReadBody};
  int32_t stream =
      nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &body, nullptr);
  if (stream < 0 || !socket_.valid()) {
    call->connection_ = nullptr;
    loop_.Post([call] {
      if (call->on_end) call->on_end(Unavailable("{}: the connection is closed", call->method_));
    });
    return call;
  }
  call->stream_ = stream;
  calls_[stream] = call;
  return call;
}

std::shared_ptr<GrpcCall> GrpcConnection::CallOnce(
    const std::string& method, std::string_view request,
    std::function<void(Result<std::string> answer)> then) {
  auto call = Call(method, {});
  auto answer = std::make_shared<std::string>();
  call->on_message = [answer](std::string_view message) { *answer = message; };
  call->on_end = [answer, then = std::move(then)](const Result<>& status) {
    if (status.ok()) return then(std::move(*answer));
    then(status.error());
  };
  call->Send(request);
  call->EndSends();
  return call;
}

void GrpcConnection::Resume(int32_t stream) {
  nghttp2_session_resume_data(session_, stream);
  Pump();
}

void GrpcConnection::Ready(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Receive();
  if (socket_.valid()) Pump();
}

void GrpcConnection::Receive() {
  char buffer[65536];
  ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 0) return Close(ErrnoError("reading from the engine"));
  if (size == 0) return Close(Unavailable("the engine has closed the connection"));
  Result<> taken = Take({buffer, static_cast<size_t>(size)});
  if (!taken.ok()) Close(taken.error());
}

Result<> GrpcConnection::Take(std::string_view bytes) {
  busy_ = true;
  ssize_t taken = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                           bytes.size());
  busy_ = false;
  if (taken >= 0) return {};
  return Internal("the engine does not speak HTTP/2: {}",
                  nghttp2_strerror(static_cast<int>(taken)));
}

void GrpcConnection::Pump() {
  if (busy_ || !socket_.valid()) return;
  busy_ = true;
  Result<> written;
  do {
    written = Write();
  } while (written.ok() && pending_.empty() && AskWriters());
  busy_ = false;
  if (!written.ok()) return Close(written.error());
  // Also of a peer whose first bytes are no frame: nghttp2 takes them, says goodbye and is done.
  bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  if (over && pending_.empty()) {
    return Close(Unavailable("the engine has ended HTTP/2, or does not speak it"));
  }
  bool waits = !pending_.empty();
  if (waits == waits_) return;
  waits_ = waits;
  Result<> set = loop_.SetEvents(socket_, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
  if (!set.ok()) Close(set.error());
}

Result<> GrpcConnection::Write() {
  for (;;) {
    while (pending_.size() < kLowMark) {
      const uint8_t* data = nullptr;
      ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size < 0) return Internal("sending: {}", nghttp2_strerror(static_cast<int>(size)));
      if (size == 0) break;
      pending_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    }
    if (pending_.empty()) return {};
    ssize_t sent =
        ::send(socket_.get(), pending_.data(), pending_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return {};
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return ErrnoError("writing to the engine");
    bytes_sent_ += sent;
    pending_.erase(0, static_cast<size_t>(sent));
  }
}

bool GrpcConnection::AskWriters() {
  // A handler may end calls.
  auto calls = calls_;
  bool more = false;
  for (auto& [stream, call] : calls) {
    if (call->on_writable && call->unsent() < kLowMark && !call->sends_ended_) {
      size_t before = call->unsent();
      call->on_writable();
      more = more || call->unsent() > before || call->sends_ended_;
    }
  }
  return more;
}

void GrpcConnection::Close(const Error& why) {
  if (!socket_.valid()) return;
  loop_.Unwatch(socket_);
  socket_.Reset();
  auto calls = std::exchange(calls_, {});
  for (auto& [stream, call] : calls) {
    call->connection_ = nullptr;
    call->ended_ = true;
    // What was answered in full is no failure.
    Result<> status = call->grpc_status_ == 0 ? Result<>() : Result<>(why);
    if (call->on_end) call->on_end(status);
  }
  if (on_close) on_close(why);
}

}  // namespace gantry::wire
