// SPDX-License-Identifier: Apache-2.0
//
// Bytes as an attach request, as client frames in two cuts (both must give the same stdin), and as
// a stdio URI.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "shim/attach_protocol.h"
#include "shim/stdio_uri.h"

namespace {

std::string Stdin(std::string_view bytes, size_t piece) {
  gantry::shim::FrameParser parser;
  std::string got;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    std::string_view input = bytes.substr(at, piece);
    std::string_view out;
    while (parser.Next(&input, &out)) got += out;
  }
  return got;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::shim;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size >= kAttachRequestSize) (void)ParseAttachRequest(bytes.substr(0, kAttachRequestSize));
  if (Stdin(bytes, bytes.size() + 1) != Stdin(bytes, 3)) std::abort();
  auto uri = ParseStdioUri(bytes);
  if (uri.ok()) (void)ParseGantryStdio(*uri);
  return 0;
}
