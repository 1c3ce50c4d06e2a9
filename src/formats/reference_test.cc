// SPDX-License-Identifier: Apache-2.0
#include "formats/reference.h"

#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

TEST(Reference, Normalises) {
  struct Case {
    const char* text;
    const char* whole;
    const char* familiar;
  };
  std::string digest = "sha256:" + std::string(64, 'a');
  std::string with_digest = "busybox@" + digest;
  std::string whole_digest = "docker.io/library/busybox@" + digest;
  std::string both = "localhost:5000/a/b:v1@" + digest;
  for (const Case& test : {
           Case{"busybox", "docker.io/library/busybox", "busybox"},
           {"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
           {"library/busybox", "docker.io/library/busybox", "busybox"},
           {"docker.io/busybox", "docker.io/library/busybox", "busybox"},
           {"index.docker.io/busybox", "docker.io/library/busybox", "busybox"},
           {"gantry/busybox:latest", "docker.io/gantry/busybox:latest", "gantry/busybox:latest"},
           {"docker.io/b.c/d", "docker.io/b.c/d", "docker.io/b.c/d"},
           {"library/a/b", "docker.io/library/a/b", "library/a/b"},
           {"localhost/a", "localhost/a", "localhost/a"},
           {"localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"},
           {"[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"},
           {"127.0.0.1:5000/a__b/c-d.e", "127.0.0.1:5000/a__b/c-d.e", "127.0.0.1:5000/a__b/c-d.e"},
           {"Host/a", "Host/a", "Host/a"},
           {"a---b", "docker.io/library/a---b", "a---b"},
           {with_digest.c_str(), whole_digest.c_str(), with_digest.c_str()},
           {both.c_str(), both.c_str(), both.c_str()},
       }) {
    auto reference = ParseReference(test.text);
    ASSERT_TRUE(reference.ok()) << reference.error().message();
    EXPECT_EQ(reference->ToString(), test.whole);
    EXPECT_EQ(reference->Familiar(), test.familiar);
    EXPECT_EQ(*ParseReference(reference->ToString()), *reference) << "normalising twice";
  }
}

TEST(Reference, AddsTheDefaultTag) {
  EXPECT_EQ(WithDefaultTag(*ParseReference("a")).tag, "latest");
  EXPECT_EQ(WithDefaultTag(*ParseReference("a:b")).tag, "b");
  EXPECT_EQ(WithDefaultTag(*ParseReference("a@sha256:" + std::string(64, '0'))).tag, "");
  EXPECT_EQ(ParseReference("a")->RegistryHost(), "registry-1.docker.io");
}

TEST(Reference, Refuses) {
  std::string id(64, 'a');
  std::string long_name(256, 'a');
  std::string long_tag = "a:" + std::string(129, 't');
  for (const std::string& text : {std::string(),
                                  id,
                                  long_name,
                                  long_tag,
                                  std::string("A"),
                                  std::string("a/B"),
                                  std::string("a:"),
                                  std::string(":b"),
                                  std::string("a b"),
                                  std::string("a//b"),
                                  std::string("/a"),
                                  std::string("a/"),
                                  std::string("-a"),
                                  std::string("a-"),
                                  std::string("a..b"),
                                  std::string("a___b"),
                                  std::string("a_.b"),
                                  std::string("a:b:c"),
                                  std::string("a@sha256:123"),
                                  std::string("a@b@c"),
                                  std::string("a:.b"),
                                  std::string("host.:x/a"),
                                  std::string("-h.com/a"),
                                  std::string("h.com:/a"),
                                  std::string("http://h.com/a"),
                                  std::string("a\n"),
                                  std::string("../a")}) {
    auto reference = ParseReference(text);
    ASSERT_FALSE(reference.ok()) << text;
    EXPECT_EQ(reference.error().kind(), ErrorKind::kInvalidArgument);
    EXPECT_EQ(reference.error().message().rfind("invalid reference format", 0), 0u);
  }
}

TEST(ReferenceTest, ANameLikeAnIdKeepsItsRepository) {
  std::string name(64, '0');
  EXPECT_FALSE(ParseReference(name).ok());
  EXPECT_EQ(ParseReference("library/" + name)->Familiar(), "library/" + name);
}

}  // namespace
}  // namespace gantry::formats
