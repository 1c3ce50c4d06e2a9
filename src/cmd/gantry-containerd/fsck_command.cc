// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-containerd/fsck_command.h"

#include <stdio.h>

#include <algorithm>

#include "containerd/fsck.h"
#include "formats/human_units.h"

namespace gantry::containerd {
namespace {

constexpr int kWhole = 0;
constexpr int kRepaired = 1;
constexpr int kLeft = 4;
constexpr int kTrouble = 8;

void Print(const FsckFinding& finding, FsckMode mode) {
  if (finding.repair.empty()) {
    printf("%s\n", finding.fault.c_str());
  } else {
    printf("%s: %s%s\n", finding.fault.c_str(), mode == FsckMode::kLook ? "to be " : "",
           finding.repair.c_str());
  }
}

}  // namespace

int RunFsck(const Options& options) {
  FsckMode mode = options.repair ? FsckMode::kRepair : FsckMode::kLook;
  auto report = CheckStores(options.root, mode);
  if (!report.ok()) {
    fprintf(stderr, "gantry-containerd: %s\n", report.error().message().c_str());
    return kTrouble;
  }
  for (const FsckFinding& finding : report->findings) Print(finding, mode);
  printf("%zu blobs of %s, %zu half downloads, %zu snapshots; %zu faults\n", report->blobs,
         formats::HumanSize(report->bytes).c_str(), report->ingests, report->snapshots,
         report->findings.size());
  if (report->findings.empty()) return kWhole;
  bool all_repaired = mode == FsckMode::kRepair &&
                      std::none_of(report->findings.begin(), report->findings.end(),
                                   [](const FsckFinding& f) { return f.repair.empty(); });
  return all_repaired ? kRepaired : kLeft;
}

}  // namespace gantry::containerd
