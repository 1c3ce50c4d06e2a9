// SPDX-License-Identifier: Apache-2.0
#include "kernel/descriptor_limit.h"

namespace gantry::kernel {
namespace {

std::optional<rlimit> inherited;

}  // namespace

Result<> RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return ErrnoError("reading the limit of descriptors");
  if (!inherited) inherited = limit;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return ErrnoError("raising the limit of descriptors");
  return {};
}

std::optional<rlimit> InheritedDescriptorLimit() { return inherited; }

}  // namespace gantry::kernel
