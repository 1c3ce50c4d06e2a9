// SPDX-License-Identifier: Apache-2.0
//
// linux.intelRdt: classes of service and monitoring groups of the processors' caches and memory
// bandwidth, by the files of resctrl (Documentation/filesystems/resctrl.rst). In the parent.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime {

// Where the container's process goes, as its state remembers it. Empty: linux.intelRdt is not set.
struct RdtGroup {
  std::string directory;  // of the class of service
  std::string monitor;    // of the monitoring group inside it, or ""
  bool is_new = false;    // the directory has to be made
  bool is_ours = false;   // and goes with the container: no closID was given
};

// The mount point of resctrl, from the mount table; kFailedPrecondition where there is none.
Result<std::string> FindResctrl();

// What linux.intelRdt asks for, below the mount point; nothing is changed yet.
Result<RdtGroup> PlanRdtGroup(const std::string& resctrl, const oci::IntelRdt& rdt,
                              const std::string& id);
// Makes what is new and writes the schemata; those of a class that was there are compared instead,
// as config-linux.md demands.
Result<> MakeRdtGroup(const RdtGroup& group, const oci::IntelRdt& rdt);
Result<> JoinRdtGroup(const RdtGroup& group, pid_t pid);
// `schemata` are lines; empty ones are left out.
Result<> UpdateRdtGroup(const RdtGroup& group, const std::vector<std::string>& schemata);
// What MakeRdtGroup has made, but for a class that was asked for by its closID.
Result<> RemoveRdtGroup(const RdtGroup& group);

}  // namespace gantry::runtime
