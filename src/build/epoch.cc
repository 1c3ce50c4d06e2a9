// SPDX-License-Identifier: Apache-2.0
//
// SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/): what it says, and
// what stands for it, as BuildKit has it.
#include <algorithm>
#include <utility>

#include "base/number.h"
#include "base/text.h"
#include "build/builder.h"
#include "build/download.h"
#include "build/git_source.h"
#include "build/remote_context.h"

namespace gantry::build {

using dockerfile::Instruction;
using dockerfile::Kind;

namespace {

constexpr const char* kEpoch = "SOURCE_DATE_EPOCH";
// What RFC 3339 can write, and nanoseconds can count.
constexpr int64_t kLatest = int64_t{1} << 33;

bool IsInRange(int64_t epoch) { return epoch >= 0 && epoch < kLatest; }

}  // namespace

Result<> Builder::FindEpoch() {
  std::string text = arguments_.Global(kEpoch).value_or("");
  auto given = request_.arguments.find(kEpoch);
  if (given != request_.arguments.end() && given->second) text = *given->second;
  if (text.empty()) return {};
  auto number = ParseNumber<int64_t>(text);
  epoch_ = number ? number : TRY(EpochOfName(text));
  if (epoch_ && !IsInRange(*epoch_)) return InvalidArgument("invalid {}: {}", kEpoch, text);
  // Stages see the seconds, whatever stands for them.
  if (!number) {
    arguments_.Replace(kEpoch, epoch_ ? std::optional(std::to_string(*epoch_)) : std::nullopt);
  }
  return {};
}

Result<std::optional<int64_t>> Builder::EpochOfName(const std::string& name) {
  if (name == "context") return request_.context_time;
  if (const NamedContext* named = FindContext(name)) {
    if (named->kind != NamedContext::Kind::kRemote) return std::optional<int64_t>();
    return TRY(FilesOf(*named))->time;
  }
  auto stage = std::find_if(file_.stages.begin(), file_.stages.end(),
                            [&](const auto& one) { return one.from.argument == Lower(name); });
  if (stage == file_.stages.end()) return InvalidArgument("invalid {}: {}", kEpoch, name);
  return EpochOfStage(*stage);
}

Result<std::optional<int64_t>> Builder::EpochOfStage(const dockerfile::Stage& stage) {
  arguments_.BeginStage();
  dockerfile::Expander global{[&](const auto& name) { return arguments_.Global(name); },
                              file_.escape};
  if (TRY(global.Word(stage.from.words[0])) != "scratch") {
    return InvalidArgument("{} stage must use FROM scratch", kEpoch);
  }
  dockerfile::Expander expander{[&](const auto& name) {
                                  auto value = arguments_.Get(name);
                                  return value ? value : arguments_.Global(name);
                                },
                                file_.escape};
  const Instruction* add = nullptr;
  for (const Instruction& in : stage.instructions) {
    if (in.kind == Kind::kArg) {
      for (const dockerfile::Pair& pair : in.pairs) {
        Arguments::Value fallback;
        if (pair.has_value) fallback = TRY(expander.Word(pair.value));
        arguments_.Declare(pair.name, fallback);
      }
      continue;
    }
    if (in.kind != Kind::kAdd) {
      return InvalidArgument(
          "{} stage does not meet source-only requirements: unsupported {} instruction", kEpoch,
          in.keyword);
    }
    if (add != nullptr || in.words.size() != 2 || !in.heredocs.empty()) {
      return InvalidArgument("{} stage must contain exactly one remote ADD", kEpoch);
    }
    add = &in;
  }
  if (add == nullptr)
    return InvalidArgument("{} stage must contain exactly one remote ADD", kEpoch);
  std::string url = TRY(expander.Word(add->words[0]));
  if (!IsRemoteContext(url) || url.starts_with("github.com/")) {
    return InvalidArgument("{} stage source must be a single HTTP(S) or Git ADD", kEpoch);
  }
  const dockerfile::Flag* flag = add->FindFlag("checksum");
  std::string checksum = flag == nullptr ? "" : TRY(expander.Word(flag->value));
  return TRY_WITH(TimeOfSource(*add, url, checksum), "looking for the time of {}",
                  WithoutCredentials(url));
}

Result<std::optional<int64_t>> Builder::TimeOfSource(const Instruction& in, const std::string& url,
                                                     const std::string& checksum) {
  if (IsGitUrl(url)) {
    GitUrl parsed = TRY(ParseGitUrl(url));
    if (!checksum.empty()) parsed.checksum = checksum;
    return std::optional<int64_t>(TRY(FetchRepository(parsed)).committed);
  }
  CopySource source = TRY(Download(in, url, checksum));
  auto time = TRY(DownloadTime(source.parent, source.name));
  if (!time && TRY(IsArchive(source.parent, source.name))) {
    time = TRY(NewestOf(source.parent, source.name, stop_));
  }
  return time;
}

}  // namespace gantry::build
