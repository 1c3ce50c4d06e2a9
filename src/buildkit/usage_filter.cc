// SPDX-License-Identifier: Apache-2.0
#include "buildkit/usage_filter.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "base/text.h"

namespace gantry::buildkit {
namespace {

using moby::buildkit::v1::UsageRecord;

constexpr std::string_view kFields[] = {"id",        "parents", "description", "inuse",  "mutable",
                                        "immutable", "type",    "shared",      "private"};

// Nothing: the record has no such thing, as a switch that is off.
std::optional<std::string> FieldOf(const UsageRecord& record, const std::string& field) {
  auto on = [](bool value) { return value ? std::optional<std::string>("true") : std::nullopt; };
  auto text = [](const std::string& value) {
    return value.empty() ? std::nullopt : std::optional(value);
  };
  if (field == "id") return text(record.id());
  if (field == "description") return text(record.description());
  if (field == "type") return text(record.recordtype());
  if (field == "inuse") return on(record.inuse());
  if (field == "mutable") return on(record.mutable_());
  if (field == "immutable") return on(!record.mutable_());
  if (field == "shared") return on(record.shared());
  if (field == "private") return on(!record.shared());
  std::string parents;
  for (const std::string& one : record.parents()) parents += (parents.empty() ? "" : ";") + one;
  return text(parents);
}

}  // namespace

Result<UsageFilter::Condition> UsageFilter::ParseCondition(std::string_view text) {
  Condition out;
  size_t at = text.find_first_of("=!~");
  out.field = text.substr(0, at);
  if (std::find(std::begin(kFields), std::end(kFields), out.field) == std::end(kFields)) {
    return InvalidArgument("the cache has no field '{}' to filter by", out.field);
  }
  if (at == std::string_view::npos) return out;
  std::string_view sign = text.substr(at, 2);
  if (sign == "~=") return Unimplemented("a filter by a regular expression is not supported");
  if (sign != "==" && sign != "!=") return InvalidArgument("invalid filter '{}'", text);
  out.has_value = true;
  out.equal = sign == "==";
  std::string_view value = text.substr(at + 2);
  bool quoted = value.size() >= 2 && value.front() == '"' && value.back() == '"';
  out.value = quoted ? value.substr(1, value.size() - 2) : value;
  return out;
}

Result<UsageFilter> UsageFilter::Parse(
    const google::protobuf::RepeatedPtrField<std::string>& texts) {
  UsageFilter out;
  for (const std::string& text : texts) {
    if (text.empty()) continue;  // clients send an empty one for none
    auto& all = out.alternatives_.emplace_back();
    for (const std::string& one : SplitWords(text, ",")) all.push_back(TRY(ParseCondition(one)));
  }
  return out;
}

bool UsageFilter::Holds(const Condition& condition, const UsageRecord& record) {
  std::optional<std::string> value = FieldOf(record, condition.field);
  if (!condition.has_value) return value.has_value();
  return (value.value_or("") == condition.value) == condition.equal;
}

bool UsageFilter::Matches(const UsageRecord& record) const {
  if (alternatives_.empty()) return true;
  return std::any_of(alternatives_.begin(), alternatives_.end(), [&](const auto& all) {
    return std::all_of(all.begin(), all.end(),
                       [&](const Condition& one) { return Holds(one, record); });
  });
}

}  // namespace gantry::buildkit
