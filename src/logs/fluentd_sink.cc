// SPDX-License-Identifier: Apache-2.0
//
// Fluentd's forward protocol, version 1, in message mode: msgpack of [tag, time, record], with
// [tag, time, record, {"chunk": ID}] answered by {"ack": ID} when the option fluentd-request-ack is
// set. The options that bound docker's own buffer have no meaning here: the log file is the buffer.
#include <optional>
#include <utility>

#include "base/random.h"
#include "logs/attributes.h"
#include "logs/connection.h"
#include "logs/options.h"
#include "logs/sink.h"

namespace gantry::logs {
namespace {

bool IsTrue(std::string_view text) {
  return text == "1" || text == "t" || text == "T" || text == "true" || text == "TRUE" ||
         text == "True";
}

void AppendBigEndian(uint64_t value, int bytes, std::string* out) {
  for (int i = bytes; i-- > 0;) out->push_back(static_cast<char>(value >> (8 * i)));
}

// msgpack.org/spec: fixstr, str 8, str 16, str 32.
void AppendString(std::string_view text, std::string* out) {
  if (text.size() < 32) {
    out->push_back(static_cast<char>(0xa0 | text.size()));
  } else if (text.size() < 256) {
    out->push_back(static_cast<char>(0xd9));
    AppendBigEndian(text.size(), 1, out);
  } else if (text.size() < 65536) {
    out->push_back(static_cast<char>(0xda));
    AppendBigEndian(text.size(), 2, out);
  } else {
    out->push_back(static_cast<char>(0xdb));
    AppendBigEndian(text.size(), 4, out);
  }
  out->append(text);
}

// fixmap or map 16.
void AppendMapHead(size_t members, std::string* out) {
  if (members < 16) {
    out->push_back(static_cast<char>(0x80 | members));
  } else {
    out->push_back(static_cast<char>(0xde));
    AppendBigEndian(members, 2, out);
  }
}

// Seconds as int 64, or fluentd's EventTime: ext type 0 of seconds and nanoseconds.
void AppendTime(WallTime time, bool precise, std::string* out) {
  uint64_t nanos = static_cast<uint64_t>(UnixNanos(time));
  if (!precise) {
    out->push_back(static_cast<char>(0xd3));
    return AppendBigEndian(nanos / 1'000'000'000, 8, out);
  }
  out->append("\xd7", 1).append(1, '\0');
  AppendBigEndian(nanos / 1'000'000'000, 4, out);
  AppendBigEndian(nanos % 1'000'000'000, 4, out);
}

struct Parts {
  ServerAddress address;
  std::string tag;
  std::map<std::string, std::string> members;  // of every record
  bool precise_time = false;
  bool wants_ack = false;
};

class FluentdSink : public Sink {
 public:
  explicit FluentdSink(Parts parts) : parts_(std::move(parts)) {}

  Result<> Send(std::span<const LogEntry> entries) override {
    Result<> sent = SendOnce(entries);
    if (!sent.ok()) connection_.reset();
    return sent;
  }

 private:
  Result<> SendOnce(std::span<const LogEntry> entries) {
    if (!connection_) connection_.emplace(TRY(Connection::Dial(parts_.address, {})));
    for (const LogEntry& entry : entries) {
      std::string chunk = parts_.wants_ack ? RandomHex(16) : std::string();
      TRY(connection_->Send(Encode(entry, chunk)));
      if (parts_.wants_ack) TRY(AwaitAck(chunk));
    }
    return connection_->Settle();
  }

  std::string Encode(const LogEntry& entry, const std::string& chunk) const {
    std::string out(1, static_cast<char>(chunk.empty() ? 0x93 : 0x94));
    AppendString(parts_.tag, &out);
    AppendTime(entry.time, parts_.precise_time, &out);
    AppendMapHead(parts_.members.size() + 2 + (entry.partial ? 1 : 0), &out);
    for (const auto& [name, value] : parts_.members) {
      AppendString(name, &out);
      AppendString(value, &out);
    }
    AppendString("source", &out);
    AppendString(entry.is_error ? "stderr" : "stdout", &out);
    AppendString("log", &out);
    AppendString(entry.line, &out);
    if (entry.partial) {
      AppendString("partial_message", &out);
      AppendString("true", &out);
    }
    if (chunk.empty()) return out;
    AppendMapHead(1, &out);
    AppendString("chunk", &out);
    AppendString(chunk, &out);
    return out;
  }

  Result<> AwaitAck(const std::string& chunk) {
    std::string wanted;
    AppendMapHead(1, &wanted);
    AppendString("ack", &wanted);
    AppendString(chunk, &wanted);
    std::string answer;
    while (answer.size() < wanted.size()) {
      std::string piece = TRY(connection_->Receive());
      if (piece.empty()) return Unavailable("fluentd has hung up before its acknowledgement");
      answer += piece;
    }
    if (answer != wanted) return Unavailable("fluentd acknowledged something else");
    return {};
  }

  const Parts parts_;
  std::optional<Connection> connection_;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeFluentdSink(const LogSource& source) {
  Parts parts;
  parts.address = TRY(ParseFluentdAddress(source.Option("fluentd-address")));
  parts.tag = TRY(RenderTag(source));
  parts.members = TRY(ChooseAttributes(source));
  parts.members["container_id"] = source.id;
  parts.members["container_name"] = "/" + source.name;
  parts.precise_time = IsTrue(source.Option("fluentd-sub-second-precision"));
  parts.wants_ack = IsTrue(source.Option("fluentd-request-ack"));
  return std::unique_ptr<Sink>(new FluentdSink(std::move(parts)));
}

}  // namespace gantry::logs
