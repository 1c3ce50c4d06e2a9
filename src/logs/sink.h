// SPDX-License-Identifier: Apache-2.0
//
// A log server, as the forwarder sees it (engine/log_forwarder.h). One implementation a protocol; a
// sink connects when it first sends and again after a failure. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "logs/entry.h"

namespace gantry::logs {

class Sink {
 public:
  virtual ~Sink() = default;
  // Sends the entries in order. On an error nothing is known of any of them: they are sent again,
  // so that a server may see a line twice, but never not at all.
  virtual Result<> Send(std::span<const LogEntry> entries) = 0;
};

// Of a driver for which IsForwarded holds. Fails for options that only now turn out to be wrong,
// such as a tag that is no template.
Result<std::unique_ptr<Sink>> MakeSink(const LogSource& source);

// Each is what MakeSink calls; apart for the tests.
Result<std::unique_ptr<Sink>> MakeSyslogSink(const LogSource& source);
Result<std::unique_ptr<Sink>> MakeJournaldSink(const LogSource& source, std::string socket_path);
Result<std::unique_ptr<Sink>> MakeFluentdSink(const LogSource& source);
Result<std::unique_ptr<Sink>> MakeGelfSink(const LogSource& source);

// This host's name, as messages carry it.
std::string HostName();

}  // namespace gantry::logs
