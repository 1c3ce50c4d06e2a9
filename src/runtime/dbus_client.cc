// SPDX-License-Identifier: Apache-2.0
#include "runtime/dbus_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/io.h"
#include "kernel/pty.h"

namespace gantry::runtime {
namespace {

using formats::DbusMessage;
using formats::DbusType;

struct ErrorName {
  std::string_view name;
  ErrorKind kind;
};

constexpr ErrorName kErrorNames[] = {
    {"org.freedesktop.systemd1.NoSuchUnit", ErrorKind::kNotFound},
    {"org.freedesktop.systemd1.UnitExists", ErrorKind::kAlreadyExists},
    {"org.freedesktop.DBus.Error.AccessDenied", ErrorKind::kPermissionDenied},
    {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", ErrorKind::kPermissionDenied},
};

Error ToError(const DbusMessage& message) {
  ErrorKind kind = ErrorKind::kUnknown;
  for (const ErrorName& known : kErrorNames) {
    if (message.error_name == known.name) kind = known.kind;
  }
  std::string_view words = message.body.empty() ? std::string_view() : message.body[0].Text();
  return MakeError(kind, "{} ({})", words, message.error_name);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "%xx" stands for a byte.
std::string Unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool escape = text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
                  HexDigit(text[i + 2]) >= 0;
    if (!escape) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
    i += 2;
  }
  return out;
}

}  // namespace

Result<std::string> SocketOfBusAddress(std::string_view address) {
  constexpr std::string_view kPath = "unix:path=";
  std::string_view rest = address;
  while (!rest.empty()) {
    std::string_view one = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    if (!one.starts_with(kPath)) continue;
    std::string_view value = one.substr(kPath.size());
    return Unescaped(value.substr(0, value.find(',')));
  }
  return InvalidArgument("the bus's address '{}' is not a unix socket's path", address);
}

Result<DbusClient> DbusClient::Connect(const std::string& socket, std::chrono::milliseconds limit) {
  DbusClient client(TRY(kernel::ConnectUnix(socket)), SteadyClock::now() + limit);
  ::fcntl(client.socket_.get(), F_SETFL, O_NONBLOCK);
  TRY_WITH(client.Authenticate(), "the bus '{}'", socket);
  DbusMessage hello;
  hello.destination = hello.interface = "org.freedesktop.DBus";
  hello.path = "/org/freedesktop/DBus";
  hello.member = "Hello";
  TRY_WITH(client.Call(std::move(hello)), "the bus '{}'", socket);
  return client;
}

// "Authentication Protocol". No user is named, so that the one of the socket's peer credentials is
// taken: inside of a user namespace our own number for it would be another.
Result<> DbusClient::Authenticate() {
  // The NUL byte is the protocol's first.
  TRY(Send(std::string(1, '\0') + "AUTH EXTERNAL\r\nDATA\r\n"));
  for (int lines = 0; lines < 3; ++lines) {
    size_t end;
    while ((end = buffer_.find("\r\n")) == std::string::npos) {
      if (buffer_.size() > 1024) return InvalidArgument("authenticating: the answer is too long");
      TRY(Fill(buffer_.size() + 1));
    }
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    if (line.starts_with("OK ")) return Send("BEGIN\r\n");
    if (!line.starts_with("DATA")) {
      return MakeError(ErrorKind::kUnauthenticated, "authenticating: '{}'", line);
    }
  }
  return MakeError(ErrorKind::kUnauthenticated, "authenticating: no answer");
}

Result<> DbusClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - SteadyClock::now());
      pollfd room{socket_.get(), POLLOUT, 0};
      if (left.count() <= 0 || ::poll(&room, 1, static_cast<int>(left.count())) == 0) {
        return MakeError(ErrorKind::kDeadlineExceeded, "sending to the bus: it does not read");
      }
    } else if (errno != EINTR) {
      return ErrnoError("sending to the bus");
    }
  }
  return {};
}

Result<> DbusClient::Fill(size_t size) {
  while (buffer_.size() < size) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - SteadyClock::now());
    pollfd ready{socket_.get(), POLLIN, 0};
    int count = left.count() > 0 ? ::poll(&ready, 1, static_cast<int>(left.count())) : 0;
    if (count == 0) {
      return MakeError(ErrorKind::kDeadlineExceeded, "waiting for the bus: no answer in time");
    }
    if (count < 0 && errno != EINTR) return ErrnoError("waiting for the bus");
    if (count < 0) continue;
    char chunk[4096];
    size_t got = TRY(ReadSome(socket_, chunk, sizeof chunk));
    if (got == 0) return Unavailable("reading from the bus: it has closed the connection");
    buffer_.append(chunk, got);
  }
  return {};
}

Result<DbusMessage> DbusClient::Receive() {
  TRY(Fill(formats::kDbusFixedHeader));
  size_t size = TRY(formats::DbusMessageSize(buffer_));
  TRY(Fill(size));
  DbusMessage message = TRY(formats::DecodeDbus(std::string_view(buffer_).substr(0, size)));
  buffer_.erase(0, size);
  return message;
}

Result<std::vector<formats::DbusValue>> DbusClient::Call(DbusMessage call) {
  call.type = DbusType::kCall;
  call.serial = ++serial_;
  TRY(Send(formats::EncodeDbus(call)));
  for (;;) {
    DbusMessage message = TRY(Receive());
    if (message.type == DbusType::kSignal) {
      signals_.push_back(std::move(message));
    } else if (message.reply_serial == call.serial && message.type == DbusType::kReturn) {
      return std::move(message.body);
    } else if (message.reply_serial == call.serial && message.type == DbusType::kError) {
      return ToError(message);
    }
  }
}

Result<DbusMessage> DbusClient::NextSignal() {
  while (signals_.empty()) {
    DbusMessage message = TRY(Receive());
    if (message.type == DbusType::kSignal) signals_.push_back(std::move(message));
  }
  DbusMessage signal = std::move(signals_.front());
  signals_.pop_front();
  return signal;
}

}  // namespace gantry::runtime
