// SPDX-License-Identifier: Apache-2.0
#include "logs/sink.h"

#include <unistd.h>

namespace gantry::logs {

Result<std::unique_ptr<Sink>> MakeSink(const LogSource& source) {
  if (source.driver == "syslog") return MakeSyslogSink(source);
  if (source.driver == "journald") {
    return MakeJournaldSink(source, "/run/systemd/journal/socket");
  }
  if (source.driver == "fluentd") return MakeFluentdSink(source);
  if (source.driver == "gelf") return MakeGelfSink(source);
  return Internal("log driver '{}' sends nothing", source.driver);
}

std::string HostName() {
  char name[256] = {};
  CHECK(::gethostname(name, sizeof name - 1) == 0);
  return name;
}

}  // namespace gantry::logs
