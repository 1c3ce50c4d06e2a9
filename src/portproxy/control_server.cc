// SPDX-License-Identifier: Apache-2.0
#include "portproxy/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/io.h"
#include "base/log.h"
#include "formats/proxy_message.h"

namespace gantry::portproxy {
namespace {

constexpr size_t kMaxDescriptors = 8;  // more than any message has

}  // namespace

Result<UniqueFd> ListenOnControlSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("socket path '{}' is longer than {} bytes", path,
                           sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoError("opening a socket");
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  // The mode is right from the first moment: nobody connects in between.
  mode_t old = ::umask(0177);
  int bound = ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  ::umask(old);
  if (bound < 0) return ErrnoError("binding '{}'", path);
  if (::listen(socket.get(), 16) < 0) return ErrnoError("listening on '{}'", path);
  return socket;
}

Result<std::unique_ptr<ControlServer>> ControlServer::Create(EventLoop* loop, UniqueFd listener,
                                                             PortTable* ports,
                                                             ResolverTable* resolvers) {
  std::unique_ptr<ControlServer> server(
      new ControlServer(loop, std::move(listener), ports, resolvers));
  auto* raw = server.get();
  TRY(loop->Watch(raw->listener_, EPOLLIN, [raw](uint32_t) { raw->Accept(); }));
  return server;
}

ControlServer::~ControlServer() {
  loop_->Unwatch(listener_);
  for (auto& [fd, client] : clients_) loop_->Unwatch(client.fd);
}

void ControlServer::Accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    if (errno != EAGAIN && errno != EINTR) {
      log::Failure("{}", ErrnoError("accepting a control connection").message());
    }
    return;
  }
  int number = fd.get();
  auto watched =
      loop_->Watch(fd, EPOLLIN, [this, number](uint32_t events) { OnClient(number, events); });
  if (!watched.ok()) return log::Failure("{}", watched.error().message());
  clients_[number].fd = std::move(fd);
}

void ControlServer::OnClient(int fd, uint32_t events) {
  Client& client = clients_[fd];
  auto served = Serve(&client, events);
  if (served.ok()) return;
  if (served.error().kind() != ErrorKind::kCancelled) {
    log::Warning("{}", served.error().AddContext("control connection").message());
  }
  loop_->Unwatch(client.fd);
  clients_.erase(fd);
}

// What is there to read, with the descriptors that came along; 0 at the end.
Result<size_t> ControlServer::Receive(Client* client) {
  char buffer[16384];
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  iovec data{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = ::recvmsg(client->fd.get(), &message, MSG_CMSG_CLOEXEC);
  if (size < 0) return ErrnoError("reading a control connection");
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
       item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
      client->descriptors.emplace_back(fd);
    }
  }
  client->input.append(buffer, static_cast<size_t>(size));
  return static_cast<size_t>(size);
}

// kCancelled: the client has gone.
Result<> ControlServer::Serve(Client* client, uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP)) != 0) {
    if (TRY(Receive(client)) == 0) return MakeError(ErrorKind::kCancelled, "closed");
    while (client->input.size() >= 4) {
      size_t length = TRY(formats::ProxyMessageSize(client->input));
      if (client->input.size() < 4 + length) break;
      TRY(Answer(client, std::string_view(client->input).substr(4, length)));
      client->input.erase(0, 4 + length);
    }
  }
  while (!client->output.empty()) {
    ssize_t sent = ::send(client->fd.get(), client->output.data(), client->output.size(),
                          MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) return loop_->SetEvents(client->fd, EPOLLIN | EPOLLOUT);
    if (sent < 0) return ErrnoError("answering");
    client->output.erase(0, static_cast<size_t>(sent));
  }
  if (client->stop_after_output) loop_->Stop();
  return loop_->SetEvents(client->fd, EPOLLIN);
}

Result<> ControlServer::Answer(Client* client, std::string_view body) {
  formats::ProxyRequest request = TRY(formats::DecodeProxyRequest(body));
  formats::ProxyReply reply;
  std::vector<UniqueFd> descriptors = std::exchange(client->descriptors, {});
  auto note = [&](const Result<>& result) {
    if (result.ok()) return;
    reply.failure = formats::ProxyFailure{};
    reply.failure->message = result.error().message();
  };
  switch (request.operation) {
    case formats::ProxyOperation::kSet:
      reply = ports_->Set(request.owner, request.listeners);
      break;
    case formats::ProxyOperation::kList:
      reply.owners = ports_->List();
      break;
    case formats::ProxyOperation::kResolver:
      note(resolvers_->Set(request.resolver, std::move(descriptors)));
      break;
    case formats::ProxyOperation::kEndpoint:
      note(resolvers_->Set(request.endpoint));
      break;
    case formats::ProxyOperation::kNames:
      resolvers_->List(&reply);
      break;
    case formats::ProxyOperation::kStop:
      client->stop_after_output = true;
      break;
  }
  client->output += formats::EncodeProxyReply(reply);
  return {};
}

}  // namespace gantry::portproxy
