// SPDX-License-Identifier: Apache-2.0
#include "oci/runtime_spec.h"

#include <gtest/gtest.h>

namespace gantry::oci {
namespace {

using formats::Json;

constexpr char kFull[] = R"({"ociVersion":"1.3.0",
  "process":{"terminal":true,"consoleSize":{"height":24,"width":80},
    "user":{"uid":1,"gid":2,"umask":18,"additionalGids":[3,4]},"args":["sh"],"env":["A=b"],
    "cwd":"/","capabilities":{"bounding":["CAP_KILL"],"ambient":["CAP_KILL"]},
    "rlimits":[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":7}],
    "noNewPrivileges":true,"oomScoreAdj":0,"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4},
    "execCPUAffinity":{"initial":"0","final":"0-1"}},
  "root":{"path":"rootfs","readonly":true},"hostname":"h",
  "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"]}],
  "hooks":{"poststop":[{"path":"/bin/true","timeout":5}]},
  "annotations":{"a":"b"},
  "linux":{"sysctl":{"net.a":"1"},"resources":{"devices":[{"allow":false,"access":"rwm"}],
      "memory":{"limit":-1,"disableOOMKiller":false},"cpu":{"shares":2,"cpus":"0"},
      "pids":{"limit":10},"rdma":{"mlx":{"hcaHandles":3}},"unified":{"memory.high":"1"}},
    "namespaces":[{"type":"pid"},{"type":"network","path":"/proc/1/ns/net"}],
    "devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"uid":0}],
    "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
      "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
        "args":[{"index":0,"value":4,"op":"SCMP_CMP_EQ"}]}]},
    "maskedPaths":["/proc/kcore"],"timeOffsets":{"boottime":{"secs":5}}}})";

TEST(RuntimeSpec, RoundTripKeepsEveryMember) {
  Json json = *Json::Parse(kFull);
  Result<Spec> spec = ParseSpec(json);
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  EXPECT_EQ(spec->process->rlimits[0].hard, UINT64_MAX);
  EXPECT_EQ(spec->process->oom_score_adj, 0);
  EXPECT_EQ(spec->platform.resources->memory->disable_oom_killer, false);
  EXPECT_EQ(spec->platform.time_offsets["boottime"].secs, 5);
  // What is read back from what was written is written the same again.
  Json written = ToJson(*spec);
  Result<Spec> again = ParseSpec(written);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(ToJson(*again), written);
  EXPECT_EQ(written["linux"]["resources"], json["linux"]["resources"]);
  EXPECT_EQ(written["mounts"], json["mounts"]);
  EXPECT_EQ(written["process"]["consoleSize"], json["process"]["consoleSize"]);
}

struct BadCase {
  const char* pointer;
  Json value;
  const char* message;
};

TEST(RuntimeSpec, ErrorsNameThePath) {
  const BadCase kCases[] = {
      {"ociVersion", "0.9", "ociVersion: "},
      {"process.cwd", "tmp", "process.cwd: expected an absolute path"},
      {"process.cwd", 7, "process.cwd: expected a string"},
      {"process.args", Json::MakeArray(), "process.args: must not be empty"},
      {"root.path", "", "root.path: must not be empty"},
      {"mounts", 1, "mounts: expected an array"},
      {"linux.namespaces", Json::MakeArray({Json::MakeObject({{"type", "bogus"}})}),
       "linux.namespaces[0].type: unknown value 'bogus'"},
      {"linux.rootfsPropagation", "odd", "linux.rootfsPropagation: unknown value 'odd'"},
      {"linux.resources", Json::MakeObject({{"unified", Json::MakeObject({{"../x", "1"}})}}),
       "linux.resources.unified: '../x' is not a file of a cgroup"},
      {"linux.timeOffsets", Json::MakeObject({{"utc", Json::MakeObject()}}), "linux.timeOffsets"},
  };
  for (const BadCase& bad : kCases) {
    Json json = *Json::Parse(kFull);
    Json* at = &json;
    std::string path = bad.pointer;
    for (size_t dot; (dot = path.find('.')) != std::string::npos; path.erase(0, dot + 1)) {
      at = &at->MutableMember(path.substr(0, dot));
    }
    at->Set(path, bad.value);
    Result<Spec> spec = ParseSpec(json);
    ASSERT_FALSE(spec.ok()) << bad.pointer;
    EXPECT_NE(spec.error().message().find(bad.message), std::string::npos)
        << spec.error().message();
  }
}

TEST(RuntimeSpec, HugeUserNumberIsNoUser) {
  Json json = *Json::Parse(R"({"user":{"uid":4294967295,"gid":0},"args":["a"],"cwd":"/"})");
  EXPECT_FALSE(ParseProcess(json).ok());
  json = *Json::Parse(R"({"user":{"uid":4294967296,"gid":0},"args":["a"],"cwd":"/"})");
  EXPECT_FALSE(ParseProcess(json).ok());
}

}  // namespace
}  // namespace gantry::oci
