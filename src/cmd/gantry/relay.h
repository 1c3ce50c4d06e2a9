// SPDX-License-Identifier: Apache-2.0
//
// Joins the user's standard streams to an attached container or exec over the raw socket: splits
// the multiplexed stream, forwards standard input and its end, watches for the detach keys, resizes
// the terminal, hands signals on. attach.cc, run.cc, exec.cc and start.cc call it. One thread.
//
// The multiplexed stream (Engine API, "attach"), when there is no terminal:
//
//   +--------+-------+------------------+=================+
//   | stream | 0 0 0 | size, big endian | size bytes …    |   stream: 1 stdout, 2 stderr,
//   +--------+-------+------------------+=================+           3 the daemon's error
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "wire/http_client.h"

namespace gantry::cli {

// Splits the multiplexed stream. Output goes straight to the descriptors.
class Demultiplexer {
 public:
  Demultiplexer(BorrowedFd out, BorrowedFd err) : out_(out), err_(err) {}
  // An error that the daemon put into the stream, or one of writing.
  Result<> Feed(std::string_view data);
  // Whether the stream may end here: not within a frame.
  bool complete() const { return header_size_ == 0 && left_ == 0; }

 private:
  // Takes complete frames and parts of frames; what is to be written may stay in gathered_.
  Result<> Parse(std::string_view data);
  Result<> Gather(BorrowedFd target, std::string_view piece);
  Result<> Flush();

  BorrowedFd out_;
  BorrowedFd err_;
  // Small frames in a row for one descriptor go out in one write.
  std::string gathered_;
  BorrowedFd gathered_for_;
  unsigned char header_[8] = {};
  size_t header_size_ = 0;
  uint32_t left_ = 0;
  int stream_ = 0;
  std::string daemon_error_;
};

// Finds the detach keys in typed input. Keys that begin the sequence are held back until the next
// one decides.
class DetachKeys {
 public:
  // "ctrl-p,ctrl-q", "a,ctrl-@"; "" is never found.
  static Result<DetachKeys> Parse(std::string_view text);
  // Appends what goes on to the container; true when the sequence is complete.
  bool Filter(std::string_view typed, std::string* passed_on);

 private:
  std::string keys_;
  size_t matched_ = 0;
};

struct RelayOptions {
  bool input = false;     // forward standard input
  bool terminal = false;  // the container has a terminal: raw stream, raw mode
  bool output = true;
  bool error = true;
  std::string detach_keys;  // as DetachKeys::Parse takes them
  bool proxy_signals = false;
  // Called with the signal's number or the window's size while the streams run.
  std::function<void(int signal)> on_signal;
  std::function<void(unsigned rows, unsigned columns)> on_resize;
};

enum class RelayEnd {
  kClosed,    // the container's side ended
  kDetached,  // the user typed the detach keys
};

class Relay {
 public:
  // Blocks the signals to be proxied, which then wait until Run.
  static Result<Relay> Create(RelayOptions options);
  Result<RelayEnd> Run(wire::HttpConnection::Raw raw);

 private:
  Relay(RelayOptions options, DetachKeys keys, UniqueFd signals)
      : options_(std::move(options)), keys_(std::move(keys)), signals_(std::move(signals)) {}

  Result<> TakeOutput(std::string_view data);
  Result<bool> ReadInput();
  Result<> SendPending();
  void ReadSignals();
  void EndInput();

  RelayOptions options_;
  DetachKeys keys_;
  UniqueFd signals_;
  UniqueFd socket_;
  std::optional<Demultiplexer> demultiplexer_;
  std::string pending_;  // typed, not sent yet
  bool input_open_ = false;
  bool input_ended_ = false;
};

inline constexpr std::string_view kDefaultDetachKeys = "ctrl-p,ctrl-q";

}  // namespace gantry::cli
