// SPDX-License-Identifier: Apache-2.0
#include "containerd/bundle.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/io.h"
#include "base/random.h"
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

class BundleTest : public ::testing::Test {
 protected:
  ~BundleTest() override {
    // Their threads remove files there too.
    state_trash_.reset();
    root_trash_.reset();
    std::filesystem::remove_all(top_);
  }
  const std::string top_ = ::testing::TempDir() + "bundles-" + RandomHex(4);
  std::unique_ptr<snapshots::Trash> state_trash_ = *snapshots::Trash::Open(top_ + "/st");
  std::unique_ptr<snapshots::Trash> root_trash_ = *snapshots::Trash::Open(top_ + "/rt");
  const BundleRoots roots_{.state = top_ + "/s",
                           .root = top_ + "/r",
                           .state_trash = state_trash_.get(),
                           .root_trash = root_trash_.get()};
  Bundle Make(const std::string& id) {
    return *Bundle::Create(roots_, "ns", id, {.spec = "{}", .runtime = "/shim", .options = ""});
  }
};

TEST_F(BundleTest, WhatIsLeftUnderRootGoes) {
  Make("whole");
  Bundle half = Make("half");
  std::filesystem::remove_all(half.path());
  ASSERT_TRUE(Bundle::RemoveOrphans(roots_).ok());
  EXPECT_TRUE(PathExists(roots_.RootDirectory() + "/ns/whole"));
  EXPECT_FALSE(PathExists(roots_.RootDirectory() + "/ns/half"));
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
