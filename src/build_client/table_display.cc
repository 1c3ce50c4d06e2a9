// SPDX-License-Identifier: Apache-2.0
//
// Progress as a table in a terminal: a line a step with its time, below steps that run their parts
// and last lines. It is drawn anew over itself; where it is taller than the terminal, the steps
// that ended first are left out.
#include <algorithm>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "build_client/display.h"
#include "kernel/terminal.h"

namespace gantry::build_client {
namespace {

constexpr size_t kShownLines = 6;  // of a running step's output
constexpr const char* kBlue = "\x1b[34m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kPlain = "\x1b[0m";

struct Row {
  std::string text;
  std::string time;
  const char* color = "";
};

// Bytes that are no terminal's commands: those of a step's output would draw somewhere else.
std::string Printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\t') out += ' ';
    if (static_cast<unsigned char>(c) >= ' ' && c != 0x7f) out += c;
  }
  return out;
}

// The first `columns` characters of UTF-8.
std::string Cut(const std::string& text, size_t columns) {
  size_t seen = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    bool begins = (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
    if (begins && seen++ == columns) return text.substr(0, at);
  }
  return text;
}

size_t Columns(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

class TableDisplay : public Display {
 public:
  TableDisplay(BorrowedFd out, bool colors)
      : out_(out), colors_(colors), began_(WallClock::now()) {}

  void Take(const Graph&, const api::StatusResponse&) override {}
  void Tick(const Graph& graph) override { Draw(graph, ""); }
  void End(const Graph& graph) override { Draw(graph, " FINISHED"); }

 private:
  void Draw(const Graph& graph, std::string_view state) {
    kernel::WindowSize size = kernel::TerminalSize(out_);
    size_t width = size.columns == 0 ? 80 : size.columns;
    size_t height = size.rows == 0 ? 24 : size.rows;
    std::vector<Row> rows = Rows(graph, state.empty());
    // The head and the line that the cursor is in.
    if (rows.size() + 2 > height)
      rows.erase(rows.begin(), rows.end() - static_cast<long>(height - 2));
    auto done = std::count_if(graph.steps().begin(), graph.steps().end(),
                              [](const Step& step) { return step.completed.has_value(); });
    std::string text = drawn_ > 0 ? fmt::format("\x1b[{}A", drawn_) : "";
    text += "\r\x1b[J\x1b[?25l";
    text += Cut(fmt::format("[+] Building {} ({}/{}){}", Seconds(WallClock::now() - began_), done,
                            graph.steps().size(), state),
                width);
    text += "\n";
    for (const Row& row : rows) text += Line(row, width);
    text += "\x1b[?25h";
    drawn_ = rows.size() + 1;
    Result<> written = WriteAll(out_, text);
    if (!written.ok()) log::Debug("showing progress: {}", written.error().message());
  }

  std::string Line(const Row& row, size_t width) const {
    size_t room = width > row.time.size() + 1 ? width - row.time.size() - 1 : 1;
    std::string text = Cut(row.text, room);
    text.append(room - Columns(text) + 1, ' ');
    text += row.time;
    if (colors_ && *row.color != '\0') text = row.color + text + kPlain;
    return text + "\n";
  }

  static std::vector<Row> Rows(const Graph& graph, bool running) {
    std::vector<Row> rows;
    WallTime now = WallClock::now();
    for (const Step& step : graph.steps()) {
      if (!step.started) continue;
      Row row;
      const char* kind = "";
      if (step.completed) {
        row.color = kBlue;
        if (step.cached) kind = "CACHED ";
        if (!step.error.empty()) kind = step.WasCancelled() ? "CANCELED " : "ERROR ";
        if (!step.error.empty()) row.color = step.WasCancelled() ? kYellow : kRed;
      }
      row.text = fmt::format(" => {}{}", kind, Printable(step.name));
      row.time = Seconds(step.completed.value_or(now) - *step.started);
      rows.push_back(std::move(row));
      for (const Part& part : step.parts) {
        // What is done is told with its step's end alone.
        if (step.completed && step.cached) continue;
        std::string size =
            part.total > 0 ? fmt::format(" {} / {}", SizeText(part.current), SizeText(part.total))
            : part.current > 0 ? " " + SizeText(part.current)
                               : "";
        WallTime began = part.started.value_or(part.told);
        rows.push_back({fmt::format(" => => {}{}", Printable(part.id), size),
                        Seconds(part.completed.value_or(now) - began),
                        part.completed ? kBlue : ""});
      }
      if (step.completed || !running) continue;
      size_t from = step.tail.size() > kShownLines ? step.tail.size() - kShownLines : 0;
      for (size_t i = from; i < step.tail.size(); ++i) {
        rows.push_back({" => => # " + Printable(step.tail[i]), "", ""});
      }
    }
    return rows;
  }

  BorrowedFd out_;
  const bool colors_;
  const WallTime began_;
  size_t drawn_ = 0;  // lines above the cursor
};

}  // namespace

std::unique_ptr<Display> MakeTableDisplay(BorrowedFd out, bool colors) {
  return std::make_unique<TableDisplay>(out, colors);
}

}  // namespace gantry::build_client
