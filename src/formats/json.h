// SPDX-License-Identifier: Apache-2.0
//
// JSON values (RFC 8259): parsing with bounds, building, writing. Objects keep the order of their
// members; a repeated key keeps the last value. Integers keep all 64 bits. The one wrapper of the
// JSON library. Values are plain data.
//
// To read a document into structs use JsonReader below: it names the path of what is wrong, such
// as "process.cwd: expected a string".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace gantry::formats {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Members = std::vector<Member>;

  Json() = default;                                                       // null
  Json(std::nullptr_t) {}                                                 // NOLINT
  Json(bool value) : value_(value) {}                                     // NOLINT
  Json(int value) : value_(int64_t{value}) {}                             // NOLINT
  Json(unsigned value) : value_(int64_t{value}) {}                        // NOLINT
  Json(int64_t value) : value_(value) {}                                  // NOLINT
  Json(uint64_t value);                                                   // NOLINT
  Json(long long value) : Json(static_cast<int64_t>(value)) {}            // NOLINT
  Json(unsigned long long value) : Json(static_cast<uint64_t>(value)) {}  // NOLINT
  Json(double value) : value_(value) {}                                   // NOLINT
  Json(const char* value) : value_(std::string(value)) {}                 // NOLINT
  Json(std::string_view value) : value_(std::string(value)) {}            // NOLINT
  Json(std::string value) : value_(std::move(value)) {}                   // NOLINT
  Json(Array value) : value_(std::move(value)) {}                         // NOLINT
  Json(const std::vector<std::string>& value);                            // NOLINT
  Json(const std::map<std::string, std::string>& value);                  // NOLINT

  static Json MakeArray(std::initializer_list<Json> items = {});
  static Json MakeObject(std::initializer_list<Member> members = {});

  // At most 16 levels of nesting more than any known document: 256. Text after the value is an
  // error. Strings must be valid UTF-8.
  static Result<Json> Parse(std::string_view text);

  // Compact, or indented by `indent` spaces. Strings are written as Go's encoder without HTML
  // escapes does: control characters and U+2028/9 escaped.
  std::string Dump(int indent = -1) const;

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return is_int64() || is_uint64(); }
  bool is_int64() const { return std::holds_alternative<int64_t>(value_); }
  // Only what does not fit into int64_t.
  bool is_uint64() const { return std::holds_alternative<uint64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Members>(value_); }

  // The value, or the fallback when the type is another.
  bool AsBool(bool fallback = false) const;
  int64_t AsInt(int64_t fallback = 0) const;
  uint64_t AsUint(uint64_t fallback = 0) const;
  double AsDouble(double fallback = 0) const;
  const std::string& AsString() const;  // "" when the type is another
  const Array& items() const;           // empty when the type is another
  const Members& members() const;       // empty when the type is another

  // The member, or nullptr; also nullptr when this is no object.
  const Json* Find(std::string_view key) const;
  Json* Find(std::string_view key);
  // The member, or null.
  const Json& operator[](std::string_view key) const;
  // Array elements; out of range gives null.
  const Json& at(size_t index) const;
  size_t size() const;  // of an array, object or string

  // Makes an object of a null; replaces a member of the same name.
  Json& Set(std::string_view key, Json value) &;
  // The member, made (null) when missing.
  Json& MutableMember(std::string_view key);
  void Erase(std::string_view key);
  // Makes an array of a null.
  Json& Append(Json value) &;
  Array& mutable_items();
  Members& mutable_members();

  bool operator==(const Json& other) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Members> value_;
};

// `text` as a JSON string literal with its quotes, appended to *out. Invalid UTF-8 becomes U+FFFD.
void AppendJsonString(std::string* out, std::string_view text);

// Reads an object's members into variables. A missing or null member leaves the variable alone; a
// wrong type is kept as the first error, with its path, until Finish().
//
//   JsonReader reader(json, "process");
//   reader.Field("cwd", &cwd);
//   TRY(reader.Finish());
class JsonReader {
 public:
  // kAnyCase: "image" is "Image" too where nothing is spelt exactly so, as Go's decoder has it;
  // readers of inner objects inherit it.
  enum class Keys { kExact, kAnyCase };
  JsonReader(const Json& json, std::string path, Keys keys = Keys::kExact);

  void Field(std::string_view key, std::string* out);
  void Field(std::string_view key, bool* out);
  void Field(std::string_view key, int32_t* out);
  void Field(std::string_view key, uint32_t* out);
  void Field(std::string_view key, int64_t* out);
  void Field(std::string_view key, uint64_t* out);
  void Field(std::string_view key, double* out);
  void Field(std::string_view key, std::vector<std::string>* out);
  void Field(std::string_view key, std::vector<uint32_t>* out);
  void Field(std::string_view key, std::map<std::string, std::string>* out);
  template <typename T>
  void Field(std::string_view key, std::optional<T>* out) {
    const Json* member = Find(key);
    if (member == nullptr) return;
    T value{};
    Field(key, &value);
    if (ok()) *out = std::move(value);
  }

  // Calls read(JsonReader&) for an object member.
  template <typename F>
  void Object(std::string_view key, F&& read) {
    const Json* member = Find(key);
    if (member == nullptr) return;
    JsonReader inner(*member, PathOf(key), keys_);
    if (inner.ok()) read(inner);
    Take(inner);
  }
  // Calls read(JsonReader&) for each object in an array member.
  template <typename F>
  void Objects(std::string_view key, F&& read) {
    const Json* member = Find(key);
    if (member == nullptr) return;
    if (!member->is_array()) return Fail(key, "expected an array");
    for (size_t i = 0; i < member->items().size(); ++i) {
      JsonReader inner(member->items()[i], fmt::format("{}[{}]", PathOf(key), i), keys_);
      if (inner.ok()) read(inner);
      Take(inner);
    }
  }
  // The member as it is, or nullptr.
  const Json* Raw(std::string_view key) const { return Find(key); }

  // Records "path.key: what" unless there is an error already.
  void Fail(std::string_view key, std::string_view what);
  bool ok() const { return !error_.has_value(); }
  const std::string& path() const { return path_; }
  const Json& json() const { return *json_; }
  Result<> Finish() const;

 private:
  const Json* Find(std::string_view key) const;
  std::string PathOf(std::string_view key) const;
  void Take(const JsonReader& inner);

  const Json* json_;
  std::string path_;
  Keys keys_;
  std::optional<Error> error_;
};

}  // namespace gantry::formats
