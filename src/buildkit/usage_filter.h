// SPDX-License-Identifier: Apache-2.0
//
// Filters of the cache's records (`buildx du --filter`, `buildx prune --filter`): containerd's
// language without regular expressions. "type==regular,inuse" wants all of it; of several filters
// one is enough. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "moby/buildkit/control.pb.h"

namespace gantry::buildkit {

class UsageFilter {
 public:
  // kInvalidArgument; kUnimplemented for a regular expression. Empty texts are none.
  static Result<UsageFilter> Parse(const google::protobuf::RepeatedPtrField<std::string>& texts);
  bool Matches(const moby::buildkit::v1::UsageRecord& record) const;

 private:
  struct Condition {
    std::string field;
    bool has_value = false;
    bool equal = true;
    std::string value;
  };
  static Result<Condition> ParseCondition(std::string_view text);
  static bool Holds(const Condition& condition, const moby::buildkit::v1::UsageRecord& record);

  std::vector<std::vector<Condition>> alternatives_;  // none: everything
};

}  // namespace gantry::buildkit
