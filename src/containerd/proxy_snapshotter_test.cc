// SPDX-License-Identifier: Apache-2.0
//
// The snapshotters' suite on a proxy whose other side is Debian's containerd.
#include "containerd/proxy_snapshotter.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "snapshots/snapshotter_suite.h"

namespace gantry::snapshots {
namespace {

pid_t peer = 0;

bool Answers(const std::string& top) {
  std::string command = fmt::format("ctr -a {}/c.sock version >/dev/null 2>&1", top);
  return ::system(command.c_str()) == 0;
}

std::string StartPeer(const std::string& top) {
  if (::system("command -v containerd >/dev/null && command -v ctr >/dev/null") != 0) {
    return "no containerd";
  }
  std::string config = fmt::format(
      "version = 2\nroot = \"{0}/peer\"\nstate = \"{0}/state\"\n"
      "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{0}/c.sock\"\n",
      top);
  if (!CreateFile(top + "/config.toml", config, 0600).ok()) return "cannot write its configuration";
  std::string file = top + "/config.toml";
  std::string log_level = "fatal";
  const char* arguments[] = {"containerd", "-l", log_level.c_str(), "-c", file.c_str(), nullptr};
  if (::posix_spawnp(&peer, "containerd", nullptr, nullptr, const_cast<char**>(arguments),
                     environ) != 0) {
    return "containerd does not start";
  }
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!Answers(top)) {
    if (std::chrono::steady_clock::now() > until) return "containerd does not answer";
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return "";
}

void StopPeer(const std::string&) {
  if (peer == 0) return;
  ::kill(peer, SIGTERM);
  EXPECT_EQ(::waitpid(peer, nullptr, 0), peer);
  peer = 0;
}

template <const char* kRemote>
Result<std::unique_ptr<Snapshotter>> MakeProxy(const std::string& root, SnapshotRecords* records,
                                               Trash*) {
  std::string top = root.substr(0, root.rfind('/'));
  return containerd::MakeProxySnapshotter({"far", top + "/c.sock", kRemote}, records);
}

constexpr char kNative[] = "native";
constexpr char kOverlayfs[] = "overlayfs";

INSTANTIATE_TEST_SUITE_P(
    Proxy, SnapshotterTest,
    testing::Values(Implementation{"native", MakeProxy<kNative>, StartPeer, StopPeer, false},
                    Implementation{"overlayfs", MakeProxy<kOverlayfs>, StartPeer, StopPeer, false}),
    [](const auto& info) { return std::string(info.param.name); });

class Proxy : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gantry-proxy-XXXXXX";
    top_ = ::mkdtemp(path);
    records_ = MakeMemoryRecords();
  }
  void TearDown() override {
    StopPeer(top_);
    std::filesystem::remove_all(top_);
  }
  std::unique_ptr<Snapshotter> Open() {
    auto proxy =
        containerd::MakeProxySnapshotter({"far", top_ + "/c.sock", "native"}, records_.get());
    EXPECT_TRUE(proxy->Recover().ok());
    return proxy;
  }
  // Names there.
  size_t CountThere() {
    std::string command = fmt::format(
        "ctr -a {0}/c.sock -n ns snapshots --snapshotter native ls | tail -n +2 > {0}/list", top_);
    EXPECT_EQ(::system(command.c_str()), 0);
    std::string list = *ReadFile(top_ + "/list");
    return static_cast<size_t>(std::count(list.begin(), list.end(), '\n'));
  }
  std::string top_;
  std::unique_ptr<SnapshotRecords> records_;
};

TEST_F(Proxy, WithoutTheOtherSide) {
  auto proxy = Open();
  auto prepared = proxy->Prepare("ns", "key", "", {});
  ASSERT_FALSE(prepared.ok());
  EXPECT_EQ(prepared.error().kind(), ErrorKind::kUnavailable) << prepared.error().message();
  EXPECT_TRUE(records_->List("")->empty());
}

TEST_F(Proxy, ClearsUpWhatACrashLeft) {
  std::string reason = StartPeer(top_);
  if (!reason.empty()) GTEST_SKIP() << reason;
  auto proxy = Open();
  ASSERT_TRUE(proxy->Prepare("ns", "a", "", {}).ok());
  ASSERT_TRUE(proxy->Commit("ns", "base", "a", {}).ok());
  ASSERT_TRUE(proxy->Prepare("ns", "b", "base", {}).ok());
  ASSERT_TRUE(proxy->Prepare("ns", "c", "base", {}).ok());
  EXPECT_EQ(CountThere(), 3u);
  // Killed between the commit there and the record here: the record still says active.
  std::string commit = fmt::format(
      "ctr -a {}/c.sock -n ns snapshots --snapshotter native commit ns/2/two ns/2/b", top_);
  ASSERT_EQ(::system(commit.c_str()), 0);
  // Killed between the snapshot there and its record here.
  ASSERT_TRUE(records_->Remove("ns", "c").ok());
  proxy = Open();
  EXPECT_EQ(CountThere(), 1u);
  auto left = records_->List("ns");
  ASSERT_EQ(left->size(), 1u);
  EXPECT_EQ((*left)[0].key, "base");
  ASSERT_TRUE(proxy->Remove("ns", "base").ok());
  EXPECT_EQ(CountThere(), 0u);
}

}  // namespace
}  // namespace gantry::snapshots
