// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <string>

#include "base/clock.h"
#include "base/io.h"

namespace gantry::log {
namespace {

struct Settings {
  std::string program = "gantry";
  Level level = Level::kInfo;
  Format format = Format::kText;
  BorrowedFd fd{STDERR_FILENO};
};

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
  Current() = Settings{std::string(program), level, format, fd};
}

bool Enabled(Level level) { return level >= Current().level; }

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
