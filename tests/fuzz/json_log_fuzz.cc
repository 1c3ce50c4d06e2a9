// SPDX-License-Identifier: Apache-2.0
//
// Bytes as a log line, and as output that is encoded in pieces: every record of that must parse,
// and valid text must come back as it was.
#include <cstdint>
#include <cstdlib>

#include "formats/json_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::formats;
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  LogRecord record;
  (void)ParseLogLine(bytes, &record);

  JsonLogEncoder encoder(LogStream::kStdout);
  std::string out;
  size_t piece = size_t{data[0]} + 1;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    std::string_view rest = bytes.substr(at, piece);
    while (!rest.empty()) rest = encoder.Append(rest, {}, out.size() + 1, &out);
  }
  encoder.Finish({}, &out);
  bool ascii = true;
  for (char c : bytes) ascii = ascii && static_cast<uint8_t>(c) < 0x80;
  std::string back;
  for (std::string_view rest = out; !rest.empty();) {
    size_t newline = rest.find('\n');
    if (newline == std::string_view::npos) std::abort();
    if (!ParseLogLine(rest.substr(0, newline), &record).ok()) std::abort();
    back += record.text;
    rest.remove_prefix(newline + 1);
  }
  if (ascii && back != bytes) std::abort();
  return 0;
}
