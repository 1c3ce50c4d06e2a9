// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <atomic>
#include <string>

#include "base/clock.h"
#include "base/io.h"

namespace gantry::log {
namespace {

struct Settings {
  std::string program = "gantry";
  Format format = Format::kText;
  BorrowedFd fd{STDERR_FILENO};
};

std::atomic<Level> current_level{Level::kInfo};

// Written once by Configure before threads start, only read afterwards.
Settings& Current() {
  static Settings settings;
  return settings;
}

std::string_view LevelName(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "info";
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c < 0x20) {
      out.append(fmt::format("\\u{:04x}", c));
    } else {
      out.push_back(static_cast<char>(c));
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace

void Configure(std::string_view program, Level level, Format format, BorrowedFd fd) {
  Current() = Settings{std::string(program), format, fd};
  SetLevel(level);
}

void SetLevel(Level level) { current_level.store(level, std::memory_order_relaxed); }

bool Enabled(Level level) { return level >= current_level.load(std::memory_order_relaxed); }

void Write(Level level, std::string_view message) {
  const Settings& settings = Current();
  std::string time = FormatRfc3339Nano(WallClock::now());
  std::string line =
      settings.format == Format::kJson
          ? fmt::format(R"({{"time":"{}","level":"{}","msg":{}}})"
                        "\n",
                        time, LevelName(level), Quoted(message))
          : fmt::format("{} {} {}: {}\n", time, LevelName(level), settings.program, message);
  // Nobody can be told that the log itself can't be written.
  (void)WriteAll(settings.fd, line);
}

}  // namespace gantry::log
