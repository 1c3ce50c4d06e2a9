// SPDX-License-Identifier: Apache-2.0
//
// Progress as lines: "#3 [2/4] RUN make" begins a block of a step, "#3 DONE 1.2s" ends it. A block
// goes on until its step ends; others whose lines wait for long interrupt it with "#3 ...".
#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "build_client/display.h"

namespace gantry::build_client {
namespace {

// How long a step's lines wait for the block of another one.
constexpr std::chrono::milliseconds kPatience{1000};
// A part's growth that is told again.
constexpr int kLeastPercent = 5;
constexpr std::chrono::seconds kPartInterval{1};

class PlainDisplay : public Display {
 public:
  explicit PlainDisplay(BorrowedFd out) : out_(out) {}

  void Take(const Graph& graph, const api::StatusResponse& update) override {
    for (const api::Vertex& vertex : update.vertexes) Touch(vertex.digest);
    for (const api::VertexStatus& status : update.statuses) {
      Touch(status.vertex).parts[status.ID];
    }
    for (const api::VertexLog& log : update.logs) TakeLog(graph, log);
    PrintAll(graph);
  }
  void Tick(const Graph& graph) override { PrintAll(graph); }
  void End(const Graph& graph) override {
    for (const Step& step : graph.steps()) {
      auto found = blocks_.find(step.digest);
      if (found != blocks_.end() && found->second.waits_since) Print(step, &found->second);
    }
    Flush();
  }

 private:
  struct ToldPart {
    int64_t current = -1;
    WallTime when{};
    bool completed = false;
  };
  struct Block {
    int number = 0;
    std::vector<std::string> lines;  // not printed yet, without their number
    std::map<std::string, ToldPart> parts;
    std::string line;  // without an end so far
    std::optional<WallTime> told_end;
    std::optional<SteadyClock::time_point> waits_since;
  };

  // A step may go on after its end: BuildKit's do, when another one needs them once more.
  static bool HasNews(const Step& step, const Block& block) {
    if (!block.told_end || step.completed != block.told_end || !block.lines.empty()) return true;
    return std::any_of(step.parts.begin(), step.parts.end(), [&](const Part& part) {
      auto found = block.parts.find(part.id);
      return found != block.parts.end() && !found->second.completed;
    });
  }

  Block& Touch(const std::string& digest) {
    Block& block = blocks_[digest];
    if (!block.waits_since) block.waits_since = SteadyClock::now();
    return block;
  }

  void TakeLog(const Graph& graph, const api::VertexLog& log) {
    const Step* step = graph.Find(log.vertex);
    if (step == nullptr) return;
    Block& block = Touch(log.vertex);
    block.line += log.msg;
    WallTime when = log.timestamp ? log.timestamp->ToWallTime() : WallTime();
    for (size_t end; (end = block.line.find('\n')) != std::string::npos;) {
      block.lines.push_back(TimedLine(*step, when, std::string_view(block.line).substr(0, end)));
      block.line.erase(0, end + 1);
    }
  }

  // Steps that have ended first, then the one whose block is open, then who has waited long.
  void PrintAll(const Graph& graph) {
    if (!current_.empty()) PrintStep(graph, current_);
    for (const Step& step : graph.steps()) {
      if (step.completed) PrintStep(graph, step.digest);
    }
    auto now = SteadyClock::now();
    for (const Step& step : graph.steps()) {
      auto found = blocks_.find(step.digest);
      if (!step.started || found == blocks_.end() || !found->second.waits_since) continue;
      bool patient = !current_.empty() && now - *found->second.waits_since < kPatience;
      if (!patient) Print(step, &found->second);
    }
    Flush();
  }

  void PrintStep(const Graph& graph, const std::string& digest) {
    const Step* step = graph.Find(digest);
    auto found = blocks_.find(digest);
    if (step != nullptr && found != blocks_.end() && found->second.waits_since) {
      Print(*step, &found->second);
    }
  }

  void Print(const Step& step, Block* block) {
    block->waits_since.reset();
    if (!HasNews(step, *block)) return;
    if (block->number == 0) block->number = ++last_number_;
    if (step.digest != current_) {
      if (!current_.empty()) text_ += fmt::format("#{} ...\n", blocks_[current_].number);
      text_ += fmt::format("{}#{} {}\n", text_begun_ ? "\n" : "", block->number, step.name);
      text_begun_ = true;
      current_ = step.digest;
    }
    for (const Part& part : step.parts) PrintPart(part, block);
    for (const std::string& line : block->lines) {
      text_ += fmt::format("#{} {}\n", block->number, line);
    }
    block->lines.clear();
    if (step.completed) PrintEnd(step, block);
  }

  void PrintPart(const Part& part, Block* block) {
    auto found = block->parts.find(part.id);
    if (found == block->parts.end() || found->second.completed) return;
    ToldPart& told = found->second;
    bool grown = part.total > 0 ? (part.current - told.current) * 100 >= part.total * kLeastPercent
                                : part.told - told.when >= kPartInterval;
    bool is_new = told.current < 0;
    if (!part.completed && !is_new && !grown) return;
    told = {part.current, part.told, part.completed.has_value()};
    std::string size;
    if (part.total > 0) {
      size = fmt::format(" {} / {}", SizeText(part.current), SizeText(part.total));
    } else if (part.current > 0) {
      size = " " + SizeText(part.current);
    }
    std::string time;
    if (part.started) {
      auto taken = part.completed.value_or(part.told) - *part.started;
      if (taken > std::chrono::milliseconds(10)) time = " " + Seconds(taken);
    }
    text_ += fmt::format("#{} {}{}{}{}\n", block->number, part.id, size, time,
                         part.completed ? " done" : "");
  }

  void PrintEnd(const Step& step, Block* block) {
    if (!block->line.empty()) {
      text_ +=
          fmt::format("#{} {}\n", block->number, TimedLine(step, *step.completed, block->line));
    }
    block->told_end = step.completed;
    block->line.clear();
    current_.clear();
    if (!step.error.empty()) {
      text_ += step.WasCancelled() ? fmt::format("#{} CANCELED\n", block->number)
                                   : fmt::format("#{} ERROR: {}\n", block->number, step.error);
    } else if (step.cached) {
      text_ += fmt::format("#{} CACHED\n", block->number);
    } else {
      text_ += fmt::format("#{} DONE {}\n", block->number,
                           Seconds(*step.completed - step.started.value_or(*step.completed)));
    }
  }

  void Flush() {
    if (text_.empty()) return;
    Result<> written = WriteAll(out_, text_);
    // Who reads no more hears no more; the build goes on.
    if (!written.ok()) log::Debug("showing progress: {}", written.error().message());
    text_.clear();
  }

  BorrowedFd out_;
  std::map<std::string, Block> blocks_;  // by digest
  std::string current_;                  // whose block is open
  std::string text_;
  bool text_begun_ = false;
  int last_number_ = 0;
};

}  // namespace

std::unique_ptr<Display> MakePlainDisplay(BorrowedFd out) {
  return std::make_unique<PlainDisplay>(out);
}

}  // namespace gantry::build_client
