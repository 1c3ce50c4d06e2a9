// SPDX-License-Identifier: Apache-2.0
#include "formats/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::formats {
namespace {

std::string Dumped(std::string_view text) {
  Result<Json> json = ParseYaml(text);
  return json.ok() ? json->Dump() : "error: " + json.error().message();
}

TEST(Yaml, ReadsWhatVendorsWrite) {
  EXPECT_EQ(Dumped(R"(---
# made by a tool
cdiVersion: 0.5.0
kind: vendor.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/null   # a comment
      fileMode: 0666
      major: 1
    - {path: /dev/zero, permissions: "rw"}
- name: all
  containerEdits: {}
containerEdits:
  env:
    - A=b:c
    - 'it''s'
  hooks: [
    {hookName: createContainer,
     path: /usr/bin/hook, args: [hook, "--x", 'y z']}
  ]
  none:
)"),
            R"({"cdiVersion":"0.5.0","kind":"vendor.com/gpu","devices":[{"name":"0",)"
            R"("containerEdits":{"deviceNodes":[{"path":"/dev/null","fileMode":438,"major":1},)"
            R"({"path":"/dev/zero","permissions":"rw"}]}},{"name":"all","containerEdits":{}}],)"
            R"("containerEdits":{"env":["A=b:c","it's"],"hooks":[{"hookName":"createContainer",)"
            R"("path":"/usr/bin/hook","args":["hook","--x","y z"]}],"none":null}})");
}

TEST(Yaml, ReadsScalars) {
  EXPECT_EQ(Dumped("[1, -2, 0x10, 0o17, 010, +3, 1.5, -1.5, 1e3, 18446744073709551615]"),
            "[1,-2,16,15,8,3,1.5,-1.5,1000,18446744073709551615]");
  EXPECT_EQ(Dumped("[true, False, null, ~, yes, 1.2.3, 09, -, 0x, a b, \"\", '']"),
            R"([true,false,null,null,"yes","1.2.3",9,"-","0x","a b","",""])");
  EXPECT_EQ(Dumped(R"(a: "x\n\t\"\\\u20ac\x41")"), R"({"a":"x\n\t\"\\€A"})");
  EXPECT_EQ(Dumped("a: b#c # d"), R"({"a":"b#c"})");
  EXPECT_EQ(Dumped("\"a: b\": c\n'd': e"), R"({"a: b":"c","d":"e"})");
  EXPECT_EQ(Dumped("http://x:1"), R"("http://x:1")");
  EXPECT_EQ(Dumped(""), "null");
  EXPECT_EQ(Dumped("# nothing\n\n---\n"), "null");
}

TEST(Yaml, ReadsBlocks) {
  EXPECT_EQ(Dumped("a: |\n  one\n   two\n\n  three # no comment\nb: >-\n  one\n  two\n\n  three\n"),
            R"({"a":"one\n two\n\nthree # no comment\n","b":"one two\nthree"})");
  EXPECT_EQ(Dumped("- |+\n  x\n\n- y\n"), R"(["x\n\n","y"])");
  EXPECT_EQ(Dumped("- - 1\n  - 2\n-\n  - 3\n- a: 1\n  b:\n  - 2\n"),
            R"([[1,2],[3],{"a":1,"b":[2]}])");
}

TEST(Yaml, SaysWhatIsWrong) {
  auto wrong = [](std::string_view text, std::string_view words) {
    EXPECT_THAT(Dumped(text), testing::HasSubstr(words)) << text;
  };
  wrong("a: &x 1", "line 1: anchors and aliases are not supported");
  wrong("a: 1\nb: *x", "line 2: anchors");
  wrong("a: !!str 1", "tags are not supported");
  wrong("a: 1\na: 2", "line 2: the key 'a' comes twice");
  wrong("{a: 1, a: 2}", "the key 'a' comes twice");
  wrong("a: 1\n  b: 2", "not supported");
  wrong("a:\n    b: 1\n  c: 2", "unexpected indentation");
  wrong("a: 1\n---\nb: 2", "more than one document");
  wrong("a:\n\tb: 1", "a tab as indentation");
  wrong("a: [1, 2", "line 1: a bracket is not closed");
  wrong("a: \"x", "a quote is not closed");
  wrong("a: \"x\" y", "text after the closing quote");
  wrong("a: [1] 2", "text after the closing bracket");
  wrong("a: \"\\q\"", "unknown escape");
  wrong("a: one\n  two", "scalars over several lines are not supported");
  wrong("? a\n: b", "");
  wrong("just\nwords: x", "line 2");
  wrong(std::string(200, '[') + std::string(200, ']'), "nested too deeply");
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  wrong(deep, "nested too deeply");
}

}  // namespace
}  // namespace gantry::formats
