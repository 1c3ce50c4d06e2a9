// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/mount_spec.h"

#include <gtest/gtest.h>

namespace gantry::cli {
namespace {

using formats::Json;

std::string Mount(const std::string& spec) {
  Result<Json> mount = ParseMount(spec);
  return mount.ok() ? mount->Dump() : mount.error().message();
}

TEST(MountSpec, Mounts) {
  EXPECT_EQ(Mount("type=bind,source=/a/../b,target=/c,readonly"),
            R"({"Type":"bind","Source":"/b","Target":"/c","ReadOnly":true})");
  EXPECT_EQ(
      Mount("type=bind,src=/a,dst=/c,bind-create-src"),
      R"({"Type":"bind","Source":"/a","Target":"/c","BindOptions":{"CreateMountpoint":true}})");
  EXPECT_EQ(Mount("type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1770"),
            R"({"Type":"tmpfs","Target":"/d","TmpfsOptions":{"SizeBytes":1048576,"Mode":1016}})");
  EXPECT_EQ(
      Mount("src=v,dst=/v,\"volume-label=a=b,c\",volume-nocopy"),
      R"({"Type":"volume","Source":"v","Target":"/v","VolumeOptions":{"Labels":{"a":"b,c"},"NoCopy":true}})");
}

TEST(MountSpec, Refuses) {
  EXPECT_EQ(Mount("type=bind,source=/a"), "target is required");
  EXPECT_EQ(Mount("nonsense"), "invalid field 'nonsense' must be a key=value pair");
  EXPECT_EQ(Mount("target=/a,readonly=x"), "invalid value for readonly: x");
  EXPECT_EQ(Mount("type=bind,target=/a,tmpfs-size=1m"),
            "cannot mix 'tmpfs-*' options with mount type 'bind'");
  EXPECT_FALSE(SplitCsv("a,\"b").ok());
}

TEST(MountSpec, Volumes) {
  Json volumes = Json::MakeObject();
  Json binds = Json::MakeArray();
  EXPECT_TRUE(AddVolume("/anonymous", &volumes, &binds).ok());
  EXPECT_TRUE(AddVolume("name:/b:ro", &volumes, &binds).ok());
  EXPECT_TRUE(AddVolume("./x:/c", &volumes, &binds).ok());
  EXPECT_EQ(volumes.Dump(), "{\"/anonymous\":{}}");
  EXPECT_EQ(binds.at(0).AsString(), "name:/b:ro");
  EXPECT_EQ(binds.at(1).AsString()[0], '/');
  EXPECT_FALSE(AddVolume(":/b", &volumes, &binds).ok());
}

}  // namespace
}  // namespace gantry::cli
