// SPDX-License-Identifier: Apache-2.0
#include "formats/mode_change.h"

#include <charconv>

#include "base/text.h"

namespace gantry::formats {
namespace {

constexpr mode_t kUser = 04700, kGroup = 02070, kOther = 00007, kSticky = 01000;
constexpr mode_t kExecute = 0111;
constexpr std::string_view kOps = "+-=";

Error Invalid(std::string_view text) { return InvalidArgument("invalid mode: '{}'", text); }

// Those of one class, for all three.
mode_t Spread(mode_t mode, char of) {
  mode_t bits = of == 'u' ? mode >> 6 : of == 'g' ? mode >> 3 : mode;
  return (bits & 7) * 0111;
}

}  // namespace

ModeChange::ModeChange(mode_t bits) { actions_.push_back({.bits = bits}); }

Result<std::vector<ModeChange::Action>> ModeChange::ParseClause(std::string_view clause) {
  size_t at = 0;
  mode_t of = 0;
  for (; at < clause.size() && kOps.find(clause[at]) == std::string_view::npos; ++at) {
    switch (clause[at]) {
      case 'a':
        of |= kUser | kGroup | kOther;
        break;
      case 'u':
        of |= kUser;
        break;
      case 'g':
        of |= kGroup;
        break;
      case 'o':
        of |= kOther;
        break;
      default:
        return Invalid(clause);
    }
  }
  if (of == 0) of = kUser | kGroup | kOther;
  // The sticky bit is nobody's: "o" alone has no part in it.
  mode_t sticky = of == kOther ? 0 : kSticky;
  std::vector<Action> actions;
  while (at < clause.size()) {
    Action action{.op = clause[at++], .of = of};
    for (; at < clause.size() && kOps.find(clause[at]) == std::string_view::npos; ++at) {
      char letter = clause[at];
      if (letter == 'u' || letter == 'g' || letter == 'o') {
        if (action.bits + action.if_any != 0 || action.copied != '\0') return Invalid(clause);
        action.copied = letter;
        continue;
      }
      if (action.copied != '\0') return Invalid(clause);
      if (letter == 'r') {
        action.bits |= 0444;
      } else if (letter == 'w') {
        action.bits |= 0222;
      } else if (letter == 'x' || (letter == 'X' && action.op == '-')) {
        action.bits |= kExecute;
      } else if (letter == 'X') {
        action.if_any |= kExecute;
      } else if (letter == 's') {
        action.bits |= 06000;
      } else if (letter == 't') {
        action.bits |= kSticky;
        action.of |= sticky;
      } else {
        return Invalid(clause);
      }
    }
    actions.push_back(action);
  }
  if (actions.empty()) return Invalid(clause);
  return actions;
}

Result<ModeChange> ModeChange::Parse(std::string_view text) {
  if (text.empty()) return Invalid(text);
  if (text[0] >= '0' && text[0] <= '9') {
    mode_t mode = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
    if (error != std::errc() || end != text.data() + text.size() || mode > 07777) {
      return Invalid(text);
    }
    return ModeChange(mode);
  }
  ModeChange change;
  for (const std::string& clause : Split(text, ',')) {
    auto actions = ParseClause(clause);
    if (!actions.ok()) return Invalid(text);
    change.actions_.insert(change.actions_.end(), actions->begin(), actions->end());
  }
  return change;
}

mode_t ModeChange::Apply(mode_t mode, bool is_directory) const {
  mode &= 07777;
  const bool anybody = is_directory || (mode & kExecute) != 0;
  for (const Action& action : actions_) {
    mode_t bits = action.bits;
    if (anybody) bits |= action.if_any;
    if (action.copied != '\0') bits = Spread(mode, action.copied);
    bits &= action.of;
    if (action.op == '+') mode |= bits;
    if (action.op == '-') mode &= ~bits;
    if (action.op == '=') mode = (mode & ~action.of) | bits;
  }
  return mode;
}

}  // namespace gantry::formats
