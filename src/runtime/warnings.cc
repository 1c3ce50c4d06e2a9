// SPDX-License-Identifier: Apache-2.0
#include "runtime/warnings.h"

#include <utility>

namespace gantry::runtime {
namespace {

std::function<void(std::string_view)>& Sink() {
  static std::function<void(std::string_view)> sink;
  return sink;
}

}  // namespace

void SetWarningSink(std::function<void(std::string_view)> sink) { Sink() = std::move(sink); }

void Warn(std::string_view message) {
  if (Sink()) Sink()(message);
}

}  // namespace gantry::runtime
