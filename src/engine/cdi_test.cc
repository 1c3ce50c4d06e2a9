// SPDX-License-Identifier: Apache-2.0
#include "engine/cdi.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/io.h"

namespace gantry::engine {
namespace {

constexpr const char* kSpec = R"({"cdiVersion":"0.6.0","kind":"vendor.com/thing",
  "containerEdits":{"env":["ALL=1"]},
  "devices":[{"name":"one","containerEdits":{"env":["A=new","B=2"],
     "deviceNodes":[{"path":"/dev/thing0","hostPath":"/dev/null","permissions":"r"}],
     "mounts":[{"hostPath":"/usr","containerPath":"/a","options":["ro","bind"]}],
     "hooks":[{"hookName":"createContainer","path":"/bin/true","args":["true"]}],
     "additionalGids":[0,7]}},
   {"name":"two"}]})";

class CdiTest : public testing::Test {
 protected:
  CdiTest() {
    char name[] = "/tmp/gantry-cdi-XXXXXX";
    top_ = ::mkdtemp(name);
    spec_.process = oci::Process{};
    spec_.process->env = {"A=old"};
    spec_.platform.resources = oci::Resources{};
  }
  ~CdiTest() override { std::filesystem::remove_all(top_); }
  std::string Put(const std::string& directory, const std::string& name, std::string_view text) {
    std::filesystem::create_directories(top_ + "/" + directory);
    EXPECT_TRUE(CreateFile(top_ + "/" + directory + "/" + name, text, 0644).ok());
    return top_ + "/" + directory;
  }
  std::string top_;
  oci::Spec spec_;
};

TEST_F(CdiTest, Injects) {
  CdiRegistry registry = CdiRegistry::Read({Put("etc", "x.json", kSpec), top_ + "/nosuch"});
  EXPECT_TRUE(registry.errors().empty());
  EXPECT_EQ(registry.DeviceNames(),
            (std::vector<std::string>{"vendor.com/thing=one", "vendor.com/thing=two"}));
  Result<> injected = registry.Inject({"vendor.com/thing=one", "vendor.com/thing=two"}, &spec_);
  ASSERT_TRUE(injected.ok()) << injected.error().message();
  EXPECT_EQ(spec_.process->env, (std::vector<std::string>{"ALL=1", "A=new", "B=2"}));
  ASSERT_EQ(spec_.platform.devices.size(), 1u);
  EXPECT_EQ(spec_.platform.devices[0].minor, 3);
  EXPECT_EQ(spec_.platform.resources->devices.at(0).access, "r");
  EXPECT_EQ(spec_.mounts.at(0).type, "bind");
  EXPECT_EQ(spec_.hooks.create_container.size(), 1u);
  EXPECT_EQ(spec_.process->user.additional_gids, std::vector<uint32_t>{7});
}

TEST_F(CdiTest, ReadsYaml) {
  CdiRegistry registry = CdiRegistry::Read({Put("etc", "x.yaml", R"(cdiVersion: "0.5.0"
kind: vendor.com/gpu
devices:
- name: "0"
  containerEdits:
    env: [GPU=0]
containerEdits:
  env:
  - ALL=1
)")});
  EXPECT_EQ(registry.errors(), std::vector<std::string>{});
  ASSERT_TRUE(registry.Inject({"vendor.com/gpu=0"}, &spec_).ok());
  EXPECT_EQ(spec_.process->env, (std::vector<std::string>{"A=old", "ALL=1", "GPU=0"}));
}

TEST_F(CdiTest, UnknownDevicesChangeNothing) {
  CdiRegistry registry = CdiRegistry::Read({Put("etc", "x.json", kSpec)});
  Result<> injected = registry.Inject({"vendor.com/thing=one", "a/b=c", "d"}, &spec_);
  ASSERT_FALSE(injected.ok());
  EXPECT_EQ(injected.error().message(), "unresolvable CDI devices a/b=c, d");
  EXPECT_EQ(spec_.process->env, std::vector<std::string>{"A=old"});
}

TEST_F(CdiTest, LaterDirectoriesWinAndTwinsExclude) {
  std::string etc = Put("etc", "x.json", kSpec);
  std::string run = Put("run", "y.json",
                        R"({"cdiVersion":"0.6.0","kind":"vendor.com/thing","devices":[
                           {"name":"one","containerEdits":{"env":["FROM=run"]}}]})");
  ASSERT_TRUE(CdiRegistry::Read({etc, run}).Inject({"vendor.com/thing=one"}, &spec_).ok());
  EXPECT_EQ(spec_.process->env.back(), "FROM=run");
  Put("etc", "z.json", kSpec);
  CdiRegistry twins = CdiRegistry::Read({etc});
  EXPECT_FALSE(twins.Inject({"vendor.com/thing=one"}, &spec_).ok());
  EXPECT_EQ(twins.errors().size(), 2u);
}

TEST_F(CdiTest, BadSpecsAreNamed) {
  for (const char* bad :
       {"{", "[]", "{}", R"({"cdiVersion":"1","kind":"x"})", R"({"cdiVersion":"1","kind":"1/a"})",
        R"({"cdiVersion":"1","kind":"a/b","devices":[{"name":"-x"}]})",
        R"({"cdiVersion":"1","kind":"a/b","devices":[{"name":"x"},{"name":"x"}]})",
        R"({"cdiVersion":"1","kind":"a/b","containerEdits":{"env":["X"]}})",
        R"({"cdiVersion":"1","kind":"a/b","containerEdits":{"hooks":[{"hookName":"x",
            "path":"/a"}]}})",
        R"({"cdiVersion":"1","kind":"a/b","containerEdits":{"mounts":[{"hostPath":"/a"}]}})",
        R"({"cdiVersion":"1","kind":"a/b","containerEdits":{"deviceNodes":[{"path":"/a",
            "type":"z"}]}})"}) {
    std::filesystem::remove_all(top_ + "/bad");
    EXPECT_EQ(CdiRegistry::Read({Put("bad", "b.json", bad)}).errors().size(), 1u) << bad;
  }
}

}  // namespace
}  // namespace gantry::engine
