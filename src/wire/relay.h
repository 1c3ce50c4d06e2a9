// SPDX-License-Identifier: Apache-2.0
//
// Joins a hijacked client connection to a process's attach socket (docs/shim-io.md), on an event
// loop, for as long as the process has output or the client listens:
//
//   client  <-- frames, spliced as they are, or raw text --  attach socket
//   client  --  bytes, put into frames of type 0         -->  attach socket
//
// A client that is there before the process starts waits without an attach socket. The client's
// half-close ends stdin and nothing else. Any thread may call the public functions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace gantry::wire {

enum class RelayForm {
  kFrames,  // docker's multiplexed stream
  kRaw,     // the bytes alone: a terminal
};

enum class RelayEnd {
  kProcess,   // no more output
  kClient,    // the client has hung up
  kDetached,  // the client typed the detach keys
};

struct RelayOptions {
  UniqueFd client;       // non-blocking
  std::string received;  // what the client sent with its request
  RelayForm form = RelayForm::kFrames;
  bool wants_stdin = false;
  std::string detach_keys;  // the bytes that detach; empty: none do
  // Called once, in the loop's thread, with the client's socket; must not block.
  std::function<void(RelayEnd, UniqueFd client)> ended;
};

class Relay : public std::enable_shared_from_this<Relay> {
 public:
  // From now on the client's end is noticed.
  static std::shared_ptr<Relay> Start(EventLoop& loop, RelayOptions options);
  ~Relay();

  // The attach socket, after its handshake; non-blocking.
  void Connect(UniqueFd process);
  // Ends the relay as if the process had.
  void Close();

 private:
  Relay(EventLoop& loop, RelayOptions options);
  void Begin();
  void Join(UniqueFd process);
  void OnClient(uint32_t events);
  void OnProcess(uint32_t events);
  // Both move what they can without blocking; false ends the relay.
  bool MoveOutput();
  bool HeadIsRead();
  bool MoveOutputFrames();
  bool MoveOutputRaw();
  bool MoveInput();
  // Puts client bytes into a frame, without the detach keys; false when they are complete.
  bool TakeInput(std::string_view data);
  void UpdateWatches();
  void End(RelayEnd how);

  EventLoop& loop_;
  RelayOptions options_;
  UniqueFd process_;
  UniqueFd pipe_read_;
  UniqueFd pipe_write_;
  size_t in_pipe_ = 0;
  std::string output_;  // raw form: text that the client has not taken
  size_t output_sent_ = 0;
  std::string frame_rest_;  // raw form: an unfinished frame head
  size_t frame_left_ = 0;   // raw form: bytes of the present frame
  std::string input_;       // frames that the process's side has not taken
  size_t input_sent_ = 0;
  size_t keys_matched_ = 0;
  bool client_ended_ = false;  // half-closed
  bool output_blocked_ = false;
  bool process_ended_ = false;
  bool process_watched_ = false;
  bool waits_for_head_ = false;
  bool edges_watched_ = false;
  bool ended_ = false;
};

}  // namespace gantry::wire
