// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/lint.h"

#include <gtest/gtest.h>

#include "dockerfile/outline.h"

namespace gantry::dockerfile {
namespace {

using Found = std::vector<std::string>;  // "Rule 3", "Rule 3-5"

struct Asked {
  std::optional<std::map<std::string, std::string>> base = std::map<std::string, std::string>();
  bool base_has_shell = false;
  std::string base_platform = "linux/amd64";
  std::optional<IgnoreList> ignored;
  std::map<std::string, std::optional<std::string>> given;
  std::vector<bool> stages;
};

std::vector<Warning> WarningsOf(std::string_view text, const Asked& asked = {}) {
  Parsed parsed = ParseAsFarAsPossible(text);
  LintRequest request{.file = parsed.file};
  request.whole = !parsed.error;
  auto options = ParseCheckOptions(parsed.file.check);
  EXPECT_TRUE(options.ok());
  request.options = *options;
  request.stages =
      asked.stages.empty() ? std::vector<bool>(parsed.file.stages.size(), true) : asked.stages;
  request.given = asked.given;
  request.predefined = {{"TARGETPLATFORM", "linux/amd64"}, {"TARGETARCH", "amd64"}};
  if (asked.ignored) request.ignored = &*asked.ignored;
  request.find_base = [&](const std::string&, const std::string&) -> std::optional<BaseFacts> {
    if (!asked.base) return std::nullopt;
    return BaseFacts{*asked.base, asked.base_has_shell, asked.base_platform, "linux/amd64"};
  };
  request.read_platform = [](const std::string& text) -> std::optional<PlatformParts> {
    size_t slash = text.find('/');
    if (slash == std::string::npos) return std::nullopt;
    return PlatformParts{text.substr(0, slash), text.substr(slash + 1)};
  };
  return Lint(request);
}

Found RulesOf(std::string_view text, const Asked& asked = {}) {
  Found out;
  for (const Warning& warning : WarningsOf(text, asked)) {
    out.push_back(fmt::format("{} {}", warning.rule->name, warning.first_line));
    if (warning.last_line != warning.first_line)
      out.back() += fmt::format("-{}", warning.last_line);
  }
  return out;
}

TEST(LintTest, NothingToSay) {
  EXPECT_EQ(RulesOf("FROM a AS b\nARG X=1\nENV Y=$X Z=${W:-no}\nFROM b\nCOPY --from=b /x /y\n"
                    "WORKDIR /w\nWORKDIR x\nCMD [\"a\"]\nEXPOSE 80 90/udp\n",
                    {.base = {{{"W", "1"}}}}),
            Found());
}

TEST(LintTest, HowItIsWritten) {
  EXPECT_EQ(RulesOf("FROM a as b\n"), Found{"FromAsCasing 1"});
  EXPECT_EQ(RulesOf("from a as b\n"), Found());
  EXPECT_EQ(RulesOf("FROM a AS BeE\n"), Found{"StageNameCasing 1"});
  EXPECT_EQ(RulesOf("FROM a\nRUN x \\\n\n  y\n"), Found{"NoEmptyContinuation 4"});
  EXPECT_EQ(RulesOf("FROM a\nRUN x \\\n # comment\n  y\n"), Found());
  EXPECT_EQ(RulesOf("FROM a\nMAINTAINER me\n"), Found{"MaintainerDeprecated 2"});
  EXPECT_EQ(RulesOf("FROM a\nrun x\nRUN y\nCopy a b\n"),
            (Found{"ConsistentInstructionCasing 2", "ConsistentInstructionCasing 4"}));
  EXPECT_EQ(RulesOf("from a\nrun x\nRUN y\n"), Found{"ConsistentInstructionCasing 3"});
  EXPECT_EQ(RulesOf("FROM a\nENV x y\nLABEL a b\n"),
            (Found{"LegacyKeyValueFormat 2", "LegacyKeyValueFormat 3"}));
  EXPECT_EQ(RulesOf("FROM a\nEXPOSE 80/TCP 127.0.0.1:90:90 91:92\n"),
            (Found{"ExposeProtoCasing 2", "ExposeInvalidFormat 2", "ExposeInvalidFormat 2"}));
}

TEST(LintTest, Stages) {
  EXPECT_EQ(RulesOf("FROM a AS x\nFROM a AS x\nFROM a AS scratch\nFROM a AS context\n"),
            (Found{"DuplicateStageName 2", "ReservedStageName 3", "ReservedStageName 4"}));
  EXPECT_EQ(RulesOf("FROM a\nCMD [\"x\"]\nCMD [\"y\"]\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n"),
            (Found{"MultipleInstructionsDisallowed 2", "MultipleInstructionsDisallowed 4"}));
  EXPECT_EQ(RulesOf("FROM a\nCMD x\nENTRYPOINT y\n"),
            (Found{"JSONArgsRecommended 2", "JSONArgsRecommended 3"}));
  EXPECT_EQ(RulesOf("FROM a\nCMD x\n", {.base_has_shell = true}), Found());
  EXPECT_EQ(RulesOf("FROM a\nSHELL [\"sh\"]\nCMD x\n"), Found());
  EXPECT_EQ(RulesOf("FROM a\nWORKDIR x\nWORKDIR y\n"), Found{"WorkdirRelativePath 2"});
  EXPECT_EQ(RulesOf("FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\n"), Found());
  EXPECT_EQ(RulesOf("FROM a AS b\nCMD x\nFROM a\nCMD y\n", {.stages = {false, true}}),
            Found{"JSONArgsRecommended 4"});
}

TEST(LintTest, Variables) {
  EXPECT_EQ(RulesOf("FROM a\nCOPY $x .\nARG x\nCOPY $x .\n"), Found{"UndefinedVar 2"});
  auto warnings = WarningsOf("FROM a\nENV PATH=$PAHT:/x\n");
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(
      warnings[0].Short(),
      "UndefinedVar: Variable '$PAHT' is used and not defined (did you mean $PATH?) (line 2)");
  EXPECT_EQ(warnings[0].rule->Url(), "https://docs.docker.com/go/dockerfile/rule/undefined-var/");
  EXPECT_EQ(RulesOf("FROM a\nUSER $HOME\n", {.base = {{{"HOME", "/"}}}}), Found());
  // Of an image that is not known nothing can be said.
  EXPECT_EQ(RulesOf("FROM a\nUSER $HOME\n", {.base = std::nullopt}), Found());
  EXPECT_EQ(RulesOf("FROM scratch\nCOPY <<A <<\"B\" /\n$x\nA\n$y\nB\n"), Found{"UndefinedVar 2-6"});
  EXPECT_EQ(RulesOf("FROM a\nRUN echo $x\nCMD [\"$x\"]\n"), Found());
  EXPECT_EQ(RulesOf("FROM a\nARG A=$x\n"), Found{"UndefinedVar 2"});
}

TEST(LintTest, From) {
  EXPECT_EQ(RulesOf("ARG a=x\nFROM $a$b\n"), Found{"UndefinedArgInFrom 2"});
  EXPECT_EQ(RulesOf("ARG tag\nFROM a:${tag}\n", {.given = {{"tag", "1"}}}),
            Found{"InvalidDefaultArgInFrom 2"});
  EXPECT_EQ(RulesOf("ARG tag\nFROM a:${tag:-1}\n"), Found());
  EXPECT_EQ(RulesOf("FROM --platform=$TARGETPLATFORM a\n"), Found{"RedundantTargetPlatform 1"});
  EXPECT_EQ(RulesOf("FROM --platform=linux/arm64 a\n"), Found{"FromPlatformFlagConstDisallowed 1"});
  EXPECT_EQ(RulesOf("FROM --platform=linux/arm64 a AS build_arm64\n"), Found());
  EXPECT_EQ(RulesOf("FROM a\n", {.base_platform = "linux/s390x"}),
            Found{"InvalidBaseImagePlatform 1"});
}

TEST(LintTest, Secrets) {
  EXPECT_EQ(
      RulesOf("FROM a\nENV apikey=1\nARG MY_Token\nENV x=1 git_key= y=2\nENV keys=1\n"
              "ENV PUBLIC_KEY=1 TOKEN_FILE=/x\nENV AUTH_VERSION=1\n"),
      (Found{"SecretsUsedInArgOrEnv 2", "SecretsUsedInArgOrEnv 3", "SecretsUsedInArgOrEnv 4"}));
}

TEST(LintTest, WhatIsIgnored) {
  auto with = [](const char* patterns) { return Asked{.ignored = *IgnoreList::Parse(patterns)}; };
  EXPECT_EQ(RulesOf("FROM a\nCOPY f ./d/x g /\nADD d /\n", with("f\nd\n")),
            (Found{"CopyIgnoredFile 2", "CopyIgnoredFile 2", "CopyIgnoredFile 3"}));
  EXPECT_EQ(RulesOf("FROM a\nCOPY f /\n", with("*\n!f\n")), Found());
  EXPECT_EQ(RulesOf("FROM a\nCOPY . /\n", with(".*\n")), Found());
  EXPECT_EQ(RulesOf("FROM a\nCOPY . /\n", with("*\n")), Found{"CopyIgnoredFile 2"});
  EXPECT_EQ(RulesOf("FROM a AS b\nFROM a\nCOPY --from=b f /\nADD https://x/f /\n", with("*\n")),
            Found());
}

TEST(LintTest, Options) {
  const std::string text = "FROM a as b\nMAINTAINER me\n";
  EXPECT_EQ(RulesOf("# check=skip=all\n" + text), Found());
  EXPECT_EQ(RulesOf("# check=skip=FromAsCasing, Other;error=true\n" + text),
            Found{"MaintainerDeprecated 3"});
  EXPECT_EQ(
      RulesOf("FROM a as b\n# check=skip=MaintainerDeprecated why\nMAINTAINER me\nMAINTAINER me\n"),
      (Found{"FromAsCasing 1", "MaintainerDeprecated 4"}));
  EXPECT_TRUE(ParseCheckOptions("error=true")->fails);
  for (const char* bad : {"skip", "what=x", "error=perhaps"}) {
    EXPECT_EQ(ParseCheckOptions(bad).error().kind(), ErrorKind::kInvalidArgument) << bad;
  }
}

TEST(LintTest, Descriptions) {
  const std::string text =
      "# x this is x\nARG x\n# wrong\nARG y\n#\nFROM a\n# z is it\nFROM a AS b\n";
  EXPECT_EQ(RulesOf(text), Found());
  EXPECT_EQ(RulesOf("# check=experimental=all\n" + text),
            (Found{"InvalidDefinitionDescription 5", "InvalidDefinitionDescription 9"}));
}

TEST(LintTest, HostileFiles) {
  std::string text = "FROM a AS s0\n";
  for (int i = 0; i < 5000; ++i) text += fmt::format("ENV v{}=$w{} x{}=1\n", i, i, i);
  for (int i = 1; i < 5000; ++i) text += fmt::format("FROM s{} AS s{}\nUSER $u\n", i - 1, i);
  EXPECT_EQ(WarningsOf(text).size(), 1000u);
}

TEST(LintTest, ValuesThatDouble) {
  std::string text = "ARG a0=xxxxxxxx\n";
  for (int i = 1; i < 60; ++i) text += fmt::format("ARG a{0}=$a{1}$a{1}\n", i, i - 1);
  text += "FROM a\nENV b0=xxxxxxxx\n";
  for (int i = 1; i < 60; ++i) text += fmt::format("ENV b{0}=$b{1}$b{1}\n", i, i - 1);
  EXPECT_EQ(RulesOf(text), Found());
  EXPECT_EQ(MakeOutline(*Parse(text), 0, {}).arguments.size(), 0u);
}

TEST(LintTest, UpToTheError) {
  EXPECT_EQ(RulesOf("FROM a as b\nMAINTAINER me\nBAD\nMAINTAINER me\n"),
            (Found{"FromAsCasing 1", "MaintainerDeprecated 2"}));
  Parsed parsed = ParseAsFarAsPossible("FROM a\nBAD \\\n x\n");
  EXPECT_EQ(parsed.error->message(),
            "dockerfile parse error on line 2: unknown instruction: BAD (did you mean ADD?)");
  EXPECT_EQ((std::pair(parsed.first_line, parsed.last_line)), (std::pair(2, 3)));
}

TEST(OutlineTest, DeepChains) {
  std::string text = "ARG a0\n";
  for (int i = 1; i < 20'000; ++i) text += fmt::format("ARG a{}=$a{}\n", i, i - 1);
  text += "FROM $a19999 AS s0\n";
  for (int i = 1; i < 20'000; ++i) text += fmt::format("FROM s{} AS s{}\n", i - 1, i);
  EXPECT_EQ(MakeOutline(*Parse(text), 19'999, {}).arguments.size(), 20'000u);
}

TEST(OutlineTest, WhatATargetTakes) {
  Dockerfile file = *Parse(
      "# BASE the image\nARG BASE=a:$V\n# V its version\nARG V=1\nARG UNUSED\n"
      "FROM $BASE AS dep\nARG IN_DEP=d\nRUN --mount=type=secret,id=s,required true\n"
      "FROM a AS other\nARG IN_OTHER\n"
      "# last the one\nFROM scratch AS last\nARG V\nARG OWN=$V.2 MORE=$V-$OWN\nCOPY --from=dep /x "
      "/y\n"
      "RUN --mount=type=ssh --mount=type=secret,id=t true\n");
  Outline outline = MakeOutline(file, 2, {{"OWN", "3"}});
  EXPECT_EQ(outline.name, "last");
  EXPECT_EQ(outline.description, "the one");
  Found arguments;
  for (const OutlineArgument& one : outline.arguments) {
    arguments.push_back(
        fmt::format("{}={} {} ({})", one.first_line, one.name, one.value, one.description));
  }
  EXPECT_EQ(arguments, (Found{"2=BASE a: (the image)", "4=V 1 (its version)", "7=IN_DEP d ()",
                              "14=OWN 3 ()", "14=MORE 1-3 ()"}));
  ASSERT_EQ(outline.secrets.size(), 2u);
  EXPECT_EQ(outline.secrets[0].name, "s");
  EXPECT_TRUE(outline.secrets[0].required);
  EXPECT_EQ(outline.secrets[0].first_line, 8);
  ASSERT_EQ(outline.agents.size(), 1u);
  EXPECT_EQ(outline.agents[0].name, "default");
}

}  // namespace
}  // namespace gantry::dockerfile
