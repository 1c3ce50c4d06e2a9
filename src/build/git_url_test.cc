// SPDX-License-Identifier: Apache-2.0
#include "build/git_url.h"

#include <gtest/gtest.h>

namespace gantry::build {
namespace {

std::string ErrorOf(const std::string& text) {
  auto url = ParseGitUrl(text);
  return url.ok() ? "" : url.error().message();
}

TEST(GitUrlTest, IsOne) {
  for (const char* text :
       {"git://h/r", "ssh://git@h/r", "git@h:r", "me@h.x:a/b.git#main", "github.com/a/b",
        "https://h/r.git", "http://h/r.git#ref:dir", "https://h/r.git?tag=v1"}) {
    EXPECT_TRUE(IsGitUrl(text)) << text;
  }
  for (const char* text :
       {"https://h/r", "https://h/r?x=.git", "h:r", "a/b@c:d", "./r.git", "ftp://h/r.git", "a@b"}) {
    EXPECT_FALSE(IsGitUrl(text)) << text;
  }
}

TEST(GitUrlTest, Parts) {
  GitUrl url = *ParseGitUrl("https://h/r.git#main:a/b");
  EXPECT_EQ(url.repository, "https://h/r.git");
  EXPECT_EQ(url.reference, "main");
  EXPECT_EQ(url.directory, "a/b");
  url = *ParseGitUrl("git@h:r.git?tag=v1&commit=abc1&subdir=a%2fb&keep-git-dir&submodules=false");
  EXPECT_EQ(url.repository, "git@h:r.git");
  EXPECT_EQ(url.reference, "refs/tags/v1");
  EXPECT_EQ(url.checksum, "abc1");
  EXPECT_EQ(url.directory, "a/b");
  EXPECT_EQ(url.keeps_git_directory, true);
  EXPECT_EQ(url.submodules, false);
  EXPECT_FALSE(url.by_commit);
  url = *ParseGitUrl("github.com/a/b?branch=refs/heads/x&mtime=commit");
  EXPECT_EQ(url.repository, "https://github.com/a/b");
  EXPECT_EQ(url.reference, "refs/heads/x");
  EXPECT_TRUE(url.commit_times);
  EXPECT_EQ(ParseGitUrl("git://h/r?tag=v2#refs/tags/v2")->reference, "refs/tags/v2");
}

TEST(GitUrlTest, Contradictions) {
  const std::string reading = "reading the URL of a git repository: ";
  EXPECT_EQ(ErrorOf("git://h/r?tag=v2#refs/heads/m"),
            reading + "ref conflicts: \"refs/heads/m\" vs \"refs/tags/v2\"");
  EXPECT_EQ(ErrorOf("git://h/r?tag=v2&branch=x"), reading + "branch conflicts with tag");
  EXPECT_EQ(ErrorOf("git://h/r?tag=v2&tag=v3"), reading + "query \"tag\" has multiple values");
  EXPECT_EQ(ErrorOf("git://h/r?ref="), reading + "query \"ref\" has no value");
  EXPECT_EQ(ErrorOf("git://h/r?what=x"), reading + "unexpected query \"what\"");
  EXPECT_EQ(ErrorOf("git://h/r?submodules=maybe"), reading + "invalid submodules value: \"maybe\"");
  EXPECT_EQ(ErrorOf("git://h/r?mtime=now"),
            reading + "invalid mtime value: \"now\" (must be \"checkout\" or \"commit\")");
  EXPECT_EQ(ErrorOf("git://h/r#--x"), "invalid git reference: '--x'");
  EXPECT_EQ(ErrorOf("git://h/r?commit=foobar"),
            "invalid checksum foobar for Git URL, expected hex commit hash");
  EXPECT_EQ(ErrorOf("git://h/r?fetch-by-commit"),
            "fetch-by-commit requires a checksum or a commit SHA ref");
}

TEST(GitUrlTest, Hosts) {
  EXPECT_EQ(HostOfGitUrl("https://me:secret@h:8080/r.git"), "h:8080");
  EXPECT_EQ(HostOfGitUrl("git@h:r.git"), "h");
  EXPECT_EQ(WithoutCredentials("https://me:secret@h/r@2"), "https://h/r@2");
  EXPECT_EQ(WithoutCredentials("https://h/r@2"), "https://h/r@2");
  EXPECT_EQ(WithoutCredentials("git@h:r"), "git@h:r");
}

}  // namespace
}  // namespace gantry::build
