// SPDX-License-Identifier: Apache-2.0
#include "formats/digest.h"

namespace gantry::formats {
namespace {

size_t HexDigits(DigestAlgorithm algorithm) {
  return algorithm == DigestAlgorithm::kSha256 ? 64 : 128;
}

}  // namespace

std::string_view DigestAlgorithmName(DigestAlgorithm algorithm) {
  return algorithm == DigestAlgorithm::kSha256 ? "sha256" : "sha512";
}

Result<Digest> Digest::Parse(std::string_view text) {
  Digest digest;
  size_t colon = text.find(':');
  std::string_view name = text.substr(0, colon);
  if (name == "sha256") {
    digest.algorithm_ = DigestAlgorithm::kSha256;
  } else if (name == "sha512") {
    digest.algorithm_ = DigestAlgorithm::kSha512;
  } else {
    return InvalidArgument("parsing digest '{}': expected sha256:HEX or sha512:HEX",
                           text.substr(0, 256));
  }
  if (colon == std::string_view::npos) {
    return InvalidArgument("parsing digest '{}': no ':'", text.substr(0, 256));
  }
  std::string_view hex = text.substr(colon + 1);
  if (hex.size() != HexDigits(digest.algorithm_)) {
    return InvalidArgument("parsing digest '{}': expected {} digits, got {}", text.substr(0, 256),
                           HexDigits(digest.algorithm_), hex.size());
  }
  if (hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return InvalidArgument("parsing digest '{}': expected lower-case hexadecimal digits", text);
  }
  digest.text_ = text;
  return digest;
}

std::string_view Digest::hex() const {
  return text_.empty() ? std::string_view() : std::string_view(text_).substr(7);
}

}  // namespace gantry::formats
