// SPDX-License-Identifier: Apache-2.0
#include "wire/ttrpc_frame.h"

#include "base/text.h"

namespace gantry::wire {
namespace {

uint32_t BigEndian32(const char* at) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(at);
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

void AppendBigEndian32(std::string* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

std::string ValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t length = Utf8Length(text);
    if (length == 0) {
      out.push_back('?');
      length = 1;
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return out;
}

void WriteBytesIfAny(formats::ProtoWriter& writer, uint32_t field, std::string_view value) {
  if (!value.empty()) writer.Bytes(field, value);
}

}  // namespace

void AppendTtrpcFrame(std::string* out, uint32_t stream, TtrpcType type, uint8_t flags,
                      std::string_view payload) {
  CHECK(payload.size() <= kTtrpcMaxPayload);
  out->reserve(out->size() + kTtrpcHeaderSize + payload.size());
  AppendBigEndian32(out, static_cast<uint32_t>(payload.size()));
  AppendBigEndian32(out, stream);
  out->push_back(static_cast<char>(type));
  out->push_back(static_cast<char>(flags));
  out->append(payload);
}

void TtrpcParser::Feed(std::string_view bytes) {
  size_t dropped = std::min<uint64_t>(discard_, bytes.size());
  discard_ -= dropped;
  bytes.remove_prefix(dropped);
  if (start_ == buffer_.size()) {
    buffer_.clear();
    start_ = 0;
  }
  buffer_.append(bytes);
}

std::optional<TtrpcFrame> TtrpcParser::Next() {
  std::string_view rest = std::string_view(buffer_).substr(start_);
  if (rest.size() < kTtrpcHeaderSize) {
    buffer_.erase(0, start_);
    start_ = 0;
    return std::nullopt;
  }
  size_t length = BigEndian32(rest.data());
  TtrpcFrame frame;
  frame.stream = BigEndian32(rest.data() + 4);
  frame.type = static_cast<uint8_t>(rest[8]);
  frame.flags = static_cast<uint8_t>(rest[9]);
  rest.remove_prefix(kTtrpcHeaderSize);
  if (length > kTtrpcMaxPayload) {
    frame.oversized = true;
    size_t here = std::min(length, rest.size());
    discard_ = length - here;
    start_ += kTtrpcHeaderSize + here;
    return frame;
  }
  if (rest.size() < length) {
    buffer_.erase(0, start_);
    start_ = 0;
    return std::nullopt;
  }
  frame.payload = rest.substr(0, length);
  start_ += kTtrpcHeaderSize + length;
  return frame;
}

void TtrpcRequest::EncodeTo(formats::ProtoWriter& writer) const {
  WriteBytesIfAny(writer, 1, service);
  WriteBytesIfAny(writer, 2, method);
  WriteBytesIfAny(writer, 3, payload);
  if (timeout_nanos != 0) {
    writer.Tag(4, formats::ProtoWire::kVarint);
    writer.RawVarint(static_cast<uint64_t>(timeout_nanos));
  }
  for (const auto& [key, value] : metadata) {
    writer.Nested(5, [&key = key, &value = value](formats::ProtoWriter& inner) {
      WriteBytesIfAny(inner, 1, key);
      WriteBytesIfAny(inner, 2, value);
    });
  }
}

void TtrpcRequest::MergeFrom(formats::ProtoReader& reader) {
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        service = reader.Bytes();
        break;
      case 2:
        method = reader.Bytes();
        break;
      case 3:
        payload = reader.Bytes();
        break;
      case 4:
        timeout_nanos = static_cast<int64_t>(reader.Varint());
        break;
      case 5:
        reader.Nested([this](formats::ProtoReader& inner) {
          auto& [key, value] = metadata.emplace_back();
          while (inner.Next()) {
            if (inner.field() == 1) {
              key = inner.Bytes();
            } else if (inner.field() == 2) {
              value = inner.Bytes();
            } else {
              inner.Skip();
            }
          }
        });
        break;
      default:
        reader.Skip();
    }
  }
}

TtrpcResponse TtrpcResponse::From(const Result<std::string>& result) {
  TtrpcResponse response;
  if (result.ok() && result->size() > kTtrpcMaxPayload - 64) {
    response.code = static_cast<int32_t>(ErrorKind::kResourceExhausted);
    response.message = "answering: the answer is longer than 4 MiB";
  } else if (result.ok()) {
    response.payload = *result;
  } else {
    response.code = static_cast<int32_t>(result.error().kind());
    response.message = ValidUtf8(result.error().message().substr(0, 65536));
  }
  return response;
}

Result<std::string> TtrpcResponse::ToResult() && {
  if (code == 0) return std::move(payload);
  bool known = code > 0 && code <= static_cast<int32_t>(ErrorKind::kUnauthenticated);
  return Error(known ? static_cast<ErrorKind>(code) : ErrorKind::kUnknown, std::move(message));
}

void TtrpcResponse::EncodeTo(formats::ProtoWriter& writer) const {
  if (code != 0) {
    writer.Nested(1, [this](formats::ProtoWriter& inner) {
      inner.Tag(1, formats::ProtoWire::kVarint);
      inner.RawVarint(static_cast<uint64_t>(int64_t{code}));
      WriteBytesIfAny(inner, 2, message);
    });
  }
  WriteBytesIfAny(writer, 2, payload);
}

void TtrpcResponse::MergeFrom(formats::ProtoReader& reader) {
  while (reader.Next()) {
    if (reader.field() == 1) {
      reader.Nested([this](formats::ProtoReader& inner) {
        while (inner.Next()) {
          if (inner.field() == 1) {
            code = static_cast<int32_t>(inner.Varint());
          } else if (inner.field() == 2) {
            message = inner.Bytes();
          } else {
            inner.Skip();
          }
        }
      });
    } else if (reader.field() == 2) {
      payload = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
}

}  // namespace gantry::wire
