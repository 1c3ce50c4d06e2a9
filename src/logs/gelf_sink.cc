// SPDX-License-Identifier: Apache-2.0
//
// Graylog Extended Log Format 1.1: a JSON object a line. Over TCP a NUL ends each; over UDP it is
// compressed, and cut into chunks when it is too large for a datagram:
//
//   0x1e 0x0f | 8 bytes message id | number | count | data      (at most 128 chunks)
#include <optional>
#include <utility>

#include "base/byte_stream.h"
#include "base/random.h"
#include "formats/compression/compression.h"
#include "formats/json.h"
#include "logs/attributes.h"
#include "logs/connection.h"
#include "logs/options.h"
#include "logs/sink.h"

namespace gantry::logs {
namespace {

using formats::Json;

constexpr size_t kDatagram = 1420;
constexpr size_t kChunkHead = 12;
constexpr size_t kMaxChunks = 128;
constexpr int kLevelError = 3;
constexpr int kLevelInfo = 6;

enum class Packing { kNone, kGzip, kZlib };

Result<std::string> Gzip(std::string_view data) {
  StringSink out;
  formats::compression::GzipSink gzip(out);
  TRY(gzip.Write(data));
  TRY(gzip.Finish());
  return std::move(out.text);
}

// The same deflate stream with zlib's head and checksum (RFC 1950) instead of gzip's (RFC 1952: a
// head of 10 bytes, as GzipSink writes no optional fields, and 8 at the end).
Result<std::string> Zlib(std::string_view data) {
  std::string gzip = TRY(Gzip(data));
  uint32_t low = 1;
  uint32_t high = 0;
  for (char byte : data) {
    low = (low + static_cast<unsigned char>(byte)) % 65521;
    high = (high + low) % 65521;
  }
  std::string out("\x78\x01", 2);
  out.append(gzip, 10, gzip.size() - 18);
  for (uint32_t half : {high, low}) {
    out.push_back(static_cast<char>(half >> 8));
    out.push_back(static_cast<char>(half));
  }
  return out;
}

class GelfSink : public Sink {
 public:
  GelfSink(ServerAddress address, Packing packing, Json members)
      : address_(std::move(address)), packing_(packing), members_(std::move(members)) {}

  Result<> Send(std::span<const LogEntry> entries) override {
    Result<> sent = SendOnce(entries);
    if (!sent.ok()) connection_.reset();
    return sent;
  }

 private:
  Result<> SendOnce(std::span<const LogEntry> entries) {
    if (!connection_) connection_.emplace(TRY(Connection::Dial(address_, {})));
    for (const LogEntry& entry : entries) {
      std::string message = Encode(entry);
      if (address_.protocol == "tcp") {
        message.push_back('\0');
        TRY(connection_->Send(message));
      } else {
        TRY(SendDatagrams(message));
      }
    }
    return connection_->Settle();
  }

  std::string Encode(const LogEntry& entry) const {
    Json message = members_;
    message.Set("short_message", entry.line);
    // Milliseconds are what the format's readers take.
    message.Set("timestamp", static_cast<double>(UnixNanos(entry.time) / 1'000'000) / 1000.0);
    message.Set("level", entry.is_error ? kLevelError : kLevelInfo);
    return message.Dump();
  }

  Result<> SendDatagrams(const std::string& message) {
    std::string packed = message;
    if (packing_ == Packing::kGzip) packed = TRY(Gzip(message));
    if (packing_ == Packing::kZlib) packed = TRY(Zlib(message));
    if (packed.size() <= kDatagram) return connection_->Send(packed);
    size_t part = kDatagram - kChunkHead;
    size_t count = (packed.size() + part - 1) / part;
    // A line has at most 16 KiB, so that this is more than 128 only with very large attributes.
    if (count > kMaxChunks) return InvalidArgument("a GELF message of {} bytes", packed.size());
    uint64_t id = RandomU64();
    for (size_t number = 0; number < count; ++number) {
      std::string chunk("\x1e\x0f");
      for (int i = 0; i < 8; ++i) chunk.push_back(static_cast<char>(id >> (8 * i)));
      chunk.push_back(static_cast<char>(number));
      chunk.push_back(static_cast<char>(count));
      chunk.append(packed, number * part, part);
      TRY(connection_->Send(chunk));
    }
    return {};
  }

  const ServerAddress address_;
  const Packing packing_;
  const Json members_;  // of every message
  std::optional<Connection> connection_;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeGelfSink(const LogSource& source) {
  ServerAddress address = TRY(ParseGelfAddress(source.Option("gelf-address")));
  Packing packing = Packing::kGzip;
  if (source.Option("gelf-compression-type") == "zlib") packing = Packing::kZlib;
  if (source.Option("gelf-compression-type") == "none") packing = Packing::kNone;
  Json members = Json::MakeObject({{"version", "1.1"},
                                   {"host", HostName()},
                                   {"_command", source.command},
                                   {"_container_id", source.id},
                                   {"_container_name", source.name},
                                   {"_created", FormatRfc3339Nano(source.created)},
                                   {"_image_id", source.image_id},
                                   {"_image_name", source.image_name},
                                   {"_tag", TRY(RenderTag(source))}});
  for (const auto& [name, value] : TRY(ChooseAttributes(source))) members.Set("_" + name, value);
  return std::unique_ptr<Sink>(new GelfSink(std::move(address), packing, std::move(members)));
}

}  // namespace gantry::logs
