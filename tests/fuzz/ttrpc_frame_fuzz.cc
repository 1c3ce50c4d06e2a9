// SPDX-License-Identifier: Apache-2.0
//
// Feeds bytes to the frame parser in two cuts; both must give the same frames, and each payload is
// read as a request and a response.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "wire/ttrpc_frame.h"

namespace {

std::vector<gantry::wire::TtrpcFrame> Parse(std::string_view bytes, size_t piece) {
  gantry::wire::TtrpcParser parser;
  std::vector<gantry::wire::TtrpcFrame> frames;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    parser.Feed(bytes.substr(at, piece));
    while (auto frame = parser.Next()) frames.push_back(std::move(*frame));
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  auto whole = Parse(bytes, bytes.size() + 1);
  auto pieces = Parse(bytes, size_t{data[0] % 32u} + 1);
  if (whole.size() != pieces.size()) std::abort();
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i].payload != pieces[i].payload) std::abort();
    (void)gantry::formats::ProtoDecode<gantry::wire::TtrpcRequest>(whole[i].payload);
    (void)gantry::formats::ProtoDecode<gantry::wire::TtrpcResponse>(whole[i].payload);
  }
  return 0;
}
