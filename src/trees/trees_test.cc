// SPDX-License-Identifier: Apache-2.0
//
// Archives out of trees and into hostile ones.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/io.h"
#include "trees/archive_tree.h"
#include "trees/extract_tree.h"

namespace gantry::trees {
namespace {

namespace fs = std::filesystem;
using formats::TarEntry;
using formats::TarType;

class TreesTest : public testing::Test {
 protected:
  TreesTest() {
    char directory[] = "/tmp/gantry-trees-XXXXXX";
    top_ = ::mkdtemp(directory);
    fs::create_directories(top_ + "/root/dst");
    fs::create_directories(top_ + "/outside");
    root_ = std::move(*OpenFile(top_ + "/root", O_PATH | O_DIRECTORY));
  }
  ~TreesTest() override { fs::remove_all(top_); }

  static std::string Tar(const std::vector<TarEntry>& entries) {
    StringSink sink;
    formats::TarWriter writer(sink);
    for (TarEntry entry : entries) {
      entry.uid = ::getuid();
      entry.gid = ::getgid();
      if (entry.type == TarType::kFile) {
        EXPECT_TRUE(writer.WriteFile(entry, "data").ok());
      } else {
        EXPECT_TRUE(writer.WriteHeader(entry).ok());
      }
    }
    EXPECT_TRUE(writer.Finish().ok());
    return sink.text;
  }
  Result<> Extract(const std::vector<TarEntry>& entries, bool keeps_kinds = false) {
    std::string tar = Tar(entries);
    StringSource source(tar);
    EntryMaker::Options options;
    options.root = root_;
    options.base = "dst";
    options.keeps_kinds = keeps_kinds;
    return ExtractTree(std::move(options), source);
  }
  std::string Text(const std::string& path) { return *ReadFile(top_ + "/root/" + path); }

  std::string top_;
  UniqueFd root_;
};

TEST_F(TreesTest, ExtractsAndMakesWhatIsMissing) {
  ASSERT_TRUE(Extract({{.type = TarType::kFile, .name = "a/b/f", .mode = 0640},
                       {.type = TarType::kHardLink, .name = "h", .link_name = "a/b/f"},
                       {.type = TarType::kSymlink, .name = "s", .link_name = "/etc/passwd"}})
                  .ok());
  EXPECT_EQ(Text("dst/a/b/f"), "data");
  EXPECT_EQ(Text("dst/h"), "data");
  EXPECT_EQ(fs::read_symlink(top_ + "/root/dst/s"), "/etc/passwd");
}

TEST_F(TreesTest, LinksInTheWayLeadWithinTheRoot) {
  fs::create_directory_symlink(top_ + "/outside", top_ + "/root/dst/out");
  fs::create_directories(top_ + "/root/" + top_ + "/outside");  // where that leads from the root
  ASSERT_TRUE(Extract({{.type = TarType::kFile, .name = "out/f"}}).ok());
  EXPECT_TRUE(fs::is_empty(top_ + "/outside"));
  EXPECT_EQ(Text(top_ + "/outside/f"), "data");
}

TEST_F(TreesTest, NamesThatLeadOutAreRefused) {
  for (const char* name : {"../x", "a/../../x", "/../x"}) {
    Result<> done = Extract({{.type = TarType::kFile, .name = name}});
    ASSERT_FALSE(done.ok()) << name;
    EXPECT_NE(done.error().message().find("is outside of \"/dst\""), std::string::npos);
  }
  EXPECT_FALSE(Extract({{.type = TarType::kHardLink, .name = "h", .link_name = "../../x"}}).ok());
  EXPECT_FALSE(PathExists(top_ + "/root/x"));
}

TEST_F(TreesTest, KindsAreKeptWhenAsked) {
  fs::create_directories(top_ + "/root/dst/d");
  std::ofstream(top_ + "/root/dst/f") << "old";
  EXPECT_EQ(Extract({{.type = TarType::kFile, .name = "d"}}, true).error().message(),
            "extracting 'd': cannot overwrite directory \"d\" with non-directory \"d\"");
  EXPECT_FALSE(Extract({{.type = TarType::kDirectory, .name = "f/"}}, true).ok());
  EXPECT_EQ(Text("dst/f"), "old");
  EXPECT_TRUE(Extract({{.type = TarType::kFile, .name = "d"}}).ok());
  EXPECT_EQ(Text("dst/d"), "data");
}

TEST_F(TreesTest, WhiteoutsAreFilesLikeOthers) {
  std::ofstream(top_ + "/root/dst/f") << "old";
  ASSERT_TRUE(Extract({{.type = TarType::kFile, .name = ".wh.f"},
                       {.type = TarType::kFile, .name = ".wh..wh..opq"}})
                  .ok());
  EXPECT_EQ(Text("dst/f"), "old");
  EXPECT_EQ(Text("dst/.wh.f"), "data");
}

TEST_F(TreesTest, ArchivesWithAName) {
  fs::create_directories(top_ + "/root/dst/sub");
  std::ofstream(top_ + "/root/dst/sub/f") << "text";
  fs::create_hard_link(top_ + "/root/dst/sub/f", top_ + "/root/dst/sub/g");
  UniqueFd directory = std::move(*OpenFile(top_ + "/root/dst", O_RDONLY | O_DIRECTORY));
  for (const auto& [name, first] : {std::pair("etc", "etc/"), std::pair(".", "./"),
                                    std::pair("/", "/"), std::pair("", "sub/")}) {
    StringSink sink;
    ASSERT_TRUE(ArchiveDirectory(directory, {.name = name}, sink).ok());
    StringSource source(sink.text);
    formats::TarReader tar(source);
    TarEntry entry;
    ASSERT_TRUE(*tar.NextEntry(&entry));
    EXPECT_EQ(entry.name, first);
    std::vector<std::string> rest;
    while (*tar.NextEntry(&entry)) rest.push_back(entry.name + ">" + entry.link_name);
    std::string sub = std::string(first) + (name[0] == '\0' ? "" : "sub/");
    EXPECT_EQ(rest[rest.size() - 2], sub + "f>");
    EXPECT_EQ(rest.back(), sub + "g>" + sub + "f");
  }
}

}  // namespace
}  // namespace gantry::trees
