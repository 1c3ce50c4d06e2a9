// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/device_spec.h"

#include <gtest/gtest.h>

namespace gantry::cli {
namespace {

TEST(DeviceSpec, Devices) {
  auto device = [](const std::string& text) {
    Result<formats::Json> parsed = ParseDevice(text);
    if (!parsed.ok()) return parsed.error().message();
    return (*parsed)["PathInContainer"].AsString() + " " +
           (*parsed)["CgroupPermissions"].AsString();
  };
  EXPECT_EQ(device("/dev/a"), "/dev/a rwm");
  EXPECT_EQ(device("/dev/a:r"), "/dev/a r");
  EXPECT_EQ(device("/dev/a:/dev/b:rw"), "/dev/b rw");
  EXPECT_EQ(device("/dev/a:/dev/b:rr"), "bad mode specified: rr");
  EXPECT_EQ(device("/dev/a:x"), "x is not an absolute path");
  EXPECT_EQ(device("/dev/a:/dev/b:rw:x"), "bad format for path: /dev/a:/dev/b:rw:x");
  EXPECT_EQ(device(":/dev/b"), "bad format for path: :/dev/b");
}

TEST(DeviceSpec, CdiNames) {
  for (const char* good : {"vendor.com/class=name", "a/b=0", "nvidia.com/gpu=all", "a/b=x:y.z"}) {
    EXPECT_TRUE(IsCdiName(good)) << good;
  }
  for (const char* bad : {"/dev/null", "a/b", "a=b", "1/b=c", "a/b=", "a/=c", "/b=c", "a/b=-c"}) {
    EXPECT_FALSE(IsCdiName(bad)) << bad;
  }
}

TEST(DeviceSpec, Rules) {
  for (const char* good : {"c 1:3 rwm", "a *:* m", "b 8:* rw"}) {
    EXPECT_TRUE(CheckDeviceRule(good).ok()) << good;
  }
  for (const char* bad :
       {"", "x 1:3 r", "c 1 r", "c 1:3", "c 1:3 x", "c 1:3 rwmr", "c a:3 r", "c  1:3 r"}) {
    EXPECT_FALSE(CheckDeviceRule(bad).ok()) << bad;
  }
}

TEST(DeviceSpec, Gpus) {
  auto gpus = [](const std::string& text) {
    Result<formats::Json> parsed = ParseGpus(text);
    return parsed.ok() ? parsed->Dump() : parsed.error().message();
  };
  EXPECT_EQ(gpus("all"),
            R"({"Driver":"","Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":{}})");
  EXPECT_EQ(gpus("driver=x,\"device=1,2\",\"capabilities=a,b\",options=k=v"),
            R"({"Driver":"x","Count":0,"DeviceIDs":["1","2"],"Capabilities":[["a","b","gpu"]],)"
            R"("Options":{"k":"v"}})");
  EXPECT_EQ(gpus("x"),
            "invalid count (x): value must be either \"all\" or an integer: invalid syntax");
  EXPECT_EQ(gpus("a=b"), "unexpected key 'a' in 'a=b'");
  EXPECT_EQ(gpus("count=1,count=2"), "gpu request key 'count' can be specified only once");
}

}  // namespace
}  // namespace gantry::cli
