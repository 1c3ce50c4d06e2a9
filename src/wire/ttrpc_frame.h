// SPDX-License-Identifier: Apache-2.0
//
// ttrpc on the wire: frames of a 10-byte header and a payload, and the two messages inside them.
//
//   uint32 BE length (<= 4 MiB) | uint32 BE stream | uint8 type | uint8 flags | payload
//
// A client's streams are odd. Used by wire/ttrpc; plain values, no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/protobuf_wire.h"

namespace gantry::wire {

enum class TtrpcType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };
inline constexpr uint8_t kTtrpcRemoteClosed = 1;
inline constexpr uint8_t kTtrpcRemoteOpen = 2;
inline constexpr uint8_t kTtrpcNoData = 4;
inline constexpr size_t kTtrpcHeaderSize = 10;
inline constexpr size_t kTtrpcMaxPayload = size_t{4} << 20;

struct TtrpcFrame {
  uint32_t stream = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  // The payload was longer than kTtrpcMaxPayload and is dropped; the stream gets an error.
  bool oversized = false;
  std::string payload;
};

// Appends a frame; the payload must fit.
void AppendTtrpcFrame(std::string* out, uint32_t stream, TtrpcType type, uint8_t flags,
                      std::string_view payload);

// Cuts a byte stream into frames. Holds at most one frame and one read.
class TtrpcParser {
 public:
  void Feed(std::string_view bytes);
  std::optional<TtrpcFrame> Next();

 private:
  std::string buffer_;
  size_t start_ = 0;
  uint64_t discard_ = 0;
};

// The payload of a request frame.
struct TtrpcRequest {
  std::string service;
  std::string method;
  std::string payload;
  int64_t timeout_nanos = 0;  // 0: none
  std::vector<std::pair<std::string, std::string>> metadata;

  void EncodeTo(formats::ProtoWriter& writer) const;
  void MergeFrom(formats::ProtoReader& reader);
};

// The payload of a response frame: google.rpc.Status (absent or code 0: success) and the answer.
struct TtrpcResponse {
  int32_t code = 0;
  std::string message;
  std::string payload;

  // A message with invalid UTF-8 would make a Go peer drop the connection: such bytes become '?'.
  static TtrpcResponse From(const Result<std::string>& result);
  Result<std::string> ToResult() &&;
  void EncodeTo(formats::ProtoWriter& writer) const;
  void MergeFrom(formats::ProtoReader& reader);
};

}  // namespace gantry::wire
