// SPDX-License-Identifier: Apache-2.0
#include "containerd/bundle.h"

#include <gtest/gtest.h>

#include "containerd/shim_program.h"

namespace gantry::containerd {
namespace {

TEST(StartOutputTest, ReadsAllForms) {
  auto json =
      ParseStartOutput("{\"version\":3,\"address\":\"unix:///run/s/a\",\"protocol\":\"ttrpc\"}\n");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->version, 3);
  EXPECT_EQ(json->address, "unix:///run/s/a");
  auto plain = ParseStartOutput("unix:///run/containerd/s/0123");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->version, 2);
  EXPECT_EQ(plain->address, "unix:///run/containerd/s/0123");
}

TEST(StartOutputTest, RefusesWhatIsWrong) {
  for (const char* text : {"", "hello", "{\"version\":3}", "{\"version\":9,\"address\":\"/a\"}",
                           "{\"version\":3,\"address\":\"/a\",\"protocol\":\"grpc\"}", "{"}) {
    EXPECT_FALSE(ParseStartOutput(text).ok()) << text;
  }
}

TEST(ShimProgramTest, MapsRuntimeNames) {
  ShimSettings settings{.runtime_dir = "/opt/gantry", .runtimes = {{"mine", "/bin/mine"}}};
  EXPECT_EQ(ShimProgram(settings, "").value(), "/opt/gantry/containerd-shim-gantry-v1");
  EXPECT_EQ(ShimProgram(settings, "io.containerd.runc.v2").value(),
            "/opt/gantry/containerd-shim-gantry-v1");
  EXPECT_EQ(ShimProgram(settings, "mine").value(), "/bin/mine");
  EXPECT_EQ(ShimProgram(settings, "/usr/bin/x").value(), "/usr/bin/x");
  EXPECT_FALSE(ShimProgram(settings, "runc").ok());
  EXPECT_FALSE(ShimProgram(settings, "io.containerd.no-such-shim.v9").ok());
}

}  // namespace
}  // namespace gantry::containerd
