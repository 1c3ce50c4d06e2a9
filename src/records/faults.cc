// SPDX-License-Identifier: Apache-2.0
#include "records/faults.h"

#include <set>

namespace gantry::records {
namespace {

constexpr int kMaxPasses = 20;

}  // namespace

Result<FaultCount> ReportAndRepair(const std::function<Result<std::vector<Fault>>()>& look,
                                   bool repair,
                                   const std::function<void(const std::string&)>& report) {
  FaultCount count;
  std::set<std::string> told;
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    size_t repaired = 0;
    for (const Fault& fault : TRY(look())) {
      if (told.insert(fault.text).second) {
        ++count.faults;
        report(fault.text);
      }
      if (!repair || !fault.repair) continue;
      TRY_WITH(fault.repair(), "repairing: {}", fault.text);
      report("  repaired: " + fault.remedy);
      ++repaired;
    }
    count.repaired += repaired;
    if (repaired == 0) break;
  }
  return count;
}

}  // namespace gantry::records
