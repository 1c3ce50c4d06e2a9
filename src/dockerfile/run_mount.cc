// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/run_mount.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/number.h"
#include "base/text.h"
#include "dockerfile/did_you_mean.h"
#include "formats/human_units.h"

namespace gantry::dockerfile {
namespace {

using Type = RunMount::Type;

struct Field {
  std::string name;  // lower case
  std::string value;
  bool has_value = false;
};

// RFC 4180: a field in quotes may have commas, and a quote in it is doubled.
Result<std::vector<Field>> CutFields(std::string_view text) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      words.back() += '"';
      ++i;
    } else if (c == '"' && (quoted || words.back().empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  if (quoted) return InvalidArgument("invalid mount '{}': a quote is not closed", text);
  std::vector<Field> fields;
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    bool has_value = equals != std::string::npos;
    fields.push_back({Lower(word.substr(0, equals)),
                      has_value ? word.substr(equals + 1) : std::string(), has_value});
  }
  return fields;
}

constexpr std::pair<std::string_view, Type> kTypes[] = {{"bind", Type::kBind},
                                                        {"cache", Type::kCache},
                                                        {"tmpfs", Type::kTmpfs},
                                                        {"secret", Type::kSecret},
                                                        {"ssh", Type::kSsh}};
// Of any type.
constexpr std::string_view kKeys[] = {"type", "from",     "source",      "src",      "target",
                                      "dst",  "ro",       "readonly",    "rw",       "mode",
                                      "uid",  "gid",      "id",          "sharing",  "size",
                                      "env",  "required", "destination", "readwrite"};

Result<Type> ParseType(const std::string& text) {
  std::vector<std::string_view> names;
  for (const auto& [name, type] : kTypes) {
    if (text == name) return type;
    names.push_back(name);
  }
  return InvalidArgument("unsupported mount type \"{}\"{}", text, DidYouMean(text, names));
}

Error Unexpected(const Field& field, Type type) {
  if (std::find(std::begin(kKeys), std::end(kKeys), field.name) != std::end(kKeys)) {
    auto of = std::find_if(std::begin(kTypes), std::end(kTypes),
                           [&](const auto& one) { return one.second == type; });
    return InvalidArgument("unexpected key '{}' for mount type '{}'", field.name, of->first);
  }
  return InvalidArgument("unexpected key '{}' in '{}'{}", field.name,
                         field.name + (field.has_value ? "=" + field.value : ""),
                         DidYouMean(field.name, kKeys));
}

Error BadValue(const Field& field) {
  return InvalidArgument("invalid value for {}: {}", field.name, field.value);
}

// "ro" alone is "ro=true".
Result<bool> Truth(const Field& field) {
  if (!field.has_value) return true;
  std::string value = Lower(field.value);
  if (value == "true" || value == "1" || value == "t") return true;
  if (value == "false" || value == "0" || value == "f") return false;
  return BadValue(field);
}

template <typename Number>
Result<Number> ParseField(const Field& field, int base) {
  std::optional<Number> number = ParseNumber<Number>(field.value, base);
  if (!number) return BadValue(field);
  return *number;
}

Result<RunMount::Sharing> ParseSharing(const Field& field) {
  if (field.value == "shared") return RunMount::Sharing::kShared;
  if (field.value == "private") return RunMount::Sharing::kPrivate;
  if (field.value == "locked") return RunMount::Sharing::kLocked;
  constexpr std::string_view kModes[] = {"shared", "private", "locked"};
  return InvalidArgument("unsupported sharing value \"{}\"{}", field.value,
                         DidYouMean(field.value, kModes));
}

// A field that only some types have; false: none of them.
Result<bool> ReadOwnField(const Field& field, RunMount* mount) {
  Type type = mount->type;
  bool has_files = type == Type::kBind || type == Type::kCache;
  bool has_owner = type == Type::kCache || type == Type::kSecret || type == Type::kSsh;
  bool from_client = type == Type::kSecret || type == Type::kSsh;
  const std::string& name = field.name;
  if (name == "from" && has_files) {
    mount->from = field.value;
  } else if ((name == "source" || name == "src") && (has_files || type == Type::kSecret)) {
    // A secret's source is its name.
    (type == Type::kSecret ? mount->id : mount->source) = field.value;
  } else if (name == "id" && has_owner) {
    mount->id = field.value;
  } else if (name == "sharing" && type == Type::kCache) {
    mount->sharing = TRY(ParseSharing(field));
  } else if (name == "size" && type == Type::kTmpfs) {
    auto size = formats::ParseBinarySize(field.value);
    if (!size.ok() || *size < 0) return BadValue(field);
    mount->size = *size;
  } else if (name == "mode" && has_owner) {
    mount->mode = TRY(ParseField<mode_t>(field, 8));
    if (*mount->mode > 07777) return BadValue(field);
  } else if (name == "uid" && has_owner) {
    mount->uid = TRY(ParseField<uid_t>(field, 10));
  } else if (name == "gid" && has_owner) {
    mount->gid = TRY(ParseField<gid_t>(field, 10));
  } else if (name == "required" && from_client) {
    mount->required = TRY(Truth(field));
  } else if (name == "env" && type == Type::kSecret) {
    mount->variable = field.value;
  } else {
    return false;
  }
  return true;
}

Result<> ReadField(const Field& field, RunMount* mount) {
  const std::string& name = field.name;
  bool switches = name == "ro" || name == "readonly" || name == "rw" || name == "readwrite";
  if (switches) {
    if (mount->type == Type::kSecret || mount->type == Type::kSsh)
      return Unexpected(field, mount->type);
    bool on = TRY(Truth(field));
    mount->read_only = name.starts_with("read") ? on == (name == "readonly") : on == (name == "ro");
    return {};
  }
  if (!field.has_value && name != "required") {
    return InvalidArgument("invalid field '{}' must be a key=value pair", name);
  }
  if (name == "type") return {};
  if (name == "target" || name == "dst" || name == "destination") {
    mount->target = field.value;
    return {};
  }
  if (!TRY(ReadOwnField(field, mount))) return Unexpected(field, mount->type);
  return {};
}

std::string BaseName(const std::string& path) {
  std::vector<std::string> parts = SplitWords(path, "/");
  return parts.empty() ? "" : parts.back();
}

// What is left open, and what must not be.
Result<> Settle(RunMount* mount) {
  bool has_files = mount->type == Type::kBind || mount->type == Type::kCache;
  if ((has_files || mount->type == Type::kTmpfs) && mount->target.empty()) {
    return InvalidArgument("target is required for type={}", mount->type == Type::kBind ? "bind"
                                                             : mount->type == Type::kCache
                                                                 ? "cache"
                                                                 : "tmpfs");
  }
  if (mount->type == Type::kCache && mount->id.empty()) {
    mount->id = CleanPath(mount->target);
  }
  if (mount->type == Type::kSecret && mount->id.empty()) mount->id = BaseName(mount->target);
  if (mount->type == Type::kSecret && mount->id.empty()) {
    return InvalidArgument("invalid secret mount. one of source, target required");
  }
  if (mount->type == Type::kSsh && mount->id.empty()) mount->id = "default";
  if (mount->variable && mount->variable->empty()) {
    return InvalidArgument("invalid secret mount: env needs a name");
  }
  return {};
}

}  // namespace

Result<RunMount> ParseRunMount(std::string_view text, const Expander& expander) {
  std::vector<Field> fields = TRY(CutFields(text));
  RunMount mount;
  for (Field& field : fields) {
    if (field.name != "from") field.value = TRY(expander.Word(field.value));
    if (field.name == "type") mount.type = TRY(ParseType(Lower(field.value)));
  }
  mount.read_only = mount.type != Type::kCache && mount.type != Type::kTmpfs;
  for (const Field& field : fields) TRY(ReadField(field, &mount));
  TRY(Settle(&mount));
  return mount;
}

Result<> CheckFromOfRunMount(std::string_view text) {
  for (const Field& field : TRY(CutFields(text))) {
    size_t dollar = field.value.find('$');
    if (field.name != "from" || dollar == std::string::npos) continue;
    if (dollar + 1 == field.value.size()) continue;
    return InvalidArgument("'from' doesn't support variable expansion, define alias stage instead");
  }
  return {};
}

std::string FromOfRunMount(std::string_view text) {
  std::string from;
  auto fields = CutFields(text);
  if (!fields.ok()) return from;
  for (const Field& field : *fields) {
    if (field.name == "from") from = field.value;
  }
  return from;
}

}  // namespace gantry::dockerfile
