// SPDX-License-Identifier: Apache-2.0
//
// Work that changes what belongs to a thread (namespaces, the working directory): done by one that
// ends afterwards. The caller waits. Any thread.
#pragma once

#include <thread>

#include "base/error.h"

namespace gantry::kernel {

template <typename F>
auto InThreadOfItsOwn(F work) -> decltype(work()) {
  decltype(work()) result = Internal("the thread did not run");
  std::thread thread([&] { result = work(); });
  thread.join();
  return result;
}

}  // namespace gantry::kernel
