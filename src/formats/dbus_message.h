// SPDX-License-Identifier: Apache-2.0
//
// The D-Bus wire format (D-Bus Specification: "Type System", "Marshaling", "Message Protocol") for
// a client: values as small trees, messages to bytes and back, and the text form of values that
// annotations carry. Writes little-endian, reads both. No file descriptors. Plain values; no thread
// rule.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace gantry::formats {

// A value and its signature, one complete type: "s", "u", "as", "(st)", "v", …
struct DbusValue {
  std::string signature;
  // By the signature's first letter: "b" bool; "y", "q", "u", "t" unsigned; "n", "i", "x" signed;
  // "d" double; "s", "o", "g" string; "a", "(", "{", and "v" (one) the parts.
  std::variant<bool, uint64_t, int64_t, double, std::string, std::vector<DbusValue>> value;

  static DbusValue Bool(bool value) { return {"b", value}; }
  static DbusValue Byte(uint8_t value) { return {"y", uint64_t{value}}; }
  static DbusValue Uint32(uint32_t value) { return {"u", uint64_t{value}}; }
  static DbusValue Uint64(uint64_t value) { return {"t", value}; }
  static DbusValue String(std::string value) { return {"s", std::move(value)}; }
  static DbusValue Array(std::string_view element, std::vector<DbusValue> parts);
  static DbusValue Struct(std::vector<DbusValue> parts);
  static DbusValue Variant(DbusValue inner);

  // What it holds, or nothing of that kind: "", 0, none.
  std::string_view Text() const;
  uint64_t Number() const;
  const std::vector<DbusValue>& Parts() const;

  bool operator==(const DbusValue&) const = default;
};

enum class DbusType : uint8_t { kCall = 1, kReturn, kError, kSignal };

struct DbusMessage {
  DbusType type = DbusType::kCall;
  uint32_t serial = 0;
  uint32_t reply_serial = 0;  // of a kReturn or kError: the call's serial
  std::string path;
  std::string interface;
  std::string member;
  std::string error_name;
  std::string destination;
  std::string sender;
  std::vector<DbusValue> body;

  bool operator==(const DbusMessage&) const = default;
};

inline constexpr size_t kDbusFixedHeader = 16;
// The specification allows 128 MiB; nothing that we ask for is near this.
inline constexpr size_t kDbusMaxMessage = size_t{1} << 20;

// Its strings must hold no NUL byte, and its serial must not be 0.
std::string EncodeDbus(const DbusMessage& message);
// The whole size of the message that begins with these kDbusFixedHeader bytes.
Result<size_t> DbusMessageSize(std::string_view header);
Result<DbusMessage> DecodeDbus(std::string_view bytes);

// A value as GVariant's text format has it: true, 5 (an "i"), 1.5, 'text', ['a', 'b'], (1, 'x'),
// uint64 5, @as []. What it has beyond that (dictionaries, maybe, bytes in quotes) is refused.
Result<DbusValue> ParseDbusText(std::string_view text);

// Exactly one complete type.
bool IsDbusType(std::string_view signature);

}  // namespace gantry::formats
