// SPDX-License-Identifier: Apache-2.0
#include "base/start_trace.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <utility>

#include "base/io.h"
#include "base/text.h"

namespace gantry {
namespace {

Result<> Append(const std::string& bundle, int flags, std::vector<TraceStep> steps) {
  Result<UniqueFd> file = OpenFile(bundle + "/trace", O_WRONLY | O_APPEND | flags, 0600);
  if (!file.ok()) {
    if ((flags & O_CREAT) == 0 && file.error().kind() == ErrorKind::kNotFound) return {};
    return std::move(file).error();
  }
  std::string text;
  for (const TraceStep& step : steps) {
    text +=
        fmt::format("{} {} {} {} {}\n", step.process, step.pid, step.begin, step.end, step.name);
  }
  return WriteAll(*file, text);
}

bool ReadNumber(const std::string& word, int64_t* value) {
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *value);
  return error == std::errc() && end == word.data() + word.size();
}

}  // namespace

int64_t MonotonicNanos() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

StartTrace::StartTrace(std::string_view process) : process_(process), lap_(MonotonicNanos()) {}

void StartTrace::Add(std::string_view step, int64_t begin) {
  steps_.push_back({process_, ::getpid(), begin, MonotonicNanos(), std::string(step)});
}

void StartTrace::Lap(std::string_view step) {
  Add(step, lap_);
  lap_ = steps_.back().end;
}

Result<> StartTrace::AppendTo(const std::string& bundle) { return Append(bundle, 0, TakeSteps()); }

Result<> StartTrace::CreateIn(const std::string& bundle) {
  return Append(bundle, O_CREAT, TakeSteps());
}

std::vector<TraceStep> StartTrace::TakeSteps() {
  return std::exchange(steps_, std::vector<TraceStep>());
}

std::vector<TraceStep> ParseTrace(std::string_view text) {
  std::vector<TraceStep> steps;
  for (const std::string& line : Split(text, '\n')) {
    std::vector<std::string> words = SplitWords(line, " ", 5);
    if (words.size() != 5) continue;
    TraceStep step;
    step.process = words[0];
    step.name = words[4];
    bool numbers = ReadNumber(words[1], &step.pid) && ReadNumber(words[2], &step.begin) &&
                   ReadNumber(words[3], &step.end);
    if (numbers) steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace gantry
