// SPDX-License-Identifier: Apache-2.0
//
// On plain directories: a kernel's resctrl makes the files of a new group itself, so that only
// groups that are there already can be written to here.
#include "runtime/intel_rdt.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/io.h"

namespace gantry::runtime {
namespace {

class IntelRdtTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gt-rdt-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    root_ = path;
    MakeGroup(root_);
    MakeGroup(root_ + "/gold");
    ASSERT_TRUE(
        CreateFile(root_ + "/gold/schemata", "    L3:0=7ff;1=7ff\n    MB:0= 20;1=70\n", 0644).ok());
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void MakeGroup(const std::string& directory) {
    ASSERT_TRUE(MakeDirectories(directory + "/mon_groups", 0755).ok());
    for (const char* file : {"schemata", "tasks"}) {
      ASSERT_TRUE(CreateFile(directory + "/" + file, "", 0644).ok());
    }
  }
  std::string Text(const std::string& file) {
    return ReadFile(root_ + "/" + file).value_or("none");
  }

  std::string root_;
};

TEST_F(IntelRdtTest, JoinsWhatIsThere) {
  oci::IntelRdt rdt;
  rdt.clos_id = "gold";
  RdtGroup group = PlanRdtGroup(root_, rdt, "box").value();
  EXPECT_EQ(group.directory, root_ + "/gold");
  EXPECT_FALSE(group.is_new);
  EXPECT_FALSE(group.is_ours);
  ASSERT_TRUE(MakeRdtGroup(group, rdt).ok());
  ASSERT_TRUE(JoinRdtGroup(group, 4711).ok());
  EXPECT_EQ(Text("gold/tasks"), "4711");
  EXPECT_EQ(Text("gold/schemata"), "    L3:0=7ff;1=7ff\n    MB:0= 20;1=70\n");
  ASSERT_TRUE(RemoveRdtGroup(group).ok());
  EXPECT_TRUE(PathExists(root_ + "/gold"));
}

TEST_F(IntelRdtTest, TheDefaultClass) {
  oci::IntelRdt rdt;
  rdt.clos_id = "/";
  rdt.enable_monitoring = true;
  RdtGroup group = PlanRdtGroup(root_, rdt, "box").value();
  EXPECT_EQ(group.directory, root_);
  EXPECT_EQ(group.monitor, root_ + "/mon_groups/box");
  ASSERT_TRUE(MakeRdtGroup(group, rdt).ok());
  EXPECT_TRUE(PathExists(group.monitor));
  // A second one of that name is somebody else's.
  EXPECT_FALSE(MakeRdtGroup(group, rdt).ok());
  ASSERT_TRUE(RemoveRdtGroup(group).ok());
  EXPECT_FALSE(PathExists(group.monitor));
}

TEST_F(IntelRdtTest, ComparesOldMembersWithAClassThatIsThere) {
  oci::IntelRdt rdt;
  rdt.clos_id = "gold";
  rdt.l3_cache_schema = "L3:0=07ff";
  rdt.mem_bw_schema = "MB:1=70";
  RdtGroup group = PlanRdtGroup(root_, rdt, "box").value();
  EXPECT_TRUE(MakeRdtGroup(group, rdt).ok());
  rdt.l3_cache_schema = "L3:0=3ff";
  Result<> made = MakeRdtGroup(group, rdt);
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().message().find("does not match"), std::string::npos);
  // Lines of memory bandwidth in the old member are left out.
  rdt.l3_cache_schema = "MB:0=1\nL3:1=7ff";
  EXPECT_TRUE(MakeRdtGroup(group, rdt).ok());
  rdt.l3_cache_schema = "L2:0=f";
  EXPECT_FALSE(MakeRdtGroup(group, rdt).ok());
}

TEST_F(IntelRdtTest, WritesSchemataLast) {
  oci::IntelRdt rdt;
  rdt.clos_id = "gold";
  rdt.schemata = {"L3:0=1", "L2:0=2"};
  ASSERT_TRUE(MakeRdtGroup(PlanRdtGroup(root_, rdt, "box").value(), rdt).ok());
  // A plain file is written anew by each line; the kernel takes them one by one.
  EXPECT_TRUE(Text("gold/schemata").starts_with("L2:0=2\n"));
}

TEST_F(IntelRdtTest, ANewClassOfItsOwn) {
  oci::IntelRdt rdt;
  RdtGroup group = PlanRdtGroup(root_, rdt, "box").value();
  EXPECT_EQ(group.directory, root_ + "/box");
  EXPECT_TRUE(group.is_new);
  EXPECT_TRUE(group.is_ours);
  ASSERT_TRUE(MakeRdtGroup(group, rdt).ok());
  EXPECT_TRUE(PathExists(group.directory));
  ASSERT_TRUE(RemoveRdtGroup(group).ok());
  EXPECT_FALSE(PathExists(group.directory));
  ASSERT_TRUE(RemoveRdtGroup(group).ok());
}

TEST_F(IntelRdtTest, AFailureLeavesNoNewClass) {
  oci::IntelRdt rdt;
  rdt.clos_id = "silver";
  rdt.schemata = {"L3:0=1"};
  RdtGroup group = PlanRdtGroup(root_, rdt, "box").value();
  EXPECT_TRUE(group.is_new);
  EXPECT_FALSE(group.is_ours);
  EXPECT_FALSE(MakeRdtGroup(group, rdt).ok());  // no file `schemata` here
  EXPECT_FALSE(PathExists(group.directory));
}

TEST_F(IntelRdtTest, RefusesBadWords) {
  for (const char* id : {"..", ".", "a/b", "../x"}) {
    oci::IntelRdt rdt;
    rdt.clos_id = id;
    EXPECT_FALSE(PlanRdtGroup(root_, rdt, "box").ok()) << id;
  }
  oci::IntelRdt rdt;
  rdt.clos_id = "nosuch";
  EXPECT_FALSE(PlanRdtGroup(root_, rdt, "box").ok());
  rdt = {};
  rdt.mem_bw_schema = "L3:0=1";
  EXPECT_FALSE(PlanRdtGroup(root_, rdt, "box").ok());
  rdt = {};
  rdt.schemata = {"L3:0=1\nMB:0=1"};
  EXPECT_FALSE(PlanRdtGroup(root_, rdt, "box").ok());
}

TEST_F(IntelRdtTest, Update) {
  RdtGroup group{root_ + "/gold", "", false, false};
  ASSERT_TRUE(UpdateRdtGroup(group, {"", "MB:0=30"}).ok());
  EXPECT_TRUE(Text("gold/schemata").starts_with("MB:0=30\n"));
  EXPECT_TRUE(UpdateRdtGroup({}, {"", ""}).ok());
  EXPECT_FALSE(UpdateRdtGroup({}, {"L3:0=1", ""}).ok());
}

}  // namespace
}  // namespace gantry::runtime
