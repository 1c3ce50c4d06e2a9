// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a Dockerfile, each of its words expanded, and as a .dockerignore.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dockerfile/expand.h"
#include "dockerfile/instruction.h"
#include "dockerfile/lint.h"
#include "dockerfile/outline.h"
#include "dockerfile/patterns.h"

namespace {

namespace dockerfile = gantry::dockerfile;

void Expand(const dockerfile::Expander& expander, const std::string& word) {
  auto whole = expander.Word(word);
  auto words = expander.Words(word);
  // Both read the same text.
  if (whole.ok() != words.ok()) abort();
  (void)expander.Text(word);
}

// What is said of it, whole or not.
void Look(const dockerfile::Parsed& parsed, const dockerfile::IgnoreList* ignored) {
  dockerfile::LintRequest request{.file = parsed.file};
  request.whole = !parsed.error;
  auto options = dockerfile::ParseCheckOptions(parsed.file.check);
  if (options.ok()) request.options = *options;
  request.stages.assign(parsed.file.stages.size(), true);
  request.ignored = ignored;
  request.find_base = [](const std::string& image,
                         const std::string&) -> std::optional<dockerfile::BaseFacts> {
    if (image.size() % 2 == 0) return std::nullopt;
    return dockerfile::BaseFacts{};
  };
  request.read_platform = [](const std::string&) { return dockerfile::PlatformParts{"a", "b"}; };
  for (const dockerfile::Warning& warning : dockerfile::Lint(request)) {
    if (warning.first_line < 1 || warning.last_line < warning.first_line) abort();
  }
  if (parsed.error) return;
  for (size_t i = 0; i < parsed.file.stages.size() && i < 3; ++i) {
    (void)dockerfile::MakeOutline(parsed.file, i, {});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto list = dockerfile::IgnoreList::Parse(text);
  if (list.ok()) (void)list->Ignores("a/b/c.txt");
  auto file = dockerfile::Parse(text);
  Look(dockerfile::ParseAsFarAsPossible(text), list.ok() ? &*list : nullptr);
  if (!file.ok()) return 0;
  dockerfile::Expander expander;
  expander.escape = file->escape;
  expander.lookup = [](const std::string& name) -> std::optional<std::string> {
    if (name.size() % 2 == 0) return std::nullopt;
    return "value of " + name;
  };
  if (file->stages.empty()) abort();
  for (const dockerfile::Stage& stage : file->stages) {
    for (const dockerfile::Instruction& in : stage.instructions) {
      for (const std::string& word : in.words) {
        Expand(expander, word);
        (void)dockerfile::MatchPath(word, "some/path.txt");
      }
      for (const dockerfile::Pair& pair : in.pairs) Expand(expander, pair.value);
      Expand(expander, in.argument);
      // What ONBUILD keeps is an instruction.
      if (in.kind == dockerfile::Kind::kOnBuild) {
        (void)dockerfile::ParseInstruction(in.argument, file->escape);
      }
    }
  }
  return 0;
}
