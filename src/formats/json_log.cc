// SPDX-License-Identifier: Apache-2.0
#include "formats/json_log.h"

#include <charconv>
#include <cstring>

#include "formats/json.h"

namespace gantry::formats {
namespace {

constexpr std::string_view kHead = "{\"log\":\"";
// Of a compressed file: magic, method deflate, flag FCOMMENT; then its comment.
constexpr std::string_view kGzipMagic = "\x1f\x8b\x08\x10";
constexpr size_t kCommentAt = 10;
constexpr std::string_view kInodeComment = "inode ";
constexpr char kHex[] = "0123456789abcdef";

// Whether the byte can be copied into a JSON string as it is, when it is ASCII.
bool IsPlain(uint8_t byte) { return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\'; }

// Length of the run of plain bytes at `at`, eight at a time: in each byte of the word the high bit
// is set by a byte that is < 0x20 or >= 0x80, or equal to '"' or '\\'.
size_t PlainRun(const char* at, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHigh = 0x8080808080808080;
  const char* start = at;
  while (end - at >= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    uint64_t quote = word ^ (kOnes * '"');
    uint64_t slash = word ^ (kOnes * '\\');
    uint64_t special =
        ((word - kOnes * 0x20) | word | ((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash)) &
        kHigh;
    if (special != 0) break;
    at += 8;
  }
  // A borrow can mark the byte above a special one, so the exact place is found by bytes.
  while (at < end && IsPlain(static_cast<uint8_t>(*at))) ++at;
  return static_cast<size_t>(at - start);
}

struct Utf8 {
  size_t length = 0;  // of a valid sequence; 0: invalid
  bool incomplete = false;
};

Utf8 ClassifyUtf8(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint8_t first = byte(0);
  size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
  if (length == 0) return {};
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {0, true};
    uint8_t low = i == 1 && first == 0xe0 ? 0xa0 : i == 1 && first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = i == 1 && first == 0xed ? 0x9f : i == 1 && first == 0xf4 ? 0x8f : 0xbf;
    if (byte(i) < low || byte(i) > high) return {};
  }
  return {length, false};
}

void AppendControl(uint8_t byte, std::string* out) {
  switch (byte) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    default:
      out->append("\\u00");
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
  }
}

struct Escaped {
  size_t consumed = 0;
  bool newline = false;
};

enum class AtEnd { kMoreFollows, kFinal };

// Escapes `text` up to and with its first newline. At the end of the text a multi-byte character
// that is cut is left for the next call, unless the end is final.
Escaped EscapeLine(std::string_view text, AtEnd at_end, std::string* out) {
  const char* at = text.data();
  const char* end = at + text.size();
  auto consumed = [&] { return static_cast<size_t>(at - text.data()); };
  while (at < end) {
    size_t run = PlainRun(at, end);
    out->append(at, run);
    at += run;
    if (at == end) break;
    uint8_t byte = static_cast<uint8_t>(*at);
    if (byte < 0x80) {
      AppendControl(byte, out);
      ++at;
      if (byte == '\n') return {consumed(), true};
      continue;
    }
    Utf8 kind = ClassifyUtf8(std::string_view(at, static_cast<size_t>(end - at)));
    if (kind.incomplete && at_end == AtEnd::kMoreFollows) break;
    if (kind.length == 0) {
      out->append("\\ufffd");
      ++at;
    } else {
      out->append(at, kind.length);
      at += kind.length;
    }
  }
  return {consumed(), false};
}

// Reads the text of a JSON string literal whose opening quote is before `*rest`, and moves *rest
// behind the closing quote. False when the form is unusual: then the slow parser decides.
bool UnescapeFast(std::string_view* rest, std::string* out) {
  out->clear();
  const char* at = rest->data();
  const char* end = at + rest->size();
  while (at < end) {
    const char* run = at;
    while (at < end && *at != '"' && *at != '\\') ++at;
    out->append(run, static_cast<size_t>(at - run));
    if (at == end) return false;
    if (*at == '"') {
      rest->remove_prefix(static_cast<size_t>(at + 1 - rest->data()));
      return true;
    }
    if (at + 1 == end) return false;
    switch (at[1]) {
      case 'n':
        out->push_back('\n');
        break;
      case 'r':
        out->push_back('\r');
        break;
      case 't':
        out->push_back('\t');
        break;
      case '"':
      case '\\':
      case '/':
        out->push_back(at[1]);
        break;
      default:
        return false;
    }
    at += 2;
  }
  return false;
}

bool Eat(std::string_view* rest, std::string_view prefix) {
  if (!rest->starts_with(prefix)) return false;
  rest->remove_prefix(prefix.size());
  return true;
}

// The form that JsonLogEncoder writes.
bool ParseFast(std::string_view line, LogRecord* record, std::string_view* time) {
  if (!Eat(&line, kHead) || !UnescapeFast(&line, &record->text)) return false;
  if (!Eat(&line, ",\"stream\":\"std")) return false;
  if (Eat(&line, "out\"")) {
    record->stream = LogStream::kStdout;
  } else if (Eat(&line, "err\"")) {
    record->stream = LogStream::kStderr;
  } else {
    return false;
  }
  // Attributes may stand between; a quote in them has a backslash.
  constexpr std::string_view kTime = ",\"time\":\"";
  size_t last = line.rfind(kTime);
  bool attributes = line.starts_with(",\"attrs\":{");
  if (last == std::string_view::npos || (last > 0 && !attributes)) return false;
  if (!line.ends_with("\"}")) return false;
  *time = line.substr(last + kTime.size(), line.size() - 2 - last - kTime.size());
  return time->find_first_of("\"\\") == std::string_view::npos;
}

}  // namespace

JsonLogEncoder::JsonLogEncoder(LogStream stream, std::string_view attributes)
    : tail_(stream == LogStream::kStdout ? "\",\"stream\":\"stdout\""
                                         : "\",\"stream\":\"stderr\"") {
  if (!attributes.empty()) tail_.append(",\"attrs\":").append(attributes);
  tail_.append(",\"time\":\"");
  tail_time_at_ = tail_.size();
}

void JsonLogEncoder::AppendTail(WallTime time, std::string* out) {
  if (time != tail_time_ || tail_.size() == tail_time_at_) {
    tail_time_ = time;
    tail_.resize(tail_time_at_);
    tail_.append(FormatRfc3339Fixed(time)).append("\"}\n");
  }
  out->append(tail_);
}

std::string_view JsonLogEncoder::Append(std::string_view text, WallTime time, size_t soft_limit,
                                        std::string* out) {
  while (!text.empty() && out->size() < soft_limit) {
    if (!partial_.empty()) {
      std::string_view more = text.substr(0, kLogRecordText - partial_.size());
      size_t newline = more.find('\n');
      if (newline != std::string_view::npos) more = more.substr(0, newline + 1);
      partial_.append(more);
      text.remove_prefix(more.size());
      if (newline == std::string_view::npos && partial_.size() < kLogRecordText) return text;
      out->append(kHead);
      Escaped done = EscapeLine(partial_, AtEnd::kMoreFollows, out);
      AppendTail(time, out);
      partial_.erase(0, done.consumed);
      continue;
    }
    size_t mark = out->size();
    std::string_view piece = text.substr(0, kLogRecordText);
    out->append(kHead);
    Escaped done = EscapeLine(piece, AtEnd::kMoreFollows, out);
    if (!done.newline && piece.size() < kLogRecordText) {
      out->resize(mark);
      partial_.assign(piece);
      return {};
    }
    AppendTail(time, out);
    text.remove_prefix(done.consumed);
  }
  return text;
}

void JsonLogEncoder::Finish(WallTime time, std::string* out) {
  if (partial_.empty()) return;
  out->append(kHead);
  EscapeLine(partial_, AtEnd::kFinal, out);
  AppendTail(time, out);
  partial_.clear();
}

Result<> ParseLogLine(std::string_view line, LogRecord* record) {
  std::string_view time;
  if (ParseFast(line, record, &time)) {
    record->time = TRY(ParseRfc3339(time));
    return {};
  }
  Json json = TRY(Json::Parse(line));
  const Json* log = json.Find("log");
  if (log == nullptr || !log->is_string()) return InvalidArgument("log record without text");
  record->text = log->AsString();
  record->stream = json["stream"].AsString() == "stderr" ? LogStream::kStderr : LogStream::kStdout;
  record->time = TRY(ParseRfc3339(json["time"].AsString()));
  return {};
}

// RFC 1952: the header with the flag FCOMMENT, the comment, an empty deflate block, checksum and
// size 0.
std::string CompressedLogHead(uint64_t inode) {
  std::string head(kCommentAt, '\0');
  head.replace(0, kGzipMagic.size(), kGzipMagic);
  head[9] = 3;  // unix
  head.append(kInodeComment).append(std::to_string(inode)).push_back('\0');
  return head.append("\x03\0\0\0\0\0\0\0\0\0", 10);
}

std::optional<uint64_t> InodeOfCompressedLog(std::string_view first_bytes) {
  if (!first_bytes.starts_with(kGzipMagic) || first_bytes.size() < kCommentAt) return std::nullopt;
  std::string_view comment = first_bytes.substr(kCommentAt);
  if (!Eat(&comment, kInodeComment)) return std::nullopt;
  uint64_t inode = 0;
  const char* end = comment.data() + comment.size();
  auto [stop, error] = std::from_chars(comment.data(), end, inode);
  if (error != std::errc() || stop == end || *stop != '\0') return std::nullopt;
  return inode;
}

}  // namespace gantry::formats
