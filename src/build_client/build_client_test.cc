// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/io.h"
#include "build_client/display.h"
#include "build_client/graph.h"
#include "build_client/path_choice.h"
#include "formats/base64.h"
#include "google/rpc/status.plain.h"

namespace gantry::build_client {
namespace {

class PathChoiceTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gt-choice-XXXXXX";
    path_ = ::mkdtemp(name);
    root_ = *OpenFile(path_, O_RDONLY | O_DIRECTORY);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  PathChoice::Part Of(const std::vector<std::string>& excludes,
                      const std::vector<std::string>& paths, const std::string& path) {
    return PathChoice::Create(root_, excludes, paths)->Of(path);
  }

  std::string path_;
  UniqueFd root_;
};

using Part = PathChoice::Part;

TEST_F(PathChoiceTest, ExcludesWithExceptions) {
  EXPECT_EQ(Of({"d"}, {}, "d"), Part::kNone);
  EXPECT_EQ(Of({"d"}, {}, "e"), Part::kWhole);
  EXPECT_EQ(Of({"d", "!d/x"}, {}, "d"), Part::kBelow);
  EXPECT_EQ(Of({"d", "!d/x"}, {}, "d/x"), Part::kWhole);
  EXPECT_EQ(Of({"d", "!d/x"}, {}, "d/y"), Part::kBelow);
}

TEST_F(PathChoiceTest, NamedPathsAndWhatIsBelow) {
  EXPECT_EQ(Of({}, {"a/b"}, "a"), Part::kBelow);
  EXPECT_EQ(Of({}, {"a/b"}, "a/b"), Part::kWhole);
  EXPECT_EQ(Of({}, {"a/b"}, "a/b/c"), Part::kWhole);
  EXPECT_EQ(Of({}, {"a/b"}, "a/c"), Part::kNone);
  EXPECT_EQ(Of({}, {"/a/*.txt"}, "a/x.txt"), Part::kWhole);
  EXPECT_EQ(Of({}, {"/a/*.txt"}, "a/x.md"), Part::kNone);
  EXPECT_EQ(Of({}, {"/"}, "anything"), Part::kWhole);
  EXPECT_EQ(Of({"a/b"}, {"a"}, "a/b"), Part::kNone);
}

TEST_F(PathChoiceTest, LinksBringTheirTargets) {
  std::filesystem::create_directories(path_ + "/real/sub");
  std::filesystem::create_symlink("real", path_ + "/link");
  std::filesystem::create_symlink("/real/sub", path_ + "/absolute");
  std::filesystem::create_symlink("../../outside", path_ + "/out");
  std::filesystem::create_symlink("loop", path_ + "/loop");
  EXPECT_EQ(Of({}, {"link/sub"}, "link"), Part::kWhole);
  EXPECT_EQ(Of({}, {"link/sub"}, "real/sub"), Part::kWhole);
  EXPECT_EQ(Of({}, {"link/sub"}, "real/other"), Part::kNone);
  EXPECT_EQ(Of({}, {"abs*"}, "real/sub"), Part::kWhole);
  EXPECT_EQ(Of({}, {"out"}, "real"), Part::kNone);
  EXPECT_EQ(Of({}, {"loop"}, "loop"), Part::kWhole);
}

formats::ProtoTimestamp At(double seconds) {
  auto nanos = static_cast<int64_t>(seconds * 1e9);
  return {1'800'000'000 + nanos / 1'000'000'000, static_cast<int32_t>(nanos % 1'000'000'000)};
}

api::StatusResponse Vertex(const std::string& digest, const std::string& name,
                           std::optional<double> started, std::optional<double> completed,
                           const std::string& error = "") {
  api::StatusResponse update;
  api::Vertex& vertex = update.vertexes.emplace_back();
  vertex.digest = digest;
  vertex.name = name;
  if (started) vertex.started = At(*started);
  if (completed) vertex.completed = At(*completed);
  vertex.error = error;
  return update;
}

api::StatusResponse Log(const std::string& digest, double when, const std::string& text) {
  api::StatusResponse update;
  api::VertexLog& log = update.logs.emplace_back();
  log.vertex = digest;
  log.timestamp = At(when);
  log.stream = 1;
  log.msg = text;
  return update;
}

// What plain progress makes of the updates.
std::string Plain(const std::vector<api::StatusResponse>& updates) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd from(ends[0]);
  {
    UniqueFd to(ends[1]);
    Graph graph;
    auto display = *MakeDisplay({"plain", to, false});
    for (const auto& update : updates) {
      graph.Take(update);
      display->Take(graph, update);
    }
    display->End(graph);
  }
  return *ReadToEnd(from, 1 << 20);
}

TEST(PlainDisplayTest, BlocksOfSteps) {
  EXPECT_EQ(
      Plain({Vertex("a", "[1/2] RUN a", 0, {}), Log("a", 0.5, "one\ntw"), Log("a", 12.25, "o\n"),
             Vertex("a", "[1/2] RUN a", 0, 100.5), Vertex("b", "[2/2] RUN b", 101, {}),
             Vertex("b", "[2/2] RUN b", 101, 102, "it broke")}),
      "#1 [1/2] RUN a\n#1 0.500 one\n#1 12.25 two\n#1 DONE 100.5s\n"
      "\n#2 [2/2] RUN b\n#2 ERROR: it broke\n");
}

TEST(PlainDisplayTest, OpenBlocksStayUntilTheirEnd) {
  EXPECT_EQ(Plain({Vertex("a", "A", 0, {}), Vertex("b", "B", 0, {}), Log("b", 1, "of b\n"),
                   Log("a", 1, "of a\n"), Vertex("a", "A", 0, 2), Vertex("b", "B", 0, 2)}),
            "#1 A\n#1 1.000 of a\n#1 DONE 2.0s\n\n#2 B\n#2 1.000 of b\n#2 DONE 2.0s\n");
  // One that ends while another's is open interrupts it.
  EXPECT_EQ(Plain({Vertex("a", "A", 0, {}), Vertex("b", "B", 0, 1), Vertex("a", "A", 0, 2)}),
            "#1 A\n#1 ...\n\n#2 B\n#2 DONE 1.0s\n\n#1 A\n#1 DONE 2.0s\n");
}

TEST(GraphTest, FailuresShowTheLastLines) {
  Graph graph;
  graph.Take(Vertex("a", "RUN a", 0, {}));
  for (int i = 0; i < 30; ++i) graph.Take(Log("a", 1, fmt::format("line {}\n", i)));
  graph.Take(Vertex("a", "RUN a", 0, 2, "exit code: 1"));
  graph.Take(Vertex("b", "RUN b", 0, 2, "the build was cancelled"));
  std::string text = graph.FailureText();
  EXPECT_TRUE(text.starts_with("------\n > RUN a:\n1.000 line 20\n")) << text;
  EXPECT_TRUE(text.ends_with("1.000 line 29\n------\n")) << text;
}

TEST(GraphTest, FailuresShowTheirPlaces) {
  plain::google::rpc::Status status;
  status.details.push_back({"somebody.else/errdefs.Other", "not even JSON"});
  status.details.push_back({"github.com/moby/buildkit/errdefs.Source+json",
                            R"({"info":{"filename":"Dockerfile","data":")" +
                                formats::EncodeBase64("FROM x\nRUN a\nRUN b\n") +
                                R"("},"ranges":[{"start":{"line":2},"end":{"line":2}}]})"});
  Graph graph;
  ASSERT_TRUE(graph.TakePlaces(formats::EncodeBase64(status.Encode())).ok());
  EXPECT_EQ(
      graph.FailureText(),
      "Dockerfile:2\n--------------------\n   1 |     FROM x\n   2 | >>> RUN a\n   3 |     RUN "
      "b\n   4 |     \n--------------------\n");
  EXPECT_TRUE(graph.TakePlaces("").ok());
  EXPECT_FALSE(graph.TakePlaces("*").ok());
}

}  // namespace
}  // namespace gantry::build_client
