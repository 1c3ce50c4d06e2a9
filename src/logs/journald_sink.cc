// SPDX-License-Identifier: Apache-2.0
//
// systemd's journal over its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an
// entry, a field a line, "NAME=value\n", or for a value with newlines
// "NAME\n" <uint64 little-endian size> value "\n".
#include <optional>
#include <utility>

#include "base/text.h"
#include "logs/attributes.h"
#include "logs/connection.h"
#include "logs/sink.h"

namespace gantry::logs {
namespace {

void AppendField(std::string_view name, std::string_view value, std::string* out) {
  out->append(name);
  if (value.find('\n') == std::string_view::npos) {
    out->append("=").append(value).append("\n");
    return;
  }
  out->push_back('\n');
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(value.size() >> (8 * i)));
  out->append(value).append("\n");
}

// Fields have capitals, digits and underscores, and do not begin with an underscore; docker drops
// what stands before the first letter or digit.
std::string FieldName(const std::string& name) {
  std::string out;
  for (char c : name) {
    char upper = Upper(c);
    bool good = (upper >= 'A' && upper <= 'Z') || (upper >= '0' && upper <= '9');
    if (!good && out.empty()) continue;
    out.push_back(good ? upper : '_');
  }
  return out;
}

class JournaldSink : public Sink {
 public:
  JournaldSink(std::string path, std::string fields)
      : path_(std::move(path)), fields_(std::move(fields)) {}

  Result<> Send(std::span<const LogEntry> entries) override {
    Result<> sent = SendOnce(entries);
    if (!sent.ok()) connection_.reset();
    return sent;
  }

 private:
  Result<> SendOnce(std::span<const LogEntry> entries) {
    if (!connection_) connection_.emplace(TRY(Connection::Dial({"unixgram", "", "", path_}, {})));
    for (const LogEntry& entry : entries) {
      std::string message = fields_;
      AppendField("MESSAGE", entry.line, &message);
      AppendField("PRIORITY", entry.is_error ? "3" : "6", &message);
      AppendField("SYSLOG_TIMESTAMP", FormatRfc3339Nano(entry.time), &message);
      if (entry.partial) AppendField("CONTAINER_PARTIAL_MESSAGE", "true", &message);
      TRY(connection_->Send(message));
    }
    return connection_->Settle();
  }

  const std::string path_;
  const std::string fields_;  // that every entry has
  std::optional<Connection> connection_;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeJournaldSink(const LogSource& source, std::string socket_path) {
  std::string tag = TRY(RenderTag(source));
  std::string fields;
  AppendField("CONTAINER_ID", ShortId(source.id), &fields);
  AppendField("CONTAINER_ID_FULL", source.id, &fields);
  AppendField("CONTAINER_NAME", source.name, &fields);
  AppendField("CONTAINER_TAG", tag, &fields);
  AppendField("IMAGE_NAME", source.image_name, &fields);
  AppendField("SYSLOG_IDENTIFIER", tag, &fields);
  for (const auto& [name, value] : TRY(ChooseAttributes(source))) {
    std::string field = FieldName(name);
    if (!field.empty()) AppendField(field, value, &fields);
  }
  return std::unique_ptr<Sink>(new JournaldSink(std::move(socket_path), std::move(fields)));
}

}  // namespace gantry::logs
