// SPDX-License-Identifier: Apache-2.0
#include "formats/dbus_message.h"

#include <algorithm>
#include <cstring>

namespace gantry::formats {
namespace {

constexpr int kMaxDepth = 32;  // of arrays, and of structures; the specification's
constexpr size_t kMaxSignature = 255;

// Header fields ("Header Fields").
enum Field : uint8_t {
  kPath = 1,
  kInterface,
  kMember,
  kErrorName,
  kReplySerial,
  kDestination,
  kSender,
  kSignature,
};

// The length of the first complete type of a signature; 0: there is none.
size_t TypeLength(std::string_view signature, int depth) {
  if (signature.empty() || depth > kMaxDepth) return 0;
  char kind = signature[0];
  if (kind == 'a') {
    std::string_view element = signature.substr(1);
    // A dictionary's entry: a basic key, one value.
    if (element.starts_with('{')) {
      if (element.size() < 4 ||
          std::string_view("ybnqiuxtdsog").find(element[1]) == std::string::npos) {
        return 0;
      }
      size_t value = TypeLength(element.substr(2), depth + 1);
      if (value == 0 || value + 2 >= element.size() || element[value + 2] != '}') return 0;
      return value + 4;
    }
    size_t length = TypeLength(element, depth + 1);
    return length == 0 ? 0 : length + 1;
  }
  if (kind == '(') {
    size_t at = 1;
    while (at < signature.size() && signature[at] != ')') {
      size_t length = TypeLength(signature.substr(at), depth + 1);
      if (length == 0) return 0;
      at += length;
    }
    return at > 1 && at < signature.size() ? at + 1 : 0;
  }
  return std::string_view("ybnqiuxtdsogv").find(kind) != std::string_view::npos ? 1 : 0;
}

size_t Alignment(char kind) {
  switch (kind) {
    case 'n':
    case 'q':
      return 2;
    case 'b':
    case 'i':
    case 'u':
    case 's':
    case 'o':
    case 'a':
      return 4;
    case 'x':
    case 't':
    case 'd':
    case '(':
    case '{':
      return 8;
    default:
      return 1;
  }
}

size_t NumberSize(char kind) { return kind == 'y' ? 1 : Alignment(kind); }

// Positions count from the start of `out`, which begins at an offset that is a multiple of 8.
class Writer {
 public:
  std::string out;

  void Align(size_t alignment) {
    while (out.size() % alignment != 0) out.push_back('\0');
  }
  void Number(uint64_t value, size_t size) {
    Align(size);
    for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  }
  void String(std::string_view text) {
    Number(text.size(), 4);
    out.append(text).push_back('\0');
  }
  void Signature(std::string_view text) {
    out.push_back(static_cast<char>(text.size()));
    out.append(text).push_back('\0');
  }

  void Value(const DbusValue& value) {
    char kind = value.signature.empty() ? '\0' : value.signature[0];
    switch (kind) {
      case 'b':
        return Number(std::get<bool>(value.value) ? 1 : 0, 4);
      case 'd': {
        uint64_t bits = 0;
        std::memcpy(&bits, &std::get<double>(value.value), sizeof bits);
        return Number(bits, 8);
      }
      case 's':
      case 'o':
        return String(std::get<std::string>(value.value));
      case 'g':
        return Signature(std::get<std::string>(value.value));
      case 'v': {
        const DbusValue& inner = value.Parts().at(0);
        Signature(inner.signature);
        return Value(inner);
      }
      case '(':
      case '{':
        Align(8);
        for (const DbusValue& part : value.Parts()) Value(part);
        return;
      case 'a':
        return Array(value);
      case 'n':
      case 'i':
      case 'x':
        return Number(static_cast<uint64_t>(std::get<int64_t>(value.value)), NumberSize(kind));
      default:
        return Number(std::get<uint64_t>(value.value), NumberSize(kind));
    }
  }

 private:
  // The length counts neither itself nor the padding before the first element.
  void Array(const DbusValue& value) {
    Number(0, 4);
    size_t length_at = out.size() - 4;
    Align(Alignment(value.signature[1]));
    size_t start = out.size();
    for (const DbusValue& part : value.Parts()) Value(part);
    size_t length = out.size() - start;
    for (size_t i = 0; i < 4; ++i) out[length_at + i] = static_cast<char>(length >> (8 * i));
  }
};

// Reads never go past the end; after a fault everything reads as nothing.
class Reader {
 public:
  Reader(std::string_view bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  bool ok() const { return fault_ == nullptr; }
  size_t at() const { return at_; }
  void Fail(const char* fault) {
    if (fault_ == nullptr) fault_ = fault;
  }
  Result<> Finish() const {
    if (ok()) return {};
    return InvalidArgument("decoding a D-Bus message: {}", fault_);
  }

  void Align(size_t alignment) {
    while (ok() && at_ % alignment != 0) {
      if (Take(1) != std::string_view("\0", 1)) Fail("padding is not zero");
    }
  }
  uint64_t Number(size_t size) {
    Align(size);
    std::string_view bytes = Take(size);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      size_t shift = big_endian_ ? bytes.size() - 1 - i : i;
      value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * shift);
    }
    return value;
  }
  std::string String() { return Text(Number(4)); }
  std::string Signature() {
    std::string text = Text(Number(1));
    if (text.size() > kMaxSignature) Fail("a signature is too long");
    return text;
  }

  DbusValue Value(std::string_view signature, int depth) {
    DbusValue out{std::string(signature), uint64_t{0}};
    if (depth > 2 * kMaxDepth) Fail("nested too deeply");
    if (!ok()) return out;
    switch (signature[0]) {
      case 'b': {
        uint64_t number = Number(4);
        if (number > 1) Fail("a boolean is neither 0 nor 1");
        out.value = number == 1;
        break;
      }
      case 'd': {
        uint64_t bits = Number(8);
        double number = 0;
        std::memcpy(&number, &bits, sizeof number);
        out.value = number;
        break;
      }
      case 's':
      case 'o':
        out.value = String();
        break;
      case 'g':
        out.value = Signature();
        break;
      case 'v':
        out.value = std::vector<DbusValue>{Inner(depth)};
        break;
      case '(':
      case '{':
        Align(8);
        out.value = Members(signature.substr(1, signature.size() - 2), depth);
        break;
      case 'a':
        out.value = Elements(signature.substr(1), depth);
        break;
      case 'n':
        out.value = int64_t{static_cast<int16_t>(Number(2))};
        break;
      case 'i':
        out.value = int64_t{static_cast<int32_t>(Number(4))};
        break;
      case 'x':
        out.value = static_cast<int64_t>(Number(8));
        break;
      default:
        out.value = Number(NumberSize(signature[0]));
    }
    return out;
  }

  // The values of a signature of any number of types.
  std::vector<DbusValue> Members(std::string_view signature, int depth) {
    std::vector<DbusValue> parts;
    while (ok() && !signature.empty()) {
      size_t length = TypeLength(signature, 0);
      if (length == 0) {
        Fail("bad signature");
        break;
      }
      parts.push_back(Value(signature.substr(0, length), depth + 1));
      signature.remove_prefix(length);
    }
    return parts;
  }

 private:
  std::string_view Take(size_t size) {
    if (!ok() || size > bytes_.size() - at_) {
      Fail("it is cut short");
      return {};
    }
    std::string_view out = bytes_.substr(at_, size);
    at_ += size;
    return out;
  }
  std::string Text(size_t size) {
    std::string text(Take(size));
    if (text.find('\0') != std::string::npos || Take(1) != std::string_view("\0", 1)) {
      Fail("a string with a NUL byte inside, or none at its end");
    }
    return text;
  }
  DbusValue Inner(int depth) {
    std::string signature = Signature();
    if (ok() && !IsDbusType(signature)) Fail("bad signature");
    return ok() ? Value(signature, depth + 1) : DbusValue{"y", uint64_t{0}};
  }
  std::vector<DbusValue> Elements(std::string_view element, int depth) {
    std::vector<DbusValue> parts;
    size_t length = Number(4);
    Align(Alignment(element[0]));
    if (length > bytes_.size() - at_) Fail("it is cut short");
    size_t end = at_ + length;
    while (ok() && at_ < end) parts.push_back(Value(element, depth + 1));
    if (at_ != end) Fail("an array's length is wrong");
    return parts;
  }

  std::string_view bytes_;
  bool big_endian_;
  size_t at_ = 0;
  const char* fault_ = nullptr;
};

std::string* TextField(DbusMessage* message, uint64_t field) {
  switch (field) {
    case kPath:
      return &message->path;
    case kInterface:
      return &message->interface;
    case kMember:
      return &message->member;
    case kErrorName:
      return &message->error_name;
    case kDestination:
      return &message->destination;
    case kSender:
      return &message->sender;
    default:
      return nullptr;
  }
}

size_t RoundedUp(size_t size) { return (size + 7) / 8 * 8; }

}  // namespace

bool IsDbusType(std::string_view signature) {
  return !signature.empty() && signature.size() <= kMaxSignature &&
         TypeLength(signature, 0) == signature.size();
}

DbusValue DbusValue::Array(std::string_view element, std::vector<DbusValue> parts) {
  return {"a" + std::string(element), std::move(parts)};
}

DbusValue DbusValue::Struct(std::vector<DbusValue> parts) {
  std::string signature = "(";
  for (const DbusValue& part : parts) signature += part.signature;
  return {signature + ")", std::move(parts)};
}

DbusValue DbusValue::Variant(DbusValue inner) {
  return {"v", std::vector<DbusValue>{std::move(inner)}};
}

std::string_view DbusValue::Text() const {
  const std::string* text = std::get_if<std::string>(&value);
  return text != nullptr ? std::string_view(*text) : std::string_view();
}

uint64_t DbusValue::Number() const {
  const uint64_t* number = std::get_if<uint64_t>(&value);
  return number != nullptr ? *number : 0;
}

const std::vector<DbusValue>& DbusValue::Parts() const {
  static const std::vector<DbusValue> kNone;
  const std::vector<DbusValue>* parts = std::get_if<std::vector<DbusValue>>(&value);
  return parts != nullptr ? *parts : kNone;
}

std::string EncodeDbus(const DbusMessage& message) {
  Writer body;
  std::string signature;
  for (const DbusValue& value : message.body) {
    signature += value.signature;
    body.Value(value);
  }
  Writer head;
  head.out = {'l', static_cast<char>(message.type), 0, 1};
  head.Number(body.out.size(), 4);
  head.Number(message.serial, 4);
  std::vector<DbusValue> fields;
  auto add = [&](Field field, DbusValue value) {
    fields.push_back(
        DbusValue::Struct({DbusValue::Byte(field), DbusValue::Variant(std::move(value))}));
  };
  if (!message.path.empty()) add(kPath, {"o", message.path});
  if (!message.interface.empty()) add(kInterface, DbusValue::String(message.interface));
  if (!message.member.empty()) add(kMember, DbusValue::String(message.member));
  if (!message.error_name.empty()) add(kErrorName, DbusValue::String(message.error_name));
  if (message.reply_serial != 0) add(kReplySerial, DbusValue::Uint32(message.reply_serial));
  if (!message.destination.empty()) add(kDestination, DbusValue::String(message.destination));
  if (!message.sender.empty()) add(kSender, DbusValue::String(message.sender));
  if (!signature.empty()) add(kSignature, {"g", signature});
  head.Value(DbusValue::Array("(yv)", std::move(fields)));
  head.Align(8);
  return head.out + body.out;
}

Result<size_t> DbusMessageSize(std::string_view header) {
  if (header.size() < kDbusFixedHeader || (header[0] != 'l' && header[0] != 'B') ||
      header[3] != 1) {
    return InvalidArgument("decoding a D-Bus message: it is none");
  }
  Reader reader(header, header[0] == 'B');
  for (int i = 0; i < 4; ++i) reader.Number(1);
  size_t body = reader.Number(4);
  reader.Number(4);
  size_t fields = reader.Number(4);
  if (body > kDbusMaxMessage || fields > kDbusMaxMessage) {
    return MakeError(ErrorKind::kResourceExhausted, "decoding a D-Bus message: it is too big");
  }
  return RoundedUp(kDbusFixedHeader + fields) + body;
}

Result<DbusMessage> DecodeDbus(std::string_view bytes) {
  if (TRY(DbusMessageSize(bytes)) != bytes.size()) {
    return InvalidArgument("decoding a D-Bus message: its size is wrong");
  }
  bool big_endian = bytes[0] == 'B';
  Reader reader(bytes, big_endian);
  reader.Number(1);
  DbusMessage message;
  uint64_t type = reader.Number(1);
  if (type < 1 || type > 4) reader.Fail("unknown type");
  message.type = static_cast<DbusType>(type);
  reader.Number(1);
  reader.Number(1);
  reader.Number(4);
  message.serial = static_cast<uint32_t>(reader.Number(4));
  if (message.serial == 0) reader.Fail("its serial is 0");
  std::string signature;
  DbusValue fields = reader.Value("a(yv)", 0);
  for (const DbusValue& field : fields.Parts()) {
    if (field.Parts().size() != 2 || field.Parts()[1].Parts().size() != 1) continue;
    uint64_t code = field.Parts()[0].Number();
    const DbusValue& value = field.Parts()[1].Parts()[0];
    if (std::string* text = TextField(&message, code)) {
      if (value.signature != (code == kPath ? "o" : "s")) reader.Fail("bad header field");
      *text = value.Text();
    } else if (code == kReplySerial) {
      message.reply_serial = static_cast<uint32_t>(value.Number());
    } else if (code == kSignature) {
      signature = value.Text();
    }
  }
  reader.Align(8);
  TRY(reader.Finish());
  Reader body(bytes.substr(reader.at()), big_endian);
  message.body = body.Members(signature, 0);
  TRY(body.Finish());
  if (body.at() != bytes.size() - reader.at()) {
    return InvalidArgument("decoding a D-Bus message: its body is longer than its signature");
  }
  return message;
}

}  // namespace gantry::formats
