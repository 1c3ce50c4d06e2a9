// SPDX-License-Identifier: Apache-2.0
//
// Making a container's cgroups and setting its resources, by the file systems (cgroupfs), v1 and
// v2. In the parent.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/cgroups.h"
#include "oci/runtime_spec.h"

namespace gantry::runtime {

// Where linux.cgroupsPath puts it: absolute ones from the mount points, relative ones (or none: the
// id) below the caller's own cgroup. Nothing is made.
Result<kernel::CgroupPaths> ChooseCgroups(const std::string& cgroups_path, const std::string& id);

// The cgroups of `exec --cgroup`, which must be there: "PATH" for all, on v1 also
// "CONTROLLER,…:PATH" for some, below the container's own.
Result<kernel::CgroupPaths> SubCgroups(kernel::CgroupPaths paths,
                                       const std::vector<std::string>& words);

// Makes the directories, and on v2 hands the controllers down to them. One that is there already is
// taken, unless it is frozen, since a process would never start in it.
Result<> MakeCgroups(const kernel::CgroupPaths& paths);
// v2: gives the directory, and those of its files that cgroups(7) calls safe to hand down, to a
// container's root, who may then make cgroups below.
Result<> DelegateCgroup(const std::string& directory, uid_t owner);

enum class Devices : uint8_t { kApply, kLeave };
Result<> ApplyResources(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                        Devices devices);
Result<> ApplyResourcesV1(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                          Devices devices);
Result<> ApplyResourcesV2(const kernel::CgroupPaths& paths, const oci::Resources& resources,
                          Devices devices);

// What an update leaves out and v2 needs beside what it says: the period of a quota, the quota of a
// period, the limit that swap is counted from. As the cgroup has them now; v1 keeps them itself.
Result<oci::Resources> CompleteResources(const kernel::CgroupPaths& paths,
                                         oci::Resources resources);

// Values of v1 as v2 and systemd have them. Swap is none when it is not to be changed, -1
// unlimited.
Result<std::optional<int64_t>> SwapAlone(const oci::Memory& memory);
uint64_t CpuWeightOfShares(uint64_t shares);
uint64_t IoWeightOf(uint64_t block_io_weight);

// The rules asked for, and after them what every container may use (config-linux.md, "Default
// Devices"), so that null, tty, the terminals, … work.
std::vector<oci::DeviceRule> EffectiveDeviceRules(const std::vector<oci::DeviceRule>& rules);

// Attaches a BPF program with these rules to a v2 cgroup, in place of the one that is there.
Result<> AttachDeviceProgram(const std::string& directory,
                             const std::vector<oci::DeviceRule>& rules);

// v1: the `tasks` files, open for writing, one a hierarchy.
Result<std::vector<UniqueFd>> OpenTasks(const kernel::CgroupPaths& paths);

// Writes one cgroup file; errors name the file and value.
Result<> WriteCgroup(const std::string& directory, std::string_view file, std::string_view value);

}  // namespace gantry::runtime
