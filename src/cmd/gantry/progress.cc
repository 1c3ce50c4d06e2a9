// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/progress.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/io.h"
#include "base/output_file.h"
#include "cmd/gantry/output.h"
#include "formats/human_units.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

constexpr size_t kMaxObjectBytes = size_t{16} << 20;
constexpr unsigned kBarColumns = 50;

// "[====>    ]  1.2MB/4MB" as wide as the terminal has room for.
std::string ProgressText(const Json& message, unsigned columns) {
  const Json& detail = message["progressDetail"];
  double current = detail["current"].AsDouble();
  double total = detail["total"].AsDouble();
  if (current <= 0 && total <= 0) return "";
  if (total <= 0) return fmt::format("{:>8}", formats::HumanSize(current));
  std::string bar;
  if (columns > 110) {
    unsigned done = static_cast<unsigned>(std::min(current / total, 1.0) * kBarColumns);
    bar = "[" + std::string(done, '=') + ">" + std::string(kBarColumns - done, ' ') + "] ";
  }
  return fmt::format("{}{:>8}/{}", bar, formats::HumanSize(current), formats::HumanSize(total));
}

class Screen {
 public:
  explicit Screen(BorrowedFd out)
      : out_(out),
        terminal_(kernel::IsTerminal(out)),
        columns_(kernel::TerminalSize(out).columns) {}

  Result<> Show(const Json& message) {
    if (const Json* stream = message.Find("stream")) return WriteAll(out_, stream->AsString());
    const std::string& id = message["id"].AsString();
    std::string progress = ProgressText(message, columns_);
    // In a pipe only the changes of state are lines.
    if (!terminal_ && !progress.empty()) return {};
    std::string text;
    if (!id.empty()) text.append(id).append(": ");
    text.append(message["status"].AsString());
    if (!terminal_) return WriteAll(out_, text + "\n");
    if (!progress.empty()) text.append(" ").append(progress);
    if (id.empty()) {
      lines_.clear();
      return WriteAll(out_, text + "\r\n");
    }
    return Rewrite(id, text);
  }

 private:
  // The line of `id`, some rows up, or a new one at the end.
  Result<> Rewrite(const std::string& id, const std::string& text) {
    auto known = std::find(lines_.begin(), lines_.end(), id);
    if (known == lines_.end()) {
      lines_.push_back(id);
      return WriteAll(out_, text + "\r\n");
    }
    auto up = lines_.end() - known;
    return WriteAll(out_, fmt::format("\x1b[{}A\x1b[2K\r{}\r\x1b[{}B", up, text, up));
  }

  BorrowedFd out_;
  bool terminal_;
  unsigned columns_;
  std::vector<std::string> lines_;
};

}  // namespace

Result<Json> JsonStream::Next() {
  for (;;) {
    for (; scanned_ < pending_.size(); ++scanned_) {
      char c = pending_[scanned_];
      if (escaped_) {
        escaped_ = false;
      } else if (in_string_) {
        escaped_ = c == '\\';
        in_string_ = c != '"';
      } else if (c == '"') {
        in_string_ = true;
      } else if (c == '{' || c == '[') {
        ++depth_;
      } else if ((c == '}' || c == ']') && --depth_ == 0) {
        Result<Json> object = Json::Parse(std::string_view(pending_).substr(0, scanned_ + 1));
        pending_.erase(0, scanned_ + 1);
        scanned_ = 0;
        if (!object.ok())
          return std::move(object).error().AddContext("reading the daemon's stream");
        return object;
      }
    }
    if (pending_.size() > kMaxObjectBytes) {
      return MakeError(ErrorKind::kResourceExhausted,
                       "reading the daemon's stream: object too large");
    }
    std::string_view piece = TRY(connection_->ReadBody());
    if (piece.empty()) {
      if (depth_ != 0) return Unavailable("reading the daemon's stream: it ends within an object");
      return Json();
    }
    pending_.append(piece);
  }
}

Result<> ShowProgress(wire::HttpConnection* connection, BorrowedFd out, std::vector<Json>* aux,
                      int* code) {
  FlushOutput();
  JsonStream stream(connection);
  Screen screen(out);
  for (;;) {
    Json message = TRY(stream.Next());
    if (message.is_null()) return {};
    if (const Json* detail = message.Find("errorDetail")) {
      if (code != nullptr) *code = static_cast<int>((*detail)["code"].AsInt());
      return Internal("{}", (*detail)["message"].AsString());
    }
    if (const Json* old = message.Find("error")) return Internal("{}", old->AsString());
    if (const Json* value = message.Find("aux")) {
      if (aux != nullptr) aux->push_back(*value);
      continue;
    }
    TRY(screen.Show(message));
  }
}

Result<int> SaveStream(wire::HttpConnection* connection, const std::string& output) {
  std::optional<OutputFile> file;
  if (!output.empty()) file.emplace(TRY(OutputFile::Create(output, 0600)));
  BorrowedFd target = file ? file->fd() : BorrowedFd(STDOUT_FILENO);
  for (;;) {
    std::string_view piece = TRY(connection->ReadBody());
    if (piece.empty()) break;
    TRY_WITH(WriteAll(target, piece), "writing the archive");
  }
  if (file) TRY(file->Finish());
  return 0;
}

}  // namespace gantry::cli
