// SPDX-License-Identifier: Apache-2.0
#include "runtime/prepared.h"

#include <gtest/gtest.h>
#include <linux/bpf_common.h>
#include <stdlib.h>

#include <cstring>

#include "base/io.h"
#include "kernel/paths.h"
#include "runtime/launch.h"

namespace gantry::runtime {
namespace {

constexpr std::string_view kConfig = R"json({
  "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "hostname": "left-out",
  "process": {"cwd": "/work", "args": ["sh"], "env": ["A=1"], "user": {"uid": 7, "gid": 8},
              "execCPUAffinity": {"initial": "0"}},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
  "linux": {"personality": {"domain": "LINUX32"},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                        "listenerPath": "/run/listener", "listenerMetadata": "meta",
                        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}}
})json";

oci::Spec TheSpec() { return *oci::ParseSpec(*formats::Json::Parse(kConfig)); }

ContainerState TheState() {
  ContainerState state;
  state.id = "box";
  state.created = FromUnixNanos(1'234'567'890'123'456'789);
  return state;
}

std::string TheFile() {
  oci::Spec spec = TheSpec();
  return EncodePrepared(spec, *PrepareSeccomp(spec), TheState());
}

// With a checksum that fits, as somebody's who means it.
std::string Resealed(std::string file) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : file.substr(24)) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::memcpy(file.data() + 16, &hash, sizeof hash);
  return file;
}

bool SameProgram(const child::SeccompProgram& a, const child::SeccompProgram& b) {
  return a.flags == b.flags && a.notifies == b.notifies && a.listener_path == b.listener_path &&
         a.listener_metadata == b.listener_metadata && a.filter.size() == b.filter.size() &&
         std::memcmp(a.filter.data(), b.filter.data(), a.filter.size() * sizeof(sock_filter)) == 0;
}

TEST(Prepared, KeepsWhatExecNeeds) {
  std::optional<Prepared> prepared = DecodePrepared(TheFile(), TheState());
  ASSERT_TRUE(prepared);
  const oci::Spec& spec = prepared->spec;
  EXPECT_EQ(spec.process->cwd, "/work");
  EXPECT_EQ(spec.process->user.uid, 7U);
  EXPECT_EQ(spec.process->env, std::vector<std::string>{"A=1"});
  EXPECT_EQ(spec.process->exec_cpu_affinity->initial, "0");
  EXPECT_EQ(spec.platform.personality->domain, "LINUX32");
  EXPECT_EQ(spec.platform.memory_policy->nodes, "0");
  EXPECT_TRUE(spec.mounts.empty());
  EXPECT_FALSE(spec.platform.seccomp);
  child::SeccompProgram program = *PrepareSeccomp(TheSpec());
  EXPECT_GT(program.filter.size(), 5U);
  EXPECT_TRUE(program.notifies);
  EXPECT_TRUE(SameProgram(prepared->seccomp, program));
}

TEST(Prepared, KeepsThatThereIsNoFilter) {
  oci::Spec spec = TheSpec();
  spec.platform.seccomp.reset();
  std::optional<Prepared> prepared =
      DecodePrepared(EncodePrepared(spec, {}, TheState()), TheState());
  ASSERT_TRUE(prepared);
  EXPECT_TRUE(prepared->seccomp.filter.empty());
  EXPECT_FALSE(prepared->seccomp.notifies);
}

TEST(Prepared, PassesOverAnyCut) {
  std::string file = TheFile();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(DecodePrepared(std::string_view(file).substr(0, size), TheState())) << size;
  }
  EXPECT_FALSE(DecodePrepared(file + "x", TheState()));
  EXPECT_FALSE(DecodePrepared(std::string(file.size(), '\0'), TheState()));
}

TEST(Prepared, PassesOverAnyChangedByte) {
  std::string file = TheFile();
  for (size_t at = 0; at < file.size(); ++at) {
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    EXPECT_FALSE(DecodePrepared(changed, TheState())) << at;
  }
}

TEST(Prepared, PassesOverOthers) {
  std::string file = TheFile();
  ASSERT_TRUE(DecodePrepared(Resealed(file), TheState()));
  ContainerState other = TheState();
  other.id = "other";
  EXPECT_FALSE(DecodePrepared(file, other));
  other = TheState();
  other.created += std::chrono::nanoseconds(1);
  EXPECT_FALSE(DecodePrepared(file, other));
  for (auto [from, to] :
       {std::pair<std::string, std::string>{"\"version\":\"" GANTRY_VERSION, "\"version\":\"9"},
        {"\"architecture\":", "\"architecture\":1"},
        {"\"format\":", "\"format\":9"}}) {
    size_t at = file.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    std::string changed = file;
    changed.replace(at, from.size(), to);
    // The JSON's size is the first number after the checksum.
    uint32_t size = 0;
    std::memcpy(&size, changed.data() + 24, sizeof size);
    size += static_cast<uint32_t>(to.size()) - static_cast<uint32_t>(from.size());
    std::memcpy(changed.data() + 24, &size, sizeof size);
    EXPECT_FALSE(DecodePrepared(Resealed(changed), TheState())) << from;
  }
}

// Sizes that only fit together, or not even that.
TEST(Prepared, PassesOverWrongSizes) {
  std::string file = TheFile();
  for (uint32_t json : {0U, 1U, 0xFFFFFFFFU}) {
    for (uint32_t filter : {0U, 8U, 0xFFFFFFFFU, static_cast<uint32_t>(file.size() - 32 - json)}) {
      std::string changed = file;
      std::memcpy(changed.data() + 24, &json, sizeof json);
      std::memcpy(changed.data() + 28, &filter, sizeof filter);
      EXPECT_FALSE(DecodePrepared(Resealed(changed), TheState())) << json << " " << filter;
    }
  }
}

TEST(Prepared, FallsBackToTheConfiguration) {
  char place[] = "/tmp/gantry-prepared-XXXXXX";
  ASSERT_NE(::mkdtemp(place), nullptr);
  StateDirectory directory(place, "box");
  ASSERT_TRUE(directory.Create().ok());
  ASSERT_TRUE(CreateFile(directory.ConfigPath(), kConfig, 0600).ok());
  child::SeccompProgram program = *PrepareSeccomp(TheSpec());
  for (std::string_view file :
       {std::string_view(), std::string_view("gantry prepared\nnonsense")}) {
    if (!file.empty()) {
      ASSERT_TRUE(CreateFile(directory.PreparedPath(), file, 0600).ok());
    }
    Result<Prepared> prepared = LoadPrepared(directory, TheState());
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    EXPECT_TRUE(SameProgram(prepared->seccomp, program));
    EXPECT_EQ(prepared->spec.hostname, "left-out");
  }
  ASSERT_TRUE(ReplaceFile(directory.PreparedPath(), TheFile(), 0600).ok());
  Result<Prepared> prepared = LoadPrepared(directory, TheState());
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared->spec.hostname, "");
  EXPECT_TRUE(SameProgram(prepared->seccomp, program));
  ASSERT_TRUE(directory.Remove().ok());
  EXPECT_FALSE(PathExists(directory.path()));
  ::rmdir(place);
}

}  // namespace
}  // namespace gantry::runtime
