// SPDX-License-Identifier: Apache-2.0
#include "kernel/own_code.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace gantry::kernel {
namespace {

// Resident kilobytes of code, of /proc/self/smaps.
long ResidentCode() {
  std::ifstream smaps("/proc/self/smaps");
  long sum = 0;
  bool code = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream words(line);
    std::string first;
    std::string second;
    words >> first >> second;
    if (first.find('-') != std::string::npos) code = second == "r-xp";
    if (code && first == "Rss:") sum += std::stol(second);
  }
  return sum;
}

TEST(OwnCode, GoesAndComesBack) {
  long before = ResidentCode();
  UnmapOwnCode();
  long after = ResidentCode();
  EXPECT_LT(after, before);
  EXPECT_GT(after, 0) << "what runs is there";
}

}  // namespace
}  // namespace gantry::kernel
