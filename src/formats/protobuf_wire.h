// SPDX-License-Identifier: Apache-2.0
//
// The protobuf wire format (protobuf.dev/programming-guides/encoding) without a protobuf library,
// for the static programs. tools/protoc-gen-plain writes structs that use it; the well-known types
// that the containerd protocols carry are at the end. Reads are bounds checked, unknown fields are
// skipped, groups are refused. Plain values; no thread rule.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace gantry::formats {

enum class ProtoWire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Appends fields to a string.
class ProtoWriter {
 public:
  explicit ProtoWriter(std::string* out) : out_(out) {}

  void Tag(uint32_t field, ProtoWire wire) {
    RawVarint((uint64_t{field} << 3) | static_cast<uint64_t>(wire));
  }
  void RawVarint(uint64_t value);
  void RawZigzag(int64_t value) {
    RawVarint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void RawFixed32(uint32_t value) { RawLittleEndian(value, 4); }
  void RawFixed64(uint64_t value) { RawLittleEndian(value, 8); }
  void RawFloat(float value);
  void RawDouble(double value);
  void RawBytes(std::string_view value) {
    RawVarint(value.size());
    out_->append(value);
  }
  void Bytes(uint32_t field, std::string_view value) {
    Tag(field, ProtoWire::kBytes);
    RawBytes(value);
  }
  // A length-delimited field whose content `write(ProtoWriter&)` appends.
  template <typename F>
  void Nested(uint32_t field, F&& write) {
    Tag(field, ProtoWire::kBytes);
    size_t start = out_->size();
    write(*this);
    InsertLength(start);
  }

 private:
  void RawLittleEndian(uint64_t value, int bytes);
  void InsertLength(size_t start);

  std::string* out_;
};

// Walks over the fields of a message:
//
//   while (reader.Next()) {
//     switch (reader.field()) {
//       case 1: id = reader.Bytes(); break;
//       default: reader.Skip();
//     }
//   }
//
// The first fault is kept; after it Next() is false and every value is 0 or empty.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view bytes) : rest_(bytes) {}

  bool Next();
  uint32_t field() const { return field_; }

  uint64_t Varint();
  int64_t Zigzag() {
    uint64_t value = Varint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }
  uint32_t Fixed32();
  uint64_t Fixed64();
  float Float();
  double Double();
  std::string_view Bytes();
  void Skip();

  // Calls read(ProtoReader&) with the fields of a nested message.
  template <typename F>
  void Nested(F&& read) {
    ProtoReader inner(Bytes());
    inner.depth_ = depth_ + 1;
    if (inner.depth_ > kMaxDepth) Fail("messages nested too deeply");
    if (ok()) read(inner);
    if (!inner.ok()) Fail(inner.fault_);
  }
  // Calls read(ProtoReader&) for each element, packed or not; it reads one value of this type.
  template <typename F>
  void Repeated(ProtoWire element, F&& read) {
    if (wire_ != ProtoWire::kBytes) return read(*this);
    ProtoReader inner(Bytes());
    inner.wire_ = element;
    while (inner.ok() && !inner.rest_.empty()) read(inner);
    if (!inner.ok()) Fail(inner.fault_);
  }

  bool ok() const { return fault_ == nullptr; }
  Result<> Finish() const;

 private:
  static constexpr int kMaxDepth = 100;
  bool Expect(ProtoWire wire);
  bool ReadVarint(uint64_t* out);
  uint64_t LittleEndian(size_t bytes);
  void Fail(const char* fault);

  std::string_view rest_;
  uint32_t field_ = 0;
  ProtoWire wire_ = ProtoWire::kVarint;
  int depth_ = 0;
  const char* fault_ = nullptr;
};

// What every plain message offers; `Message` has EncodeTo(ProtoWriter&) and
// MergeFrom(ProtoReader&).
template <typename Message>
std::string ProtoEncode(const Message& message) {
  std::string out;
  ProtoWriter writer(&out);
  message.EncodeTo(writer);
  return out;
}
template <typename Message>
Result<Message> ProtoDecode(std::string_view bytes) {
  ProtoReader reader(bytes);
  Message message;
  message.MergeFrom(reader);
  TRY(reader.Finish());
  return message;
}

// google.protobuf.Any
struct ProtoAny {
  std::string type_url;
  std::string value;

  // The type's name: what follows the last slash of the URL.
  std::string_view TypeName() const;
  void EncodeTo(ProtoWriter& writer) const;
  void MergeFrom(ProtoReader& reader);
  bool operator==(const ProtoAny&) const = default;
};

// google.protobuf.Timestamp
struct ProtoTimestamp {
  int64_t seconds = 0;
  int32_t nanos = 0;

  static ProtoTimestamp From(WallTime time);
  // Saturates outside of what 64 bits of nanoseconds hold (the years 1678 to 2262).
  WallTime ToWallTime() const;
  void EncodeTo(ProtoWriter& writer) const;
  void MergeFrom(ProtoReader& reader);
  bool operator==(const ProtoTimestamp&) const = default;
};

// google.protobuf.Duration
struct ProtoDuration {
  int64_t seconds = 0;
  int32_t nanos = 0;

  void EncodeTo(ProtoWriter& writer) const;
  void MergeFrom(ProtoReader& reader);
  bool operator==(const ProtoDuration&) const = default;
};

// google.protobuf.Empty
struct ProtoEmpty {
  void EncodeTo(ProtoWriter& writer) const;
  void MergeFrom(ProtoReader& reader);
  bool operator==(const ProtoEmpty&) const = default;
};

// google.protobuf.FieldMask
struct ProtoFieldMask {
  std::vector<std::string> paths;

  void EncodeTo(ProtoWriter& writer) const;
  void MergeFrom(ProtoReader& reader);
  bool operator==(const ProtoFieldMask&) const = default;
};

}  // namespace gantry::formats
