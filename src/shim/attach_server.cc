// SPDX-License-Identifier: Apache-2.0
#include "shim/attach_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace gantry::shim {

namespace {

// Beside what is left for a slow client: what the socket holds already.
constexpr int kSocketSlack = 512 << 10;

}  // namespace

struct AttachServer::Client {
  UniqueFd fd;
  std::string request;  // until it is whole
  bool accepted = false;
  AttachRequest wants;
  FrameParser frames;
  std::string unread;       // stdin that the process does not take yet
  std::string unsent;       // output that the client does not take yet
  bool input_over = false;  // nothing more comes from the client
  bool input_told = false;  // on_input_end was called for it
  bool gone = false;        // hung up: writing is in vain
  uint32_t watched = 0;
  bool watching = false;
};

Result<std::unique_ptr<AttachServer>> AttachServer::Create(EventLoop* loop, std::string path,
                                                           Owner owner) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return InvalidArgument("making attach socket '{}': longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  std::unique_ptr<AttachServer> server(new AttachServer(loop, path, std::move(owner)));
  server->listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!server->listener_.valid()) return ErrnoError("making a socket");
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) {
    return ErrnoError("removing old attach socket '{}'", path);
  }
  // The mode of the descriptor is what bind(2) gives to the file, whatever the umask.
  ::fchmod(server->listener_.get(), 0600);
  if (::bind(server->listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(server->listener_.get(), 16) < 0) {
    return ErrnoError("making attach socket '{}'", path);
  }
  ::chmod(path.c_str(), 0600);
  AttachServer* self = server.get();
  TRY(loop->Watch(server->listener_, EPOLLIN, [self](uint32_t) { self->Accept(); }));
  return server;
}

AttachServer::AttachServer(EventLoop* loop, std::string path, Owner owner)
    : loop_(loop), path_(std::move(path)), owner_(std::move(owner)) {}

AttachServer::~AttachServer() {
  for (const auto& client : std::vector<std::shared_ptr<Client>>(clients_)) {
    LeaveRest(client);
    if (client->watching) loop_->Unwatch(client->fd);
  }
  if (!listener_.valid()) return;
  loop_->Unwatch(listener_);
  ::unlink(path_.c_str());
}

void AttachServer::Accept() {
  auto client = std::make_shared<Client>();
  client->fd = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client->fd.valid()) return;
  clients_.push_back(client);
  UpdateWatch(client);
}

bool AttachServer::MayRead(const Client& client) const {
  return !client.input_over && client.unread.empty() &&
         !(input_blocked_ && client.wants.wants_stdin);
}

// Not watching at all is the only way not to hear of a hang-up again and again.
void AttachServer::UpdateWatch(const std::shared_ptr<Client>& client) {
  if (!client->fd.valid()) return;
  uint32_t wanted = 0;
  if (MayRead(*client)) wanted |= EPOLLIN;
  if (!client->unsent.empty()) wanted |= EPOLLOUT;
  if (client->watching && client->watched == wanted && (wanted != 0 || !client->gone)) return;
  Result<> done;
  if (wanted == 0 && client->gone) {
    loop_->Unwatch(client->fd);
    client->watching = false;
  } else if (client->watching) {
    done = loop_->SetEvents(client->fd, wanted);
  } else {
    done = loop_->Watch(client->fd, wanted,
                        [this, client](uint32_t events) { OnEvents(client, events); });
    client->watching = true;
  }
  client->watched = wanted;
  if (!done.ok()) Drop(client);
}

void AttachServer::OnEvents(const std::shared_ptr<Client>& held, uint32_t events) {
  // The callback that owns `held` dies when the client is dropped.
  std::shared_ptr<Client> client = held;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    client->gone = true;
    client->unsent.clear();
  }
  if ((events & EPOLLOUT) != 0 && !client->gone) Flush(client);
  if (client->fd.valid() && MayRead(*client) && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
    ReadFrom(client);
  if (client->fd.valid() && client->gone && client->input_over) Drop(client);
  UpdateWatch(client);
  AfterProgress();
}

void AttachServer::ReadFrom(const std::shared_ptr<Client>& client) {
  char buffer[16384];
  ssize_t got = ::read(client->fd.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    EndInput(client);
    // An end before the whole request is nobody's client.
    if (!client->accepted || got < 0) Drop(client);
    return;
  }
  std::string_view input(buffer, static_cast<size_t>(got));
  if (!client->accepted && !ReadRequest(client, &input)) return;
  TakeInput(client, input);
}

// True when the request is whole and granted; *input is what follows it.
bool AttachServer::ReadRequest(const std::shared_ptr<Client>& client, std::string_view* input) {
  size_t missing = std::min(kAttachRequestSize - client->request.size(), input->size());
  client->request.append(input->substr(0, missing));
  input->remove_prefix(missing);
  if (client->request.size() < kAttachRequestSize) return false;
  Result<AttachRequest> request = ParseAttachRequest(client->request);
  if (!request.ok()) {
    Answer(client, EINVAL);
    Drop(client);
    return false;
  }
  client->wants = *request;
  if (request->offset != kFromNow && !ring_.Reaches(request->offset)) {
    Answer(client, ERANGE);
    Drop(client);
    return false;
  }
  Answer(client, 0);
  client->accepted = true;
  if (request->offset != kFromNow) {
    ring_.Replay(request->offset, [&](StreamId stream, std::string_view bytes) {
      if (request->Wants(stream)) SendTo(client, stream, bytes);
    });
  }
  if (output_ended_ && client->unsent.empty()) Drop(client);
  return client->fd.valid();
}

void AttachServer::TakeInput(const std::shared_ptr<Client>& client, std::string_view input) {
  std::string_view bytes;
  while (client->frames.Next(&input, &bytes)) {
    if (!client->wants.wants_stdin) continue;
    if (owner_.on_input(bytes)) continue;
    input_blocked_ = true;  // the bytes are taken, but no more of them
    client->unread = input;
    break;
  }
  if (client->frames.broken()) return Drop(client);
  if (client->frames.ended() && client->unread.empty()) EndInput(client);
}

void AttachServer::EndInput(const std::shared_ptr<Client>& client) {
  // After a frame of size 0 the socket is read on, to see its end.
  if (!client->frames.ended() || client->input_told) client->input_over = true;
  if (std::exchange(client->input_told, true)) return;
  if (client->accepted && client->wants.wants_stdin) owner_.on_input_end();
}

void AttachServer::Answer(const std::shared_ptr<Client>& client, uint32_t error_number) {
  auto answer = AttachAnswer(error_number);
  // Eight bytes fit into a socket buffer that has taken nothing yet.
  (void)!::send(client->fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void AttachServer::Send(StreamId stream, std::string_view bytes) {
  ring_.Append(stream, bytes);
  for (size_t i = 0; i < clients_.size(); ++i) {
    std::shared_ptr<Client> client = clients_[i];
    if (client->accepted && !client->gone && client->wants.Wants(stream)) {
      SendTo(client, stream, bytes);
    }
  }
}

void AttachServer::SendTo(const std::shared_ptr<Client>& client, StreamId stream,
                          std::string_view bytes) {
  auto header = FrameHeader(stream, static_cast<uint32_t>(bytes.size()));
  size_t sent = 0;
  if (client->unsent.empty()) {
    iovec parts[2] = {{header.data(), header.size()},
                      {const_cast<char*>(bytes.data()), bytes.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t put = ::sendmsg(client->fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno != EAGAIN && errno != EINTR) {
      client->gone = true;  // its end is seen by the loop
      return;
    }
    sent = put < 0 ? 0 : static_cast<size_t>(put);
    if (sent == header.size() + bytes.size()) return;
  }
  if (sent < header.size()) {
    client->unsent.append(header.data() + sent, header.size() - sent);
    sent = 0;
  } else {
    sent -= header.size();
  }
  client->unsent.append(bytes.substr(sent));
  UpdateWatch(client);
}

void AttachServer::Flush(const std::shared_ptr<Client>& client) {
  size_t done = 0;
  while (done < client->unsent.size()) {
    ssize_t put = ::send(client->fd.get(), client->unsent.data() + done,
                         client->unsent.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) break;
    if (put < 0) {
      client->gone = true;
      done = client->unsent.size();
      break;
    }
    done += static_cast<size_t>(put);
  }
  client->unsent.erase(0, done);
  if (client->unsent.empty() && output_ended_) Drop(client);
}

// The process is deleted, and a slow client has still to get its last output: the kernel keeps it
// in the socket, also when this end is closed (unix(7)). It is bounded: one read and what the
// process's pipes held at its exit.
void AttachServer::LeaveRest(const std::shared_ptr<Client>& client) {
  if (client->unsent.empty() || client->gone) return;
  // The kernel counts its own bytes too, for each piece that it cuts the data into.
  int room = static_cast<int>(2 * client->unsent.size()) + kSocketSlack;
  if (::setsockopt(client->fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0) {
    (void)::setsockopt(client->fd.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  }
  Flush(client);
  if (!client->unsent.empty()) {
    log::Warning("'{}': a client loses its last {} bytes", path_, client->unsent.size());
  }
}

void AttachServer::Drop(const std::shared_ptr<Client>& held) {
  std::shared_ptr<Client> client = held;
  if (!client->fd.valid()) return;
  EndInput(client);
  if (client->watching) loop_->Unwatch(client->fd);
  client->watching = false;
  client->unsent.clear();
  client->fd.Reset();
  std::erase(clients_, client);
}

bool AttachServer::backlogged() const {
  return std::any_of(clients_.begin(), clients_.end(),
                     [](const auto& client) { return !client->unsent.empty(); });
}

void AttachServer::AfterProgress() {
  if (!backlogged()) owner_.on_drained();
}

void AttachServer::ResumeInput() {
  if (!std::exchange(input_blocked_, false)) return;
  for (const auto& client : std::vector<std::shared_ptr<Client>>(clients_)) {
    std::string unread = std::exchange(client->unread, {});
    if (!unread.empty()) TakeInput(client, unread);
    UpdateWatch(client);
    if (input_blocked_) return;
  }
}

void AttachServer::EndOutput() {
  output_ended_ = true;
  for (const auto& client : std::vector<std::shared_ptr<Client>>(clients_)) {
    if (client->accepted && client->unsent.empty()) Drop(client);
  }
}

}  // namespace gantry::shim
