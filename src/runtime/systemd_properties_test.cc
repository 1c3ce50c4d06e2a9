// SPDX-License-Identifier: Apache-2.0
#include "runtime/systemd_properties.h"

#include <gtest/gtest.h>

#include "runtime/cgroup_setup.h"
#include "runtime/dbus_client.h"

namespace gantry::runtime {
namespace {

using formats::DbusValue;

// Nothing if it is not there.
DbusValue Find(const UnitProperties& properties, std::string_view name) {
  DbusValue found;
  for (const auto& [key, value] : properties) {
    if (key == name) found = value;
  }
  return found;
}

TEST(SystemdScope, NamesAreOfThreeParts) {
  ScopeName name = *ParseScopePath("a-b.slice:docker:0a1b", "id", "system.slice");
  EXPECT_EQ(name.slice, "a-b.slice");
  EXPECT_EQ(name.unit, "docker-0a1b.scope");
  name = *ParseScopePath("", "id", "user.slice");
  EXPECT_EQ(name.slice, "user.slice");
  EXPECT_EQ(name.unit, "gantry-id.scope");
  EXPECT_EQ(ParseScopePath("::only", "id", "system.slice")->unit, "only.scope");
}

TEST(SystemdScope, OtherNamesAreRefused) {
  for (const char* bad :
       {"/a/b", "a", "a.slice:b", "a.slice:b/../c:d", "a:b:c", "-a.slice:b:c", "a--b.slice:b:c",
        "a-.slice:b:c", "a.slice:b: c", "a.slice:b:c\nd", "a@.slice:b:c", ".slice:b:c"}) {
    EXPECT_FALSE(ParseScopePath(bad, "id", "system.slice").ok()) << bad;
  }
  EXPECT_FALSE(ParseScopePath("a.slice:b:" + std::string(260, 'c'), "id", "system.slice").ok());
}

TEST(SystemdProperties, Limits) {
  oci::Resources resources;
  resources.memory.emplace();
  resources.memory->limit = 64 << 20;
  resources.memory->swap = 96 << 20;
  resources.memory->reservation = 32 << 20;
  resources.cpu.emplace();
  resources.cpu->shares = 1024;
  resources.cpu->quota = 12345;
  resources.cpu->period = 50000;
  resources.cpu->cpus = "0,2-3,9";
  resources.pids = oci::Pids{7};
  UnitProperties out = *ResourceProperties(resources, DeviceProperties::kInclude);
  EXPECT_EQ(Find(out, "MemoryMax").Number(), 64U << 20);
  EXPECT_EQ(Find(out, "MemorySwapMax").Number(), 32U << 20);
  EXPECT_EQ(Find(out, "MemoryLow").Number(), 32U << 20);
  EXPECT_EQ(Find(out, "CPUWeight").Number(), 39U);
  EXPECT_EQ(Find(out, "CPUQuotaPeriodUSec").Number(), 50000U);
  // 246900 us a second, rounded up to whole percents.
  EXPECT_EQ(Find(out, "CPUQuotaPerSecUSec").Number(), 250000U);
  EXPECT_EQ(Find(out, "TasksMax").Number(), 7U);
  EXPECT_EQ(Find(out, "AllowedCPUs"),
            DbusValue::Array("y", {DbusValue::Byte(0x0d), DbusValue::Byte(0x02)}));
  // Without rules devices are not spoken of.
  EXPECT_TRUE(Find(out, "DevicePolicy").signature.empty());
}

TEST(SystemdProperties, UnlimitedIsInfinity) {
  oci::Resources resources;
  resources.memory.emplace();
  resources.memory->limit = -1;
  resources.cpu.emplace();
  resources.cpu->quota = -1;
  resources.pids = oci::Pids{-1};
  UnitProperties out = *ResourceProperties(resources, DeviceProperties::kInclude);
  for (const char* name : {"MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"}) {
    EXPECT_EQ(Find(out, name).Number(), UINT64_MAX) << name;
  }
}

TEST(SystemdProperties, SwapNeedsALimitBelowIt) {
  oci::Resources resources;
  resources.memory.emplace();
  resources.memory->swap = 1 << 20;
  EXPECT_FALSE(ResourceProperties(resources, DeviceProperties::kLeave).ok());
  resources.memory->limit = 2 << 20;
  EXPECT_FALSE(ResourceProperties(resources, DeviceProperties::kLeave).ok());
}

TEST(SystemdProperties, DeviceRules) {
  oci::Resources resources;
  resources.devices = {
      {false, "a", {}, {}, "rwm"}, {true, "c", 10, 229, "rw"}, {true, "b", 8, {}, "r"}};
  UnitProperties out = *ResourceProperties(resources, DeviceProperties::kInclude);
  EXPECT_EQ(Find(out, "DevicePolicy").Text(), "strict");
  DbusValue list = Find(out, "DeviceAllow");
  auto has = [&](const char* device, const char* access) {
    DbusValue wanted = DbusValue::Struct({DbusValue::String(device), DbusValue::String(access)});
    return std::find(list.Parts().begin(), list.Parts().end(), wanted) != list.Parts().end();
  };
  EXPECT_TRUE(has("/dev/char/10:229", "rw"));
  EXPECT_TRUE(has("block-8", "r"));
  EXPECT_TRUE(has("/dev/char/1:3", "rwm"));
  EXPECT_TRUE(has("char-136", "rwm"));
  EXPECT_TRUE(has("char-*", "m"));
  // What systemd can't say is left to the cgroup's own program.
  resources.devices = {{true, "a", {}, {}, ""}, {false, "c", 10, 229, "rw"}};
  out = *ResourceProperties(resources, DeviceProperties::kInclude);
  EXPECT_EQ(Find(out, "DevicePolicy").Text(), "auto");
  EXPECT_TRUE(Find(out, "DeviceAllow").Parts().empty());
}

TEST(SystemdProperties, FilesThatHaveOne) {
  oci::Resources resources;
  resources.unified = {{"memory.high", "1048576"},
                       {"cpu.max", "25000 100000"},
                       {"pids.max", "max"},
                       {"cpuset.cpus", "0"},
                       {"hugetlb.2MB.max", "0"}};
  UnitProperties out = *ResourceProperties(resources, DeviceProperties::kInclude);
  EXPECT_EQ(Find(out, "MemoryHigh").Number(), 1048576U);
  EXPECT_EQ(Find(out, "CPUQuotaPerSecUSec").Number(), 250000U);
  EXPECT_EQ(Find(out, "TasksMax").Number(), UINT64_MAX);
  EXPECT_EQ(Find(out, "AllowedCPUs").Parts().size(), 1U);
}

TEST(SystemdAnnotations, HarmlessOnesAreTaken) {
  UnitProperties out = *AnnotatedProperties({{"org.systemd.property.TimeoutStopUSec", "uint64 5"},
                                             {"org.systemd.property.CollectMode", "'inactive'"},
                                             {"org.systemd.property.RuntimeMaxSec", "1.5"},
                                             {"other", "{"}});
  EXPECT_EQ(Find(out, "TimeoutStopUSec").Number(), 5U);
  EXPECT_EQ(Find(out, "CollectMode").Text(), "inactive");
  EXPECT_EQ(Find(out, "RuntimeMaxUSec"), DbusValue::Uint64(1500000));
  EXPECT_EQ(out.size(), 3U);
}

// Class G: an annotation commands nothing but its own scope (CVE-2024-3154).
TEST(SystemdAnnotations, CommandsAreRefused) {
  for (const char* name : {"SuccessAction",
                           "FailureAction",
                           "JobTimeoutAction",
                           "OnFailure",
                           "OnSuccess",
                           "Wants",
                           "Requires",
                           "Conflicts",
                           "BindsTo",
                           "Upholds",
                           "ExecStart",
                           "ExecStop",
                           "Slice",
                           "PIDs",
                           "Delegate",
                           "DeviceAllow",
                           "DevicePolicy",
                           "BPFProgram",
                           "IPIngressFilterPath",
                           "RequiresMountsFor",
                           "Controller",
                           "AddRef",
                           "TimeoutStopUSec ",
                           "",
                           "ActionSec",
                           "Sec"}) {
    EXPECT_FALSE(AnnotatedProperties({{std::string("org.systemd.property.") + name, "1"}}).ok())
        << name;
  }
  EXPECT_FALSE(AnnotatedProperties({{"org.systemd.property.Description", "x"}}).ok());
  EXPECT_FALSE(AnnotatedProperties({{"org.systemd.property.TimeoutStopSec", "'x'"}}).ok());
  EXPECT_FALSE(AnnotatedProperties({{"org.systemd.property.TimeoutStopSec", "-1"}}).ok());
}

TEST(CgroupValues, OfVersionOneAsVersionTwoHasThem) {
  EXPECT_EQ(CpuWeightOfShares(2), 1U);
  EXPECT_EQ(CpuWeightOfShares(512), 20U);
  EXPECT_EQ(CpuWeightOfShares(262144), 10000U);
  EXPECT_EQ(CpuWeightOfShares(UINT64_MAX), 10000U);
  EXPECT_EQ(IoWeightOf(10), 1U);
  EXPECT_EQ(IoWeightOf(1000), 10000U);
  EXPECT_EQ(IoWeightOf(UINT64_MAX), 10000U);
}

TEST(BusAddress, TheFirstPathIsTaken) {
  EXPECT_EQ(*SocketOfBusAddress("unix:path=/run/bus"), "/run/bus");
  EXPECT_EQ(*SocketOfBusAddress("tcp:host=x;unix:path=/a%20b,guid=1;unix:path=/c"), "/a b");
  EXPECT_FALSE(SocketOfBusAddress("unix:abstract=/run/bus").ok());
  EXPECT_FALSE(SocketOfBusAddress("").ok());
}

}  // namespace
}  // namespace gantry::runtime
