// SPDX-License-Identifier: Apache-2.0
//
// One process's attach socket: accepts clients, sends them output frames, takes their stdin. A
// client that does not read makes backlogged() true; the owner then stops reading the process's
// output, so what waits here is at most one read. The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "shim/attach_protocol.h"
#include "shim/replay_ring.h"

namespace gantry::shim {

class AttachServer {
 public:
  struct Owner {
    // Takes bytes for stdin; false: it is full now, nothing more until ResumeInput.
    std::function<bool(std::string_view bytes)> on_input;
    // A client that had stdin has ended it or is gone.
    std::function<void()> on_input_end;
    // No client is behind any more.
    std::function<void()> on_drained;
  };

  // Makes the socket (mode 0600), replacing an old one at the path.
  static Result<std::unique_ptr<AttachServer>> Create(EventLoop* loop, std::string path,
                                                      Owner owner);
  ~AttachServer();

  void Send(StreamId stream, std::string_view bytes);
  bool backlogged() const;
  void ResumeInput();
  // No more output comes: each client is closed after its last byte.
  void EndOutput();

 private:
  struct Client;
  AttachServer(EventLoop* loop, std::string path, Owner owner);
  void Accept();
  bool MayRead(const Client& client) const;
  void OnEvents(const std::shared_ptr<Client>& client, uint32_t events);
  void ReadFrom(const std::shared_ptr<Client>& client);
  bool ReadRequest(const std::shared_ptr<Client>& client, std::string_view* input);
  void TakeInput(const std::shared_ptr<Client>& client, std::string_view input);
  void EndInput(const std::shared_ptr<Client>& client);
  void Answer(const std::shared_ptr<Client>& client, uint32_t error_number);
  void Flush(const std::shared_ptr<Client>& client);
  void LeaveRest(const std::shared_ptr<Client>& client);
  void Drop(const std::shared_ptr<Client>& client);
  void UpdateWatch(const std::shared_ptr<Client>& client);
  void SendTo(const std::shared_ptr<Client>& client, StreamId stream, std::string_view bytes);
  void AfterProgress();

  EventLoop* loop_;
  std::string path_;
  Owner owner_;
  UniqueFd listener_;
  std::vector<std::shared_ptr<Client>> clients_;
  ReplayRing ring_;
  bool input_blocked_ = false;
  bool output_ended_ = false;
};

}  // namespace gantry::shim
