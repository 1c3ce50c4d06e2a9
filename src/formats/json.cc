// SPDX-License-Identifier: Apache-2.0
#include "formats/json.h"

#include <fmt/format.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <unordered_map>

#include "base/text.h"

namespace gantry::formats {
namespace {

constexpr int kMaxJsonDepth = 256;
constexpr size_t kSearchedMembers = 32;

const Json kNull;
const std::string kEmptyString;
const Json::Array kEmptyArray;
const Json::Members kEmptyMembers;

// The value of a number that RapidJSON found well-formed. Its own conversion of RapidJSON 1.1 reads
// outside of its table of powers when many digits meet a small exponent ("0.1…1e-1000"). strtod(3)
// reads the "C" locale's form, which these programs never leave; std::from_chars would load libm at
// every start of the CLI.
Json NumberOf(const std::string& text) {
  const char* end = text.data() + text.size();
  auto whole = [&](auto value) -> std::optional<Json> {
    auto [stop, error] = std::from_chars(text.data(), end, value);
    return stop == end && error == std::errc() ? std::optional<Json>(value) : std::nullopt;
  };
  if (auto json = whole(int64_t{})) return *json;
  if (auto json = whole(uint64_t{})) return *json;
  return Json(::strtod(text.c_str(), nullptr));
}

// An escaped low surrogate without its high one becomes U+FFFD, as in Go; RapidJSON writes it as if
// it were a character. Whatever else is in a string has been checked.
std::string TextOf(const char* text, size_t size) {
  std::string out(text, size);
  for (size_t at = 0; (at = out.find('\xED', at)) != std::string::npos; at += 3) {
    if (static_cast<unsigned char>(out[at + 1]) >= 0xA0) out.replace(at, 3, "\xEF\xBF\xBD");
  }
  return out;
}

// Receives RapidJSON's events and builds values bottom-up: finished values wait on a stack until
// their array or object ends.
class Builder : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Builder> {
 public:
  bool Null() { return Add(Json()); }
  bool Bool(bool value) { return Add(Json(value)); }
  bool RawNumber(const char* text, rapidjson::SizeType size, bool) {
    return Add(NumberOf(std::string(text, size)));
  }
  bool String(const char* text, rapidjson::SizeType size, bool) {
    return Add(Json(TextOf(text, size)));
  }
  bool Key(const char* text, rapidjson::SizeType size, bool) {
    keys_.push_back(TextOf(text, size));
    return true;
  }
  bool StartObject() { return ++depth_ <= kMaxJsonDepth; }
  bool EndObject(rapidjson::SizeType count) {
    --depth_;
    Json object = Json::MakeObject();
    Json::Members& members = object.mutable_members();
    members.reserve(count);
    size_t first_value = values_.size() - count;
    size_t first_key = keys_.size() - count;
    // Of a large object; a small one is searched.
    std::unordered_map<std::string_view, Json*> places;
    for (size_t i = 0; i < count; ++i) {
      Json& value = values_[first_value + i];
      std::string& key = keys_[first_key + i];
      Json* earlier = nullptr;
      if (count > kSearchedMembers) {
        auto place = places.find(key);
        if (place != places.end()) earlier = place->second;
      } else if (count > 1) {
        earlier = object.Find(key);
      }
      if (earlier != nullptr) {
        *earlier = std::move(value);
        continue;
      }
      auto& [name, member] = members.emplace_back(std::move(key), std::move(value));
      if (count > kSearchedMembers) places.emplace(name, &member);
    }
    values_.resize(first_value);
    keys_.resize(first_key);
    return Add(std::move(object));
  }
  bool StartArray() { return ++depth_ <= kMaxJsonDepth; }
  bool EndArray(rapidjson::SizeType count) {
    --depth_;
    size_t first = values_.size() - count;
    Json::Array items(std::make_move_iterator(values_.begin() + static_cast<ptrdiff_t>(first)),
                      std::make_move_iterator(values_.end()));
    values_.resize(first);
    return Add(Json(std::move(items)));
  }

  Json Take() { return std::move(values_.back()); }
  bool too_deep() const { return depth_ > kMaxJsonDepth; }

 private:
  bool Add(Json value) {
    values_.push_back(std::move(value));
    return true;
  }

  int depth_ = 0;
  std::vector<Json> values_;
  std::vector<std::string> keys_;
};

void Newline(std::string* out, int indent, int level) {
  if (indent < 0) return;
  out->push_back('\n');
  out->append(static_cast<size_t>(indent) * static_cast<size_t>(level), ' ');
}

void DumpDouble(std::string* out, double value) {
  if (!std::isfinite(value)) {
    out->append("null");
    return;
  }
  // The shortest form, without std::to_chars, which would load libm at every start of the CLI.
  out->append(fmt::format("{}", value));
}

void DumpTo(std::string* out, const Json& json, int indent, int level) {
  if (json.is_null()) {
    out->append("null");
  } else if (json.is_bool()) {
    out->append(json.AsBool() ? "true" : "false");
  } else if (json.is_int64()) {
    out->append(fmt::format_int(json.AsInt()).c_str());
  } else if (json.is_uint64()) {
    out->append(fmt::format_int(json.AsUint()).c_str());
  } else if (json.is_number()) {
    DumpDouble(out, json.AsDouble());
  } else if (json.is_string()) {
    AppendJsonString(out, json.AsString());
  } else if (json.is_array()) {
    out->push_back('[');
    bool first = true;
    for (const Json& item : json.items()) {
      if (!first) out->push_back(',');
      first = false;
      Newline(out, indent, level + 1);
      DumpTo(out, item, indent, level + 1);
    }
    if (!first) Newline(out, indent, level);
    out->push_back(']');
  } else {
    out->push_back('{');
    bool first = true;
    for (const auto& [key, value] : json.members()) {
      if (!first) out->push_back(',');
      first = false;
      Newline(out, indent, level + 1);
      AppendJsonString(out, key);
      out->append(indent < 0 ? ":" : ": ");
      DumpTo(out, value, indent, level + 1);
    }
    if (!first) Newline(out, indent, level);
    out->push_back('}');
  }
}

}  // namespace

Json::Json(uint64_t value) {
  if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    value_ = static_cast<int64_t>(value);
  } else {
    value_ = value;
  }
}

Json::Json(const std::vector<std::string>& value) : value_(Array(value.begin(), value.end())) {}

Json::Json(const std::map<std::string, std::string>& value) {
  Members members;
  members.reserve(value.size());
  for (const auto& [key, item] : value) members.emplace_back(key, Json(item));
  value_ = std::move(members);
}

Json Json::MakeArray(std::initializer_list<Json> items) { return Json(Array(items)); }

Json Json::MakeObject(std::initializer_list<Member> members) {
  Json json;
  json.value_ = Members(members);
  return json;
}

namespace {

// In the words of Go's decoder, which docker's clients know.
std::string ParseErrorText(const rapidjson::ParseResult& result, std::string_view text) {
  size_t at = result.Offset();
  if (result.Code() == rapidjson::kParseErrorDocumentRootNotSingular) {
    return "unexpected content after JSON";
  }
  if (result.Code() == rapidjson::kParseErrorDocumentEmpty) return "EOF";
  bool cut = text.find_first_not_of(" \t\r\n", std::min(at, text.size())) == text.npos;
  std::string_view where;
  switch (result.Code()) {
    case rapidjson::kParseErrorValueInvalid:
      where = "looking for beginning of value";
      break;
    case rapidjson::kParseErrorObjectMissName:
      where = "looking for beginning of object key string";
      break;
    case rapidjson::kParseErrorObjectMissColon:
      where = "after object key";
      break;
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
      where = "after object key:value pair";
      break;
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
      where = "after array element";
      break;
    default:
      break;
  }
  if (cut) return "unexpected EOF";
  if (where.empty() || text[at] < ' ' || text[at] > '~') {
    return fmt::format("{} at byte {}", rapidjson::GetParseError_En(result.Code()), at);
  }
  return fmt::format("invalid character '{}' {} at byte {}", text[at], where, at);
}

}  // namespace

Result<Json> Json::Parse(std::string_view text) {
  Builder builder;
  rapidjson::Reader reader;
  rapidjson::MemoryStream stream(text.data(), text.size());
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag |
                              rapidjson::kParseNumbersAsStringsFlag |
                              rapidjson::kParseValidateEncodingFlag;
  rapidjson::ParseResult result = reader.Parse<kFlags>(stream, builder);
  if (builder.too_deep()) {
    return InvalidArgument("parsing JSON: nested deeper than {} levels", kMaxJsonDepth);
  }
  if (result.IsError()) {
    return InvalidArgument("parsing JSON: {}", ParseErrorText(result, text));
  }
  return builder.Take();
}

std::string Json::Dump(int indent) const {
  std::string out;
  DumpTo(&out, *this, indent, 0);
  return out;
}

bool Json::AsBool(bool fallback) const {
  const bool* value = std::get_if<bool>(&value_);
  return value != nullptr ? *value : fallback;
}

int64_t Json::AsInt(int64_t fallback) const {
  const int64_t* value = std::get_if<int64_t>(&value_);
  return value != nullptr ? *value : fallback;
}

uint64_t Json::AsUint(uint64_t fallback) const {
  if (const uint64_t* value = std::get_if<uint64_t>(&value_)) return *value;
  const int64_t* value = std::get_if<int64_t>(&value_);
  return value != nullptr && *value >= 0 ? static_cast<uint64_t>(*value) : fallback;
}

double Json::AsDouble(double fallback) const {
  if (const double* value = std::get_if<double>(&value_)) return *value;
  if (is_int64()) return static_cast<double>(AsInt());
  if (is_uint64()) return static_cast<double>(AsUint());
  return fallback;
}

const std::string& Json::AsString() const {
  const std::string* value = std::get_if<std::string>(&value_);
  return value != nullptr ? *value : kEmptyString;
}

const Json::Array& Json::items() const {
  const Array* value = std::get_if<Array>(&value_);
  return value != nullptr ? *value : kEmptyArray;
}

const Json::Members& Json::members() const {
  const Members* value = std::get_if<Members>(&value_);
  return value != nullptr ? *value : kEmptyMembers;
}

const Json* Json::Find(std::string_view key) const {
  for (const Member& member : members()) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Json* Json::Find(std::string_view key) { return const_cast<Json*>(std::as_const(*this).Find(key)); }

const Json& Json::operator[](std::string_view key) const {
  const Json* found = Find(key);
  return found != nullptr ? *found : kNull;
}

const Json& Json::at(size_t index) const { return index < items().size() ? items()[index] : kNull; }

size_t Json::size() const {
  if (is_string()) return AsString().size();
  return is_array() ? items().size() : members().size();
}

Json& Json::Set(std::string_view key, Json value) & {
  MutableMember(key) = std::move(value);
  return *this;
}

Json& Json::MutableMember(std::string_view key) {
  if (Json* found = Find(key)) return *found;
  return mutable_members().emplace_back(std::string(key), Json()).second;
}

void Json::Erase(std::string_view key) {
  if (Members* members = std::get_if<Members>(&value_)) {
    std::erase_if(*members, [&](const Member& member) { return member.first == key; });
  }
}

Json& Json::Append(Json value) & {
  mutable_items().push_back(std::move(value));
  return *this;
}

Json::Array& Json::mutable_items() {
  if (!is_array()) value_ = Array();
  return std::get<Array>(value_);
}

Json::Members& Json::mutable_members() {
  if (!is_object()) value_ = Members();
  return std::get<Members>(value_);
}

void AppendJsonString(std::string* out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  size_t plain = 0;  // start of the run that needs no escape
  size_t at = 0;
  auto flush = [&](size_t end) { out->append(text, plain, end - plain); };
  while (at < text.size()) {
    unsigned char c = static_cast<unsigned char>(text[at]);
    if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
      ++at;
      continue;
    }
    size_t length = Utf8Length(text.substr(at));
    std::string_view sequence = text.substr(at, length);
    bool separator = sequence == "\xE2\x80\xA8" || sequence == "\xE2\x80\xA9";
    if (length > 1 && !separator) {
      at += length;
      continue;
    }
    flush(at);
    if (separator) {
      out->append(sequence[2] == '\xA8' ? "\\u2028" : "\\u2029");
    } else if (length == 0) {
      out->append("\\ufffd");
    } else if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(static_cast<char>(c));
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\r') {
      out->append("\\r");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (c == 0x7F) {
      out->push_back('\x7F');
    } else {
      out->append("\\u00");
      out->push_back(kHex[c >> 4]);
      out->push_back(kHex[c & 15]);
    }
    at += length == 0 ? 1 : length;
    plain = at;
  }
  flush(text.size());
  out->push_back('"');
}

JsonReader::JsonReader(const Json& json, std::string path, Keys keys)
    : json_(&json), path_(std::move(path)), keys_(keys) {
  if (!json.is_object()) {
    error_ = InvalidArgument("{}: expected an object", path_.empty() ? "document" : path_);
  }
}

const Json* JsonReader::Find(std::string_view key) const {
  const Json* member = json_->Find(key);
  if (member == nullptr && keys_ == Keys::kAnyCase) {
    for (const auto& [name, value] : json_->members()) {
      bool same = name.size() == key.size() &&
                  std::equal(name.begin(), name.end(), key.begin(), [](char a, char b) {
                    return std::tolower(static_cast<unsigned char>(a)) ==
                           std::tolower(static_cast<unsigned char>(b));
                  });
      if (same) member = &value;
    }
  }
  return member == nullptr || member->is_null() ? nullptr : member;
}

std::string JsonReader::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void JsonReader::Take(const JsonReader& inner) {
  if (!error_ && inner.error_) error_ = inner.error_;
}

void JsonReader::Fail(std::string_view key, std::string_view what) {
  if (!error_) error_ = InvalidArgument("{}: {}", PathOf(key), what);
}

Result<> JsonReader::Finish() const {
  if (error_) return *error_;
  return {};
}

void JsonReader::Field(std::string_view key, std::string* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_string()) return Fail(key, "expected a string");
  *out = member->AsString();
}

void JsonReader::Field(std::string_view key, bool* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_bool()) return Fail(key, "expected true or false");
  *out = member->AsBool();
}

void JsonReader::Field(std::string_view key, int64_t* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_int64()) return Fail(key, "expected a 64-bit integer");
  *out = member->AsInt();
}

void JsonReader::Field(std::string_view key, uint64_t* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_integer() || (member->is_int64() && member->AsInt() < 0)) {
    return Fail(key, "expected an unsigned integer");
  }
  *out = member->AsUint();
}

void JsonReader::Field(std::string_view key, int32_t* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_int64() || member->AsInt() < INT32_MIN || member->AsInt() > INT32_MAX) {
    return Fail(key, "expected a 32-bit integer");
  }
  *out = static_cast<int32_t>(member->AsInt());
}

void JsonReader::Field(std::string_view key, uint32_t* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_int64() || member->AsInt() < 0 || member->AsInt() > UINT32_MAX) {
    return Fail(key, "expected an unsigned 32-bit integer");
  }
  *out = static_cast<uint32_t>(member->AsInt());
}

void JsonReader::Field(std::string_view key, double* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_number()) return Fail(key, "expected a number");
  *out = member->AsDouble();
}

void JsonReader::Field(std::string_view key, std::vector<std::string>* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_array()) return Fail(key, "expected an array of strings");
  std::vector<std::string> values;
  values.reserve(member->items().size());
  for (const Json& item : member->items()) {
    if (!item.is_string()) return Fail(key, "expected an array of strings");
    values.push_back(item.AsString());
  }
  *out = std::move(values);
}

void JsonReader::Field(std::string_view key, std::vector<uint32_t>* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_array()) return Fail(key, "expected an array of unsigned 32-bit integers");
  std::vector<uint32_t> values;
  for (const Json& item : member->items()) {
    if (!item.is_int64() || item.AsInt() < 0 || item.AsInt() > UINT32_MAX) {
      return Fail(key, "expected an array of unsigned 32-bit integers");
    }
    values.push_back(static_cast<uint32_t>(item.AsInt()));
  }
  *out = std::move(values);
}

void JsonReader::Field(std::string_view key, std::map<std::string, std::string>* out) {
  const Json* member = Find(key);
  if (member == nullptr) return;
  if (!member->is_object()) return Fail(key, "expected an object of strings");
  std::map<std::string, std::string> values;
  for (const auto& [name, value] : member->members()) {
    if (!value.is_string()) return Fail(key, "expected an object of strings");
    values[name] = value.AsString();
  }
  *out = std::move(values);
}

}  // namespace gantry::formats
