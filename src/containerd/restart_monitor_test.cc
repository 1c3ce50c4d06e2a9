// SPDX-License-Identifier: Apache-2.0
#include "containerd/restart_monitor.h"

#include <gtest/gtest.h>

namespace gantry::containerd {
namespace {

ContainerLabels Labels(const std::map<std::string, std::string>& labels) {
  ContainerLabels all;
  for (const auto& [key, value] : labels) all["containerd.io/restart." + key] = value;
  return all;
}

bool Restarts(const std::map<std::string, std::string>& labels, uint32_t exit_status) {
  auto restarts = ShouldRestart(Labels(labels), exit_status);
  EXPECT_TRUE(restarts.ok()) << restarts.error().message();
  return restarts.ok() && *restarts;
}

TEST(RestartPolicy, Decides) {
  EXPECT_TRUE(Restarts({}, 0));
  EXPECT_TRUE(Restarts({{"policy", "always"}}, 0));
  EXPECT_FALSE(Restarts({{"policy", "no"}}, 1));
  EXPECT_TRUE(Restarts({{"policy", "unless-stopped"}}, 0));
  EXPECT_TRUE(Restarts({{"policy", "unless-stopped"}, {"explicitly-stopped", "false"}}, 0));
  EXPECT_FALSE(Restarts({{"policy", "unless-stopped"}, {"explicitly-stopped", "true"}}, 0));
  EXPECT_TRUE(Restarts({{"policy", "on-failure"}, {"count", "1000"}}, 2));
  EXPECT_FALSE(Restarts({{"policy", "on-failure"}}, 0));
  EXPECT_TRUE(Restarts({{"policy", "on-failure:3"}, {"count", "2"}}, 2));
  EXPECT_FALSE(Restarts({{"policy", "on-failure:3"}, {"count", "3"}}, 2));
}

TEST(RestartPolicy, RefusesWhatIsNone) {
  for (const char* text : {"sometimes", "on-failure:x", "always:3", "no:", "on-failure:3x"}) {
    EXPECT_EQ(RestartPolicy::Parse(text).error().kind(), ErrorKind::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace gantry::containerd
