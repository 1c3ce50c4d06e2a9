// SPDX-License-Identifier: Apache-2.0
//
// The labels of security modules (AppArmor, SELinux) that a process takes at its execve. The file
// to write to is in /proc, and a container's /proc is not to be believed: it is opened before the
// root is left, from the host's procfs, and checked to be that; a fake one would swallow the label
// in silence (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). Written when the
// host's own hooks have run, which are not to be confined, and read back. Called in the child.
#pragma once

#include <vector>

#include "base/error.h"
#include "runtime/child/plan.h"

namespace gantry::runtime::child {

// Of process.apparmorProfile and process.selinuxLabel; an error where the kernel has no such
// module.
Result<std::vector<Label>> OpenLabels(const oci::Process& process, unsigned preserved_fds);
Result<> ApplyLabels(const std::vector<Label>& labels);

}  // namespace gantry::runtime::child
