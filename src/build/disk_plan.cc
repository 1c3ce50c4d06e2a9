// SPDX-License-Identifier: Apache-2.0
#include "build/disk_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <string_view>
#include <tuple>
#include <unordered_map>

namespace gantry::build {
namespace {

// What frees less than this is not worth its download.
constexpr int64_t kWorth = int64_t{64} << 10;

std::string Ago(WallTime then, WallTime now) {
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - then).count();
  if (seconds < 120) return fmt::format("{} seconds", std::max<int64_t>(seconds, 0));
  if (seconds < 2 * 3600) return fmt::format("{} minutes", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{} hours", seconds / 3600);
  return fmt::format("{} days", seconds / 86400);
}

// How many of the items that are left have each part.
class Parts {
 public:
  explicit Parts(const std::vector<DiskItem>& items) {
    for (const DiskItem& item : items) {
      for (const engine::DiskPart& part : item.parts) {
        if (++holders_[part.name] == 1) total_ += part.bytes;
      }
    }
  }
  int64_t total() const { return total_; }

  int64_t OnlyOf(const DiskItem& item) const {
    int64_t bytes = 0;
    for (const engine::DiskPart& part : item.parts) {
      if (holders_.at(part.name) == 1) bytes += part.bytes;
    }
    return bytes;
  }
  void Remove(const DiskItem& item) {
    total_ -= OnlyOf(item);
    for (const engine::DiskPart& part : item.parts) --holders_[part.name];
  }

 private:
  std::unordered_map<std::string_view, int> holders_;
  int64_t total_ = 0;
};

}  // namespace

DiskPlan MakeDiskPlan(const DiskNeed& need, WallTime now) {
  DiskPlan plan;
  Parts parts(need.items);
  plan.used = need.fixed + parts.total();
  std::list<const DiskItem*> left;  // oldest use first
  for (const DiskItem& item : need.items) left.push_back(&item);
  left.sort([](const DiskItem* a, const DiskItem* b) {
    return std::tie(a->used_at, a->id) < std::tie(b->used_at, b->id);
  });
  auto oldest = [&](int64_t worth) {
    return std::find_if(left.begin(), left.end(), [&](const DiskItem* item) {
      return item->needed_by.empty() && parts.OnlyOf(*item) >= worth;
    });
  };
  bool over = plan.used > need.budget;
  while (over && need.fixed + parts.total() > need.target) {
    auto next = oldest(kWorth);
    // Two that share all go one after the other.
    if (next == left.end()) next = oldest(0);
    if (next == left.end()) break;
    const DiskItem& item = **next;
    plan.decisions.push_back({item, true, parts.OnlyOf(item),
                              fmt::format("used {} ago, nobody needs it", Ago(item.used_at, now))});
    parts.Remove(item);
    left.erase(next);
  }
  plan.after = need.fixed + parts.total();
  for (const DiskItem* item : left) {
    std::string reason = item->needed_by;
    if (reason.empty()) {
      reason = fmt::format("used {} ago; there is room", Ago(item->used_at, now));
    }
    plan.decisions.push_back({*item, false, parts.OnlyOf(*item), std::move(reason)});
  }
  return plan;
}

}  // namespace gantry::build
