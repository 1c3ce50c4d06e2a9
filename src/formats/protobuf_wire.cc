// SPDX-License-Identifier: Apache-2.0
#include "formats/protobuf_wire.h"

#include <limits>

namespace gantry::formats {
namespace {

void EncodeSecondsAndNanos(ProtoWriter& writer, int64_t seconds, int32_t nanos) {
  if (seconds != 0) {
    writer.Tag(1, ProtoWire::kVarint);
    writer.RawVarint(static_cast<uint64_t>(seconds));
  }
  if (nanos != 0) {
    writer.Tag(2, ProtoWire::kVarint);
    writer.RawVarint(static_cast<uint64_t>(int64_t{nanos}));
  }
}

void MergeSecondsAndNanos(ProtoReader& reader, int64_t* seconds, int32_t* nanos) {
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        *seconds = static_cast<int64_t>(reader.Varint());
        break;
      case 2:
        *nanos = static_cast<int32_t>(reader.Varint());
        break;
      default:
        reader.Skip();
    }
  }
}

}  // namespace

void ProtoWriter::RawVarint(uint64_t value) {
  while (value >= 0x80) {
    out_->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out_->push_back(static_cast<char>(value));
}

void ProtoWriter::RawFloat(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  RawFixed32(bits);
}

void ProtoWriter::RawDouble(double value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  RawFixed64(bits);
}

void ProtoWriter::RawLittleEndian(uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out_->push_back(static_cast<char>(value >> (8 * i)));
}

void ProtoWriter::InsertLength(size_t start) {
  std::string length;
  ProtoWriter(&length).RawVarint(out_->size() - start);
  out_->insert(start, length);
}

void ProtoReader::Fail(const char* fault) {
  if (fault_ == nullptr) fault_ = fault;
  rest_ = {};
}

Result<> ProtoReader::Finish() const {
  if (ok()) return {};
  return InvalidArgument("decoding protobuf: {}", fault_);
}

bool ProtoReader::Next() {
  if (!ok() || rest_.empty()) return false;
  uint64_t tag = 0;
  if (!ReadVarint(&tag)) return false;
  uint64_t field = tag >> 3;
  if (field == 0 || field > 0x1fffffff) {
    Fail("field number out of range");
    return false;
  }
  field_ = static_cast<uint32_t>(field);
  switch (tag & 7) {
    case 0:
    case 1:
    case 2:
    case 5:
      wire_ = static_cast<ProtoWire>(tag & 7);
      return true;
    default:
      Fail("unknown wire type");
      return false;
  }
}

bool ProtoReader::ReadVarint(uint64_t* out) {
  uint64_t value = 0;
  for (size_t i = 0; i < 10 && i < rest_.size(); ++i) {
    uint8_t byte = static_cast<uint8_t>(rest_[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      rest_.remove_prefix(i + 1);
      *out = value;
      return true;
    }
  }
  Fail(rest_.size() < 10 ? "truncated number" : "number longer than 10 bytes");
  return false;
}

bool ProtoReader::Expect(ProtoWire wire) {
  if (!ok()) return false;
  if (wire_ == wire) return true;
  Fail("unexpected wire type of a known field");
  return false;
}

uint64_t ProtoReader::Varint() {
  uint64_t value = 0;
  if (!Expect(ProtoWire::kVarint) || !ReadVarint(&value)) return 0;
  return value;
}

uint64_t ProtoReader::LittleEndian(size_t bytes) {
  if (rest_.size() < bytes) {
    Fail("truncated number");
    return 0;
  }
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(rest_[i])) << (8 * i);
  }
  rest_.remove_prefix(bytes);
  return value;
}

uint32_t ProtoReader::Fixed32() {
  return Expect(ProtoWire::kFixed32) ? static_cast<uint32_t>(LittleEndian(4)) : 0;
}

uint64_t ProtoReader::Fixed64() { return Expect(ProtoWire::kFixed64) ? LittleEndian(8) : 0; }

float ProtoReader::Float() {
  uint32_t bits = Fixed32();
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

double ProtoReader::Double() {
  uint64_t bits = Fixed64();
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::string_view ProtoReader::Bytes() {
  uint64_t size = 0;
  if (!Expect(ProtoWire::kBytes) || !ReadVarint(&size)) return {};
  if (size > rest_.size()) {
    Fail("truncated field");
    return {};
  }
  std::string_view value = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return value;
}

void ProtoReader::Skip() {
  uint64_t ignored = 0;
  switch (wire_) {
    case ProtoWire::kVarint:
      if (ok()) ReadVarint(&ignored);
      return;
    case ProtoWire::kFixed64:
      LittleEndian(8);
      return;
    case ProtoWire::kBytes:
      Bytes();
      return;
    case ProtoWire::kFixed32:
      LittleEndian(4);
      return;
  }
}

std::string_view ProtoAny::TypeName() const {
  std::string_view url = type_url;
  size_t slash = url.rfind('/');
  return slash == std::string_view::npos ? url : url.substr(slash + 1);
}

void ProtoAny::EncodeTo(ProtoWriter& writer) const {
  if (!type_url.empty()) writer.Bytes(1, type_url);
  if (!value.empty()) writer.Bytes(2, value);
}

void ProtoAny::MergeFrom(ProtoReader& reader) {
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        type_url = reader.Bytes();
        break;
      case 2:
        value = reader.Bytes();
        break;
      default:
        reader.Skip();
    }
  }
}

ProtoTimestamp ProtoTimestamp::From(WallTime time) {
  int64_t nanos = UnixNanos(time);
  int64_t seconds = nanos / 1'000'000'000;
  int64_t rest = nanos % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  return ProtoTimestamp{seconds, static_cast<int32_t>(rest)};
}

WallTime ProtoTimestamp::ToWallTime() const {
  int64_t total = 0;
  if (__builtin_mul_overflow(seconds, int64_t{1'000'000'000}, &total) ||
      __builtin_add_overflow(total, int64_t{nanos}, &total)) {
    total = seconds < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
  }
  return FromUnixNanos(total);
}

void ProtoTimestamp::EncodeTo(ProtoWriter& writer) const {
  EncodeSecondsAndNanos(writer, seconds, nanos);
}
void ProtoTimestamp::MergeFrom(ProtoReader& reader) {
  MergeSecondsAndNanos(reader, &seconds, &nanos);
}

void ProtoDuration::EncodeTo(ProtoWriter& writer) const {
  EncodeSecondsAndNanos(writer, seconds, nanos);
}
void ProtoDuration::MergeFrom(ProtoReader& reader) {
  MergeSecondsAndNanos(reader, &seconds, &nanos);
}

void ProtoEmpty::EncodeTo(ProtoWriter&) const {}
void ProtoEmpty::MergeFrom(ProtoReader& reader) {
  while (reader.Next()) reader.Skip();
}

void ProtoFieldMask::EncodeTo(ProtoWriter& writer) const {
  for (const std::string& path : paths) writer.Bytes(1, path);
}
void ProtoFieldMask::MergeFrom(ProtoReader& reader) {
  while (reader.Next()) {
    if (reader.field() == 1) {
      paths.emplace_back(reader.Bytes());
    } else {
      reader.Skip();
    }
  }
}

}  // namespace gantry::formats
