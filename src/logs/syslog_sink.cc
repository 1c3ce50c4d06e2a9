// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <optional>
#include <utility>

#include "logs/attributes.h"
#include "logs/connection.h"
#include "logs/options.h"
#include "logs/sink.h"
#include "logs/syslog_message.h"

namespace gantry::logs {
namespace {

class SyslogSink : public Sink {
 public:
  SyslogSink(ServerAddress address, TlsFiles tls, SyslogHeader header, bool counts_length)
      : address_(std::move(address)),
        tls_(std::move(tls)),
        header_(std::move(header)),
        counts_length_(counts_length) {}

  Result<> Send(std::span<const LogEntry> entries) override {
    Result<> sent = SendOnce(entries);
    if (!sent.ok()) connection_.reset();
    return sent;
  }

 private:
  Result<> SendOnce(std::span<const LogEntry> entries) {
    if (!connection_) connection_.emplace(TRY(Dial()));
    for (const LogEntry& entry : entries) {
      std::string message = FormatSyslog(header_, entry);
      if (counts_length_) message = fmt::format("{} {}", message.size(), message);
      TRY(connection_->Send(message));
    }
    return connection_->Settle();
  }

  Result<Connection> Dial() const {
    if (!address_.protocol.empty()) return Connection::Dial(address_, tls_);
    // The local daemon, where the systems have it.
    Result<Connection> last = Unavailable("there is no local syslog");
    for (const char* path : {"/dev/log", "/var/run/syslog", "/var/run/log"}) {
      last = Connection::Dial({"unix", "", "", path}, {});
      if (last.ok()) return last;
    }
    return last;
  }

  const ServerAddress address_;
  const TlsFiles tls_;
  const SyslogHeader header_;
  const bool counts_length_;  // RFC 5425: over TLS each message has its length before it
  std::optional<Connection> connection_;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeSyslogSink(const LogSource& source) {
  ServerAddress address = TRY(ParseSyslogAddress(source.Option("syslog-address")));
  TlsFiles tls;
  tls.authority = source.Option("syslog-tls-ca-cert");
  tls.certificate = source.Option("syslog-tls-cert");
  tls.key = source.Option("syslog-tls-key");
  // docker takes any value for yes.
  tls.skip_verify = !source.Option("syslog-tls-skip-verify").empty();
  SyslogHeader header;
  std::string_view form = source.Option("syslog-format");
  if (form == "rfc3164") header.form = SyslogForm::kRfc3164;
  if (form == "rfc5424") header.form = SyslogForm::kRfc5424;
  if (form == "rfc5424micro") header.form = SyslogForm::kRfc5424Micro;
  header.facility = TRY(ParseSyslogFacility(source.Option("syslog-facility")));
  header.hostname = HostName();
  header.tag = TRY(RenderTag(source));
  header.pid = ::getpid();
  bool counts_length = form.starts_with("rfc5424") && address.protocol == "tcp+tls";
  return std::unique_ptr<Sink>(
      new SyslogSink(std::move(address), std::move(tls), std::move(header), counts_length));
}

}  // namespace gantry::logs
