// SPDX-License-Identifier: Apache-2.0
#include "build/attach_frames.h"

#include <utility>

namespace gantry::build {
namespace {

constexpr size_t kFrameHeader = 8;

// The length of `text` without a character of which only a part has come.
size_t WholeCharacters(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    size_t wants = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return wants > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace

Result<> AttachFrames::Take(std::string_view data, const Each& each) {
  pending_ += data;
  std::string_view left = pending_;
  Result<> taken;
  while (taken.ok() && left.size() >= kFrameHeader) {
    uint32_t size = 0;
    for (int i = 4; i < 8; ++i) size = size << 8 | static_cast<unsigned char>(left[i]);
    if (left.size() - kFrameHeader < size) break;
    taken = each(static_cast<uint8_t>(left[0]), left.substr(kFrameHeader, size));
    left.remove_prefix(kFrameHeader + size);
  }
  pending_.erase(0, pending_.size() - left.size());
  return taken;
}

std::string AttachFrames::Make(uint8_t stream, std::string_view bytes) {
  std::string out = {static_cast<char>(stream), 0, 0, 0};
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(bytes.size() >> shift));
  }
  out += bytes;
  return out;
}

Result<> OutputText::Take(bool to_stderr, std::string_view bytes) {
  std::string& rest = to_stderr ? error_rest_ : out_rest_;
  std::string text = std::exchange(rest, {});
  text += bytes;
  size_t whole = WholeCharacters(text);
  rest = text.substr(whole);
  text.resize(whole);
  if (text.empty()) return {};
  return tell_(to_stderr, text);
}

}  // namespace gantry::build
