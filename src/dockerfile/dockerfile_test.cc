// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "dockerfile/expand.h"
#include "dockerfile/instruction.h"
#include "dockerfile/lines.h"
#include "dockerfile/patterns.h"
#include "dockerfile/run_mount.h"

namespace gantry::dockerfile {
namespace {

using Words = std::vector<std::string>;

Dockerfile Good(std::string_view text) {
  Result<Dockerfile> file = Parse(text);
  EXPECT_TRUE(file.ok()) << file.error().message();
  return file.ok() ? *std::move(file) : Dockerfile();
}

std::string ErrorOf(std::string_view text) {
  Result<Dockerfile> file = Parse(text);
  return file.ok() ? "" : file.error().message();
}

std::string ErrorInStage(std::string_view line) {
  std::string error = ErrorOf("FROM x\n" + std::string(line));
  std::string_view prefix = "dockerfile parse error on line 2: ";
  return error.starts_with(prefix) ? error.substr(prefix.size()) : error;
}

Instruction One(std::string_view line) {
  Dockerfile file = Good("FROM x\n" + std::string(line));
  EXPECT_EQ(file.stages[0].instructions.size(), 1u) << line;
  return file.stages[0].instructions.at(0);
}

TEST(LinesTest, Continuations) {
  Instruction run = One("RUN a && \\\n  # a comment\n\n   b \\\n c");
  EXPECT_EQ(run.text, "RUN a &&    b  c");
  EXPECT_EQ(run.words, (Words{"a &&    b  c"}));
  EXPECT_EQ(One("RUN a \\\\").words, (Words{"a \\\\"}));
  EXPECT_EQ(One("RUN a \\   \n b").words, (Words{"a  b"}));
  EXPECT_EQ(One("RUN a \\").words, (Words{"a"}));
  EXPECT_TRUE(One("RUN []").words.empty());
  EXPECT_EQ(One("  run  a  \r\n").text, "run  a");
}

TEST(ExpandTest, ValuesThatDouble) {
  std::string value = "x";
  Expander expander;
  expander.lookup = [&](const std::string&) { return value; };
  Result<std::string> doubled = expander.Word("$a$a");
  for (int i = 0; i < 60 && doubled.ok(); ++i) {
    value = *doubled;
    doubled = expander.Word("$a$a");
  }
  ASSERT_FALSE(doubled.ok());
  EXPECT_NE(doubled.error().message().find("add more than 1048576 bytes"), std::string::npos);
}

TEST(LinesTest, Directives) {
  Dockerfile file = Good("# escape=`\n# syntax = docker/dockerfile:1\nFROM x\nRUN a `\n b\\\n");
  EXPECT_EQ(file.escape, '`');
  EXPECT_EQ(file.syntax, "docker/dockerfile:1");
  EXPECT_EQ(file.stages[0].instructions[0].words, (Words{"a  b\\"}));
  // Behind a comment it is one too.
  EXPECT_EQ(Good("# hello\n# escape=`\nFROM x\nRUN a\\\n b").escape, '\\');
  EXPECT_EQ(ErrorOf("# escape=x\nFROM x"),
            "dockerfile parse error on line 1: invalid ESCAPE token 'x' does not match ` or \\");
  EXPECT_EQ(ErrorOf("# escape=`\n# escape=`\nFROM x"),
            "dockerfile parse error on line 2: only one escape parser directive can be used");
}

TEST(LinesTest, Heredocs) {
  Instruction run = One("RUN <<EOF cat >/x\na $b\n  EOF\nEOF\n");
  ASSERT_EQ(run.heredocs.size(), 1u);
  EXPECT_EQ(run.heredocs[0].content, "a $b\n  EOF\n");
  EXPECT_TRUE(run.heredocs[0].expands);
  Instruction copy = One("COPY <<-\"A\" <<B /d/\n\ta\n\tA\n\tb\nB\n");
  ASSERT_EQ(copy.heredocs.size(), 2u);
  EXPECT_EQ(copy.heredocs[0].content, "a\n");
  EXPECT_FALSE(copy.heredocs[0].expands);
  EXPECT_EQ(copy.heredocs[1].content, "\tb\n");
  EXPECT_EQ(ErrorInStage("RUN <<E\na"), "unterminated heredoc");
  EXPECT_TRUE(One("RUN echo '<<E'").heredocs.empty());
  EXPECT_TRUE(One("RUN [\"sh\",\"-c\",\"cat <<E\"]").heredocs.empty());
  EXPECT_EQ(One("ONBUILD RUN <<E\nx\nE").argument, "RUN <<E\nx\nE");
}

TEST(InstructionTest, Flags) {
  Instruction copy = One("COPY --from=a --chown=\"u:g\" --link x y");
  EXPECT_EQ(copy.FindFlag("from")->value, "a");
  EXPECT_EQ(copy.FindFlag("chown")->value, "u:g");
  EXPECT_NE(copy.FindFlag("link"), nullptr);
  EXPECT_EQ(copy.words, (Words{"x", "y"}));
  EXPECT_EQ(One("RUN -- --x").words, (Words{"--x"}));
  EXPECT_EQ(ErrorInStage("COPY --bad x y"), "unknown flag: --bad");
  EXPECT_EQ(ErrorInStage("RUN --mont=x y"), "unknown flag: --mont (did you mean mount?)");
  EXPECT_EQ(ErrorInStage("COPY --from x y"), "missing a value on flag: --from");
}

TEST(InstructionTest, Forms) {
  EXPECT_EQ(One("RUN [\"a\", \"b c\"]").words, (Words{"a", "b c"}));
  EXPECT_TRUE(One("RUN [\"a\"]").json_form);
  EXPECT_EQ(One("RUN ['a']").words, (Words{"['a']"}));
  EXPECT_EQ(One("COPY [\"a b\", \"c\"]").words, (Words{"a b", "c"}));
  EXPECT_EQ(One("ENV a b  c").pairs[0].value, "b  c");
  EXPECT_EQ(One("ENV a=b c='d e'").pairs[1].value, "'d e'");
  EXPECT_FALSE(One("ARG a").pairs[0].has_value);
  EXPECT_EQ(One("HEALTHCHECK --interval=3s CMD x").words, (Words{"x"}));
  EXPECT_EQ(One("CMD").words, Words());
  EXPECT_EQ(One("VOLUME /a /b").words, (Words{"/a", "/b"}));
}

TEST(InstructionTest, Errors) {
  EXPECT_EQ(ErrorInStage("NOSUCH x"), "unknown instruction: NOSUCH");
  EXPECT_EQ(ErrorInStage("FNTRYPOINT x"),
            "unknown instruction: FNTRYPOINT (did you mean ENTRYPOINT?)");
  EXPECT_EQ(ErrorInStage("copi x y"), "unknown instruction: copi (did you mean copy?)");
  EXPECT_EQ(ErrorInStage("RUN"), "RUN requires at least one argument");
  EXPECT_EQ(ErrorInStage("COPY a"),
            "COPY requires at least two arguments, but only one was provided. Destination could "
            "not be determined");
  EXPECT_EQ(ErrorInStage("SHELL a"), "SHELL requires the arguments to be in JSON form");
  EXPECT_EQ(ErrorInStage("ENV a"), "ENV must have two arguments");
  EXPECT_EQ(ErrorInStage("ONBUILD ONBUILD x"),
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  EXPECT_EQ(ErrorInStage("ONBUILD FROM x"), "FROM isn't allowed as an ONBUILD trigger");
  EXPECT_EQ(ErrorInStage("FROM a b"), "FROM requires either one or three arguments");
  EXPECT_EQ(ErrorInStage("FROM a AS 1x"),
            "invalid name for build stage: \"1x\", name can't start with a number or contain "
            "symbols");
  EXPECT_EQ(ErrorOf("RUN x"),
            "dockerfile parse error on line 1: no build stage in current context");
  EXPECT_EQ(ErrorOf("# nothing\n"), "file with no instructions");
  EXPECT_EQ(ErrorOf("ARG a\n"), "dockerfile contains no stages to build");
  EXPECT_EQ(
      ErrorInStage("COPY --from=$a x y"),
      "variable expansion is not supported for --from, define a new stage with FROM using ARG "
      "from global scope as a workaround");
  EXPECT_EQ(ErrorInStage("RUN --mount=type=cache,from=$a,target=/x true"),
            "'from' doesn't support variable expansion, define alias stage instead");
}

TEST(InstructionTest, Stages) {
  Dockerfile file = Good("ARG V=1\nFROM a AS One\nRUN x\nFROM one\nFROM b as two\n");
  EXPECT_EQ(file.arguments.size(), 1u);
  ASSERT_EQ(file.stages.size(), 3u);
  EXPECT_EQ(file.FindStage("ONE", 3), 0);
  EXPECT_EQ(*file.FindTarget("two"), 2u);
  EXPECT_EQ(*file.FindTarget(""), 2u);
  EXPECT_EQ(file.FindTarget("tow").error().message(),
            "target stage \"tow\" could not be found (did you mean two?)");
  EXPECT_EQ(file.FindStage("1", 3), 1);
  EXPECT_EQ(file.FindStage("2", 2), -1);
  EXPECT_EQ(file.FindStage("zero", 3), -1);
  file = Good("FROM a AS x\nFROM b AS y\nFROM c AS x\n");
  EXPECT_EQ(file.FindStage("x", 3), 2);
  EXPECT_EQ(file.FindStage("x", 2), 0);
  EXPECT_EQ(file.FindStage("x", 0), -1);
}

TEST(InstructionTest, ManyStages) {
  std::string text = "FROM scratch AS s0\n";
  for (int i = 1; i < 20'000; ++i) text += fmt::format("FROM s{} AS s{}\n", i - 1, i);
  Dockerfile file = Good(text);
  auto nothing = [](const std::string&) { return std::optional<std::string>(); };
  auto needed =
      file.NeededStages(file.stages.size() - 1, nothing, [](const auto&) { return false; });
  EXPECT_EQ(std::count(needed.begin(), needed.end(), true), 20'000);
}

Expander With(const std::map<std::string, std::string>& variables) {
  Expander expander;
  expander.lookup = [variables](const std::string& name) -> std::optional<std::string> {
    auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  return expander;
}

std::string Expanded(std::string_view text) {
  Expander expander = With({{"a", "x y"}, {"e", ""}, {"p", "/usr/lib/a.b.c"}});
  Result<std::string> word = expander.Word(text);
  if (word.ok()) return *word;
  std::string prefix = fmt::format("failed to process \"{}\": ", text);
  std::string message = word.error().message();
  return message.starts_with(prefix) ? "error: " + message.substr(prefix.size()) : message;
}

TEST(ExpandTest, Words) {
  EXPECT_EQ(Expanded("$a-${a}"), "x y-x y");
  EXPECT_EQ(Expanded("'$a' \"$a\" \\$a \"\\$a\""), "$a x y $a $a");
  EXPECT_EQ(Expanded("$ $- a$"), "$ $- a$");
  EXPECT_EQ(Expanded("\"a\\nb\" a\\nb"), "a\\nb anb");
  EXPECT_EQ(Expanded("${n:-$a}|${e:-d}|${e-d}|${n-d}|${a:-d}"), "x y|d||d|x y");
  EXPECT_EQ(Expanded("${n:+s}|${e:+s}|${e+s}|${a:+s}"), "||s|s");
  EXPECT_EQ(Expanded("${p#*/}|${p##*/}|${p%.*}|${p%%.*}"),
            "usr/lib/a.b.c|a.b.c|/usr/lib/a.b|/usr/lib/a");
  EXPECT_EQ(Expanded("${p/\\//-}|${p//./_}"), "-usr/lib/a.b.c|/usr/lib/a_b_c");
  EXPECT_EQ(Expanded("${n:?gone}"), "error: n: gone");
  EXPECT_EQ(Expanded("${a"), "error: syntax error: missing '}'");
  EXPECT_EQ(Expanded("${}"), "error: syntax error: bad substitution");
  EXPECT_EQ(Expanded("${a!b}"), "error: unsupported modifier (!) in substitution");
  EXPECT_EQ(Expanded("'a"),
            "error: unexpected end of statement while looking for matching single-quote");
  EXPECT_EQ(Expanded("\"a"),
            "error: unexpected end of statement while looking for matching double-quote");
}

TEST(ExpandTest, Cutting) {
  Expander expander = With({{"a", "x y"}});
  EXPECT_EQ(*expander.Words("$a \"$a\" '' b\\ c"), (Words{"x", "y", "x y", "", "b c"}));
  EXPECT_EQ(*expander.Text("'$a' \"q\" \\$a \\n"), "'x y' \"q\" $a \\n");
  EXPECT_EQ(CutWords("a='b c'  d\\ e", '\\'), (Words{"a='b c'", "d\\ e"}));
}

TEST(PatternsTest, Names) {
  EXPECT_TRUE(MatchPath("*.txt", "a.txt"));
  EXPECT_FALSE(MatchPath("*.txt", "d/a.txt"));
  EXPECT_TRUE(MatchPath("d/[a-c]?.t*", "d/bx.txt"));
  EXPECT_FALSE(MatchPath("[^a]", "a"));
  EXPECT_TRUE(MatchPath("\\*", "*"));
  EXPECT_FALSE(MatchPath("[", "["));
  EXPECT_TRUE(MatchPath("*a*b", "xaxxab"));
  EXPECT_FALSE(HasWildcard("a\\*b"));
  EXPECT_TRUE(HasWildcard("a?b"));
  EXPECT_EQ(CleanRelative("/a//./b/../c/"), "a/c");
  EXPECT_EQ(CleanRelative("../a/../../b"), "../../b");
  EXPECT_EQ(CleanRelative("/../a"), "a");
}

bool Ignored(std::string_view list, std::string_view path) {
  Result<IgnoreList> parsed = IgnoreList::Parse(list);
  EXPECT_TRUE(parsed.ok());
  return parsed->Ignores(path);
}

TEST(PatternsTest, IgnoreList) {
  EXPECT_TRUE(Ignored("*.log", "a.log"));
  EXPECT_FALSE(Ignored("*.log", "d/a.log"));
  EXPECT_TRUE(Ignored("**/*.log", "d/e/a.log"));
  EXPECT_TRUE(Ignored("**/*.log", "a.log"));
  EXPECT_TRUE(Ignored("d", "d/e/f"));
  EXPECT_TRUE(Ignored("/d/", "d/e"));
  EXPECT_TRUE(Ignored("*/temp*", "a/temporary/x"));
  EXPECT_FALSE(Ignored("# d\n", "# d"));
  EXPECT_FALSE(Ignored("d\n!d/keep", "d/keep"));
  EXPECT_TRUE(Ignored("d\n!d/keep", "d/other"));
  EXPECT_TRUE(Ignored("!a\n*", "a"));
  EXPECT_FALSE(Ignored("*\n!a", "a"));
  EXPECT_TRUE(Ignored("a/**", "a/b/c"));
  EXPECT_FALSE(Ignored("a/**", "a"));
  EXPECT_TRUE(Ignored("a/**/z", "a/z"));
  EXPECT_TRUE(Ignored("a/**/z", "a/b/c/z"));
  EXPECT_FALSE(Ignored("a/**/z", "a/b/cz"));
  EXPECT_TRUE(Ignored("**", "anything/at"));
  EXPECT_FALSE(IgnoreList::Parse("!").ok());
  EXPECT_TRUE(IgnoreList::Parse("a\n!b")->has_exceptions());
}

Expander Variables() {
  Expander expander;
  expander.lookup = [](const std::string& name) {
    return name == "V" ? std::optional<std::string>("value") : std::nullopt;
  };
  return expander;
}

RunMount Mount(std::string_view text) {
  Result<RunMount> mount = ParseRunMount(text, Variables());
  EXPECT_TRUE(mount.ok()) << mount.error().message();
  return mount.ok() ? *std::move(mount) : RunMount();
}

std::string MountError(std::string_view text) {
  Result<RunMount> mount = ParseRunMount(text, Variables());
  return mount.ok() ? "" : mount.error().message();
}

TEST(RunMountTest, Types) {
  using Type = RunMount::Type;
  RunMount bind = Mount("target=/a,from=x$V,source=/s/$V");
  EXPECT_EQ(bind.type, Type::kBind);
  EXPECT_TRUE(bind.read_only);
  EXPECT_EQ(bind.from, "x$V");
  EXPECT_EQ(bind.source, "/s/value");
  EXPECT_FALSE(Mount("type=bind,dst=/a,rw").read_only);
  EXPECT_FALSE(Mount("type=bind,dst=/a,readonly=false").read_only);
  RunMount cache = Mount("type=cache,target=/root//x/,sharing=locked,mode=0700,uid=5,gid=6");
  EXPECT_EQ(cache.id, "/root/x");
  EXPECT_EQ(cache.sharing, RunMount::Sharing::kLocked);
  EXPECT_EQ(cache.mode, mode_t{0700});
  EXPECT_EQ(cache.uid, 5u);
  EXPECT_EQ(cache.gid, 6u);
  EXPECT_FALSE(cache.read_only);
  EXPECT_TRUE(Mount("type=cache,target=/x,ro").read_only);
  EXPECT_EQ(Mount("type=tmpfs,target=/x,size=2m").size, int64_t{2} << 20);
  EXPECT_EQ(Mount("type=secret,target=/a/name").id, "name");
  RunMount secret = Mount("type=secret,id=n,env=N,required");
  EXPECT_TRUE(secret.required);
  EXPECT_EQ(secret.variable, "N");
  EXPECT_EQ(secret.target, "");
  EXPECT_EQ(Mount("type=ssh").id, "default");
  EXPECT_EQ(Mount("\"type=bind\",\"target=/with,comma\"").target, "/with,comma");
  EXPECT_EQ(FromOfRunMount("type=bind,from=stage,target=/x"), "stage");
}

TEST(RunMountTest, Errors) {
  EXPECT_EQ(MountError("type=bind"), "target is required for type=bind");
  EXPECT_EQ(MountError("type=other,target=/x"), "unsupported mount type \"other\"");
  EXPECT_EQ(MountError("type=bind,target=/x,size=1"),
            "unexpected key 'size' for mount type 'bind'");
  EXPECT_EQ(MountError("type=secret,id=x,rw"), "unexpected key 'rw' for mount type 'secret'");
  EXPECT_EQ(MountError("typ=tmpfs"), "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)");
  EXPECT_EQ(MountError("type=tmp"), "unsupported mount type \"tmp\" (did you mean tmpfs?)");
  EXPECT_EQ(MountError("type=cache,target=/x,sharing=share"),
            "unsupported sharing value \"share\" (did you mean shared?)");
  EXPECT_EQ(MountError("type=cache,target=/x,sharing=all"), "unsupported sharing value \"all\"");
  EXPECT_EQ(MountError("type=cache,target=/x,mode=9"), "invalid value for mode: 9");
  EXPECT_EQ(MountError("type=cache,target=/x,uid=-1"), "invalid value for uid: -1");
  EXPECT_EQ(MountError("type=tmpfs,target=/x,size=-1"), "invalid value for size: -1");
  EXPECT_EQ(MountError("type=secret"), "invalid secret mount. one of source, target required");
  EXPECT_EQ(MountError("target=/x,ro=perhaps"), "invalid value for ro: perhaps");
  EXPECT_EQ(MountError("target"), "invalid field 'target' must be a key=value pair");
  EXPECT_EQ(MountError("\"target=/x"), "invalid mount '\"target=/x': a quote is not closed");
}

}  // namespace
}  // namespace gantry::dockerfile
