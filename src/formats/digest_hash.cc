// SPDX-License-Identifier: Apache-2.0
//
// The hashing half of digest.h, apart so that programs that only read digests don't link OpenSSL.
#include <openssl/evp.h>

#include "formats/digest.h"

namespace gantry::formats {
namespace {

// Fetched once: a lookup by name at each use costs more than hashing a small blob.
const EVP_MD* Method(DigestAlgorithm algorithm) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* const sha512 = EVP_MD_fetch(nullptr, "SHA512", nullptr);
  return algorithm == DigestAlgorithm::kSha256 ? sha256 : sha512;
}

}  // namespace

Digest Digest::Of(std::string_view data, DigestAlgorithm algorithm) {
  Hasher hasher(algorithm);
  hasher.Update(data);
  return hasher.Current();
}

struct Hasher::State {
  State() : context(EVP_MD_CTX_new()) { CHECK(context != nullptr); }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  EVP_MD_CTX* context;
};

Hasher::Hasher(DigestAlgorithm algorithm)
    : algorithm_(algorithm), state_(std::make_unique<State>()) {
  Reset();
}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::Reset() {
  CHECK(EVP_DigestInit_ex(state_->context, Method(algorithm_), nullptr) == 1);
}

void Hasher::Update(std::string_view data) {
  CHECK(EVP_DigestUpdate(state_->context, data.data(), data.size()) == 1);
}

Digest Hasher::Current() const {
  State copy;
  CHECK(EVP_MD_CTX_copy_ex(copy.context, state_->context) == 1);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(copy.context, bytes, &size) == 1);
  Digest digest;
  digest.algorithm_ = algorithm_;
  digest.text_.reserve(7 + size_t{size} * 2);
  digest.text_.append(DigestAlgorithmName(algorithm_));
  digest.text_.push_back(':');
  constexpr char kHex[] = "0123456789abcdef";
  for (unsigned i = 0; i < size; ++i) {
    digest.text_.push_back(kHex[bytes[i] >> 4]);
    digest.text_.push_back(kHex[bytes[i] & 15]);
  }
  return digest;
}

Result<std::string_view> HashingSource::Next() {
  std::string_view chunk = TRY(source_.Next());
  hasher_.Update(chunk);
  size_ += chunk.size();
  return chunk;
}

}  // namespace gantry::formats
