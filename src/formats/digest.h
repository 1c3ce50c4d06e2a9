// SPDX-License-Identifier: Apache-2.0
//
// Content digests: "sha256:HEX" and "sha512:HEX" (OCI image-spec, descriptor.md, "Digests").
// Digest is plain data; a Hasher belongs to one thread at a time.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/byte_stream.h"
#include "base/error.h"

namespace gantry::formats {

enum class DigestAlgorithm { kSha256, kSha512 };
std::string_view DigestAlgorithmName(DigestAlgorithm algorithm);

class Digest {
 public:
  Digest() = default;  // empty: no digest
  // Only the registered algorithms with exactly as many lower-case digits as they have.
  static Result<Digest> Parse(std::string_view text);
  // The digest of bytes in memory.
  static Digest Of(std::string_view data, DigestAlgorithm algorithm = DigestAlgorithm::kSha256);

  bool empty() const { return text_.empty(); }
  // "sha256:HEX"; "" when empty.
  const std::string& text() const { return text_; }
  DigestAlgorithm algorithm() const { return algorithm_; }
  std::string_view algorithm_name() const { return DigestAlgorithmName(algorithm_); }
  // What follows the colon.
  std::string_view hex() const;

  bool operator==(const Digest& other) const { return text_ == other.text_; }
  std::strong_ordering operator<=>(const Digest& other) const {
    return text_.compare(other.text_) <=> 0;
  }

 private:
  friend class Hasher;
  DigestAlgorithm algorithm_ = DigestAlgorithm::kSha256;
  std::string text_;
};

// Computes a digest piece by piece.
class Hasher {
 public:
  explicit Hasher(DigestAlgorithm algorithm = DigestAlgorithm::kSha256);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  void Update(std::string_view data);
  // The digest so far; hashing may go on afterwards.
  Digest Current() const;
  void Reset();

 private:
  struct State;
  DigestAlgorithm algorithm_;
  std::unique_ptr<State> state_;
};

// Passes a source through and hashes what goes by.
class HashingSource : public ByteSource {
 public:
  explicit HashingSource(ByteSource& source, DigestAlgorithm algorithm = DigestAlgorithm::kSha256)
      : source_(source), hasher_(algorithm) {}
  Result<std::string_view> Next() override;
  Digest Current() const { return hasher_.Current(); }
  uint64_t size() const { return size_; }

 private:
  ByteSource& source_;
  Hasher hasher_;
  uint64_t size_ = 0;
};

}  // namespace gantry::formats
