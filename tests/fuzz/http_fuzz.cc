// SPDX-License-Identifier: Apache-2.0
//
// Request and response heads, chunked bodies and targets from any bytes. What parses must survive
// being written and parsed again, and must not depend on how the bytes were cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wire/http_parser.h"
#include "wire/url.h"

namespace {

using namespace gantry::wire;

template <typename Take>
void Heads(HttpHeadParser::Kind kind, std::string_view text, size_t piece, Take take) {
  HttpHeadParser whole(kind);
  auto used = whole.Feed(text);
  HttpHeadParser cut(kind);
  bool failed = false;
  size_t at = 0;
  while (at < text.size() && !cut.done() && !failed) {
    auto step = cut.Feed(text.substr(at, piece));
    failed = !step.ok();
    if (!failed) at += *step;
  }
  if (used.ok() == failed) std::abort();
  if (!used.ok()) return;
  if (whole.done() != cut.done() || *used != at) std::abort();
  if (!whole.done()) return;
  auto message = take(whole);
  auto again = gantry::wire::FormatHead(message);
  if (!again.ok()) std::abort();
  HttpHeadParser second(kind);
  auto reread = second.Feed(*again);
  if (!reread.ok() || !second.done()) std::abort();
  if (take(second).headers.fields().size() != message.headers.fields().size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  size_t piece = data[0] % 17 + 1;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Heads(HttpHeadParser::Kind::kRequest, text, piece,
        [](HttpHeadParser& parser) { return parser.TakeRequest(); });
  Heads(HttpHeadParser::Kind::kResponse, text, piece,
        [](HttpHeadParser& parser) { return parser.TakeResponse(); });
  ChunkedDecoder decoder;
  std::string_view rest = text;
  while (!rest.empty() && !decoder.done()) {
    auto step = decoder.Next(rest.substr(0, piece));
    if (!step.ok()) break;
    if (step->consumed == 0) std::abort();
    rest.remove_prefix(step->consumed);
  }
  auto target = ParseTarget(text);
  if (target.ok()) {
    auto query = Query::Parse(target->query.Format());
    if (!query.ok() || query->items() != target->query.items()) std::abort();
    auto path = gantry::wire::PercentDecode(PercentEncodePath(target->path));
    if (!path.ok() || *path != target->path) std::abort();
  }
  return 0;
}
