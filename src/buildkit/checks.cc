// SPDX-License-Identifier: Apache-2.0
#include "buildkit/checks.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"
#include "build/arguments.h"
#include "buildkit/source_places.h"
#include "dockerfile/outline.h"
#include "dockerfile/source_text.h"
#include "engine/image_index.h"
#include "engine/images.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "oci/platform.h"

namespace gantry::buildkit {
namespace {

using dockerfile::Warning;
using formats::Json;

constexpr const char* kCheckArgument = "BUILDKIT_DOCKERFILE_CHECK";
constexpr const char* kAnswerVersion = "1.0.0";

std::string Short(const oci::Platform& platform) {
  return platform.os + "/" + platform.architecture;
}

std::optional<dockerfile::PlatformParts> ReadPlatform(const std::string& text) {
  auto platform = oci::ParsePlatform(text);
  if (!platform.ok()) return std::nullopt;
  return dockerfile::PlatformParts{platform->os, platform->architecture};
}

// What an image of the store says; nothing for one that is not there, and for what is no image.
std::optional<dockerfile::BaseFacts> FindBase(engine::Engine& engine,
                                              const build::BuildRequest& request, std::string name,
                                              const std::string& platform) {
  auto context = request.contexts.find(name);
  if (context != request.contexts.end()) {
    if (context->second.kind != build::NamedContext::Kind::kImage) return std::nullopt;
    name = context->second.value;
  }
  const std::string& text = platform.empty() ? request.platform : platform;
  auto wanted =
      text.empty() ? Result<oci::Platform>(oci::HostPlatform()) : oci::ParsePlatform(text);
  auto image = engine.images().Resolve(name);
  if (!image.ok() || !wanted.ok()) return std::nullopt;
  if (!text.empty()) {
    auto exact = engine.images().Resolve(name, &*wanted);
    if (exact.ok()) image = std::move(exact);
  }
  dockerfile::BaseFacts facts;
  const Json& config = image->documents->container_config();
  for (const Json& variable : config["Env"].items()) {
    const std::string& line = variable.AsString();
    size_t equals = std::min(line.find('='), line.size());
    facts.variables[line.substr(0, equals)] = line.substr(std::min(equals + 1, line.size()));
  }
  facts.has_shell = config["Shell"].size() > 0;
  facts.platform = Short(image->documents->config.platform);
  facts.wanted_platform = Short(*wanted);
  return facts;
}

Result<dockerfile::CheckOptions> OptionsOf(const build::BuildRequest& request,
                                           const dockerfile::Dockerfile& file) {
  auto given = request.arguments.find(kCheckArgument);
  bool is_given = given != request.arguments.end() && given->second;
  return TRY_WITH(dockerfile::ParseCheckOptions(is_given ? *given->second : file.check),
                  "reading the options of checks");
}

Json LinesToJson(int first, int last) {
  Json ranges = Json::MakeArray();
  for (int line = first; line > 0 && line <= last; ++line) {
    Json position = Json::MakeObject({{"line", line}});
    ranges.Append(Json::MakeObject({{"start", position}, {"end", position}}));
  }
  return Json::MakeObject({{"ranges", std::move(ranges)}});
}

void SetText(const char* key, const std::string& text, Json* json) {
  if (!text.empty()) json->Set(key, text);
}

Json ToJson(const Warning& warning) {
  Json json = Json::MakeObject({{"ruleName", std::string(warning.rule->name)},
                                {"description", std::string(warning.rule->description)}});
  SetText("url", warning.rule->Url(), &json);
  json.Set("detail", warning.detail);
  json.Set("location", LinesToJson(warning.first_line, warning.last_line));
  return json;
}

using Answer = std::map<std::string, std::string>;

Result<Answer> AnswerLint(engine::Engine& engine, const build::BuildRequest& request,
                          const CheckedFile& file) {
  auto scope = request.target.empty() ? CheckScope::kAllStages : CheckScope::kNeededStages;
  CheckResult result = TRY(CheckDockerfile(engine, request, file, scope));
  Json warnings = Json::MakeArray();
  for (const Warning& warning : result.warnings) warnings.Append(ToJson(warning));
  Json source = Json::MakeObject({{"filename", file.name},
                                  {"data", formats::EncodeBase64(file.text)},
                                  {"language", "Dockerfile"}});
  Json json = Json::MakeObject(
      {{"warnings", std::move(warnings)}, {"sources", Json::MakeArray({std::move(source)})}});
  if (result.error) {
    json.Set("buildError",
             Json::MakeObject({{"message", result.error->message()},
                               {"location", LinesToJson(result.first_line, result.last_line)}}));
  }
  std::stable_sort(result.warnings.begin(), result.warnings.end(),
                   [](auto& a, auto& b) { return a.first_line < b.first_line; });
  std::string text;
  std::vector<std::string> lines = Split(file.text, '\n');
  for (const Warning& warning : result.warnings) {
    std::string url = warning.rule->Url();
    text += fmt::format("\nWARNING: {}{}{}\n{}\n", warning.rule->name, url.empty() ? "" : " - ",
                        url, warning.detail);
    text += dockerfile::SourceText(file.name, lines, warning.first_line, warning.last_line);
  }
  bool good = result.warnings.empty() && !result.error;
  return Answer{{"result.json", json.Dump(2)},
                {"result.txt", text},
                {"result.statuscode", good ? "0" : "1"},
                {"version", kAnswerVersion}};
}

Result<Answer> AnswerTargets(const CheckedFile& file) {
  dockerfile::Dockerfile parsed = TRY(dockerfile::Parse(file.text));
  Json targets = Json::MakeArray();
  std::vector<std::vector<std::string>> rows = {{"TARGET", "DESCRIPTION"}};
  for (const dockerfile::Stage& stage : parsed.stages) {
    const dockerfile::Instruction& from = stage.from;
    bool is_default = &stage == &parsed.stages.back();
    std::string description = dockerfile::DescriptionOf(from, from.argument);
    Json target = Json::MakeObject();
    SetText("name", from.argument, &target);
    if (is_default) target.Set("default", true);
    SetText("description", description, &target);
    SetText("base", from.words[0], &target);
    if (const dockerfile::Flag* flag = from.FindFlag("platform")) {
      SetText("platform", flag->value, &target);
    }
    target.Set("location", LinesToJson(from.line, from.last_line));
    targets.Append(std::move(target));
    std::string name = from.argument;
    if (is_default) name += name.empty() ? "(default)" : " (default)";
    rows.push_back({std::move(name), std::move(description)});
  }
  Json json = Json::MakeObject({{"targets", std::move(targets)},
                                {"sources", Json::MakeArray({formats::EncodeBase64(file.text)})}});
  return Answer{{"result.json", json.Dump(2)},
                {"result.txt", dockerfile::ColumnText(rows, 1)},
                {"version", kAnswerVersion}};
}

// Secrets or agents: to `json` under `key`, and as a table.
std::string TakeInputs(const std::vector<dockerfile::OutlineInput>& inputs, const char* key,
                       const char* title, Json* json) {
  if (inputs.empty()) return "";
  Json list = Json::MakeArray();
  std::vector<std::vector<std::string>> rows = {{title, "REQUIRED"}};
  for (const dockerfile::OutlineInput& input : inputs) {
    Json one = Json::MakeObject({{"name", input.name}});
    if (input.required) one.Set("required", true);
    one.Set("location", LinesToJson(input.first_line, input.last_line));
    list.Append(std::move(one));
    rows.push_back({input.name, input.required ? "true" : ""});
  }
  json->Set(key, std::move(list));
  return dockerfile::ColumnText(rows, 3) + "\n";
}

Result<Answer> AnswerOutline(const build::BuildRequest& request, const CheckedFile& file) {
  dockerfile::Dockerfile parsed = TRY(dockerfile::Parse(file.text));
  dockerfile::Outline outline =
      dockerfile::MakeOutline(parsed, TRY(parsed.FindTarget(request.target)), request.arguments);
  Json json = Json::MakeObject();
  SetText("name", outline.name, &json);
  SetText("description", outline.description, &json);
  std::string text;
  if (!outline.name.empty() || !outline.description.empty()) {
    std::vector<std::vector<std::string>> rows = {{"TARGET:", outline.name}};
    if (!outline.description.empty()) rows.push_back({"DESCRIPTION:", outline.description});
    text += dockerfile::ColumnText(rows, 1) + "\n";
  }
  if (!outline.arguments.empty()) {
    Json list = Json::MakeArray();
    std::vector<std::vector<std::string>> rows = {{"BUILD ARG", "VALUE", "DESCRIPTION"}};
    for (const dockerfile::OutlineArgument& argument : outline.arguments) {
      Json one = Json::MakeObject({{"name", argument.name}});
      SetText("description", argument.description, &one);
      SetText("value", argument.value, &one);
      one.Set("location", LinesToJson(argument.first_line, argument.last_line));
      list.Append(std::move(one));
      rows.push_back({argument.name, argument.value, argument.description});
    }
    json.Set("args", std::move(list));
    text += dockerfile::ColumnText(rows, 3) + "\n";
  }
  text += TakeInputs(outline.secrets, "secrets", "SECRET", &json);
  text += TakeInputs(outline.agents, "ssh", "SSH", &json);
  json.Set("sources", Json::MakeArray({formats::EncodeBase64(file.text)}));
  return Answer{{"result.json", json.Dump(2)}, {"result.txt", text}, {"version", kAnswerVersion}};
}

Answer Describe() {
  static constexpr std::pair<const char*, const char*> kKnown[] = {
      {"frontend.outline", "What a target takes: arguments, secrets, agents"},
      {"frontend.targets", "The stages that can be built"},
      {"frontend.lint", "What is questionable in the Dockerfile"},
      {"frontend.subrequests.describe", "These requests"}};
  Json list = Json::MakeArray();
  std::vector<std::vector<std::string>> rows = {{"NAME", "VERSION", "DESCRIPTION"}};
  for (const auto& [name, description] : kKnown) {
    list.Append(Json::MakeObject(
        {{"name", name},
         {"version", kAnswerVersion},
         {"type", "rpc"},
         {"description", description},
         {"opts", Json()},
         {"inputs", Json()},
         {"metadata",
          Json::MakeArray({Json::MakeObject({{"name", "result.json"}, {"description", ""}})})},
         {"refs", Json()}}));
    rows.push_back({name, kAnswerVersion, description});
  }
  return {{"result.json", list.Dump(2)},
          {"result.txt", dockerfile::ColumnText(rows, 3)},
          {"version", kAnswerVersion}};
}

}  // namespace

Result<CheckResult> CheckDockerfile(engine::Engine& engine, const build::BuildRequest& request,
                                    const CheckedFile& file, CheckScope scope) {
  CheckResult out;
  dockerfile::Parsed parsed = dockerfile::ParseAsFarAsPossible(file.text);
  dockerfile::LintRequest lint{.file = parsed.file};
  lint.whole = !parsed.error;
  lint.options = TRY(OptionsOf(request, parsed.file));
  lint.given = request.arguments;
  auto asked_platform = oci::ParsePlatform(request.platform);
  bool is_host = request.platform.empty() || !asked_platform.ok();
  oci::Platform platform = is_host ? oci::HostPlatform() : *asked_platform;
  lint.predefined = build::PlatformArguments(platform);
  lint.predefined["TARGETSTAGE"] = request.target;
  if (file.ignored) lint.ignored = &*file.ignored;
  lint.read_platform = ReadPlatform;
  // Many stages may begin with one image.
  std::map<std::pair<std::string, std::string>, std::optional<dockerfile::BaseFacts>> known;
  lint.find_base = [&](const std::string& name, const std::string& platform) {
    auto [base, is_new] = known.try_emplace({name, platform});
    if (is_new) base->second = FindBase(engine, request, name, platform);
    if (!base->second) out.knows_bases = false;
    return base->second;
  };
  out.fails = lint.options.fails;
  out.error = parsed.error;
  out.first_line = parsed.first_line;
  out.last_line = parsed.last_line;
  if (lint.whole) {
    lint.stages.assign(parsed.file.stages.size(), true);
    auto target = parsed.file.FindTarget(request.target);
    if (!target.ok()) {
      out.error = target.error();
    } else if (scope == CheckScope::kNeededStages) {
      build::Arguments arguments(request.arguments, platform);
      // A default that can't be expanded is told by the build.
      (void)arguments.DeclareGlobals(parsed.file);
      lint.stages = parsed.file.NeededStages(
          *target, [&](const std::string& name) { return arguments.Global(name); },
          [&](const std::string& name) { return request.contexts.contains(name); });
    }
  }
  out.warnings = dockerfile::Lint(lint);
  return out;
}

void TellWarnings(const CheckResult& result, const CheckedFile& file, size_t told,
                  Progress& progress, size_t step) {
  for (size_t i = told; i < result.warnings.size(); ++i) {
    const Warning& warning = result.warnings[i];
    moby::buildkit::v1::VertexWarning out;
    out.set_level(1);
    out.set_summary(warning.Short());
    out.add_detail(std::string(warning.rule->description));
    out.set_url(warning.rule->Url());
    out.mutable_info()->set_filename(file.name);
    out.mutable_info()->set_data(file.text);
    out.mutable_info()->set_language("Dockerfile");
    for (const pb::Range& range : RangesOfLines(warning.first_line, warning.last_line)) {
      *out.add_ranges() = range;
    }
    progress.Warn(step, std::move(out));
  }
}

Result<> FailOnWarnings(const CheckResult& result) {
  if (!result.fails || result.warnings.empty()) return {};
  std::set<std::string> names;
  for (const Warning& warning : result.warnings) names.emplace(warning.rule->name);
  return FailedPrecondition("lint violation found for rules: {}", Join(names, ", "));
}

Result<std::map<std::string, std::string>> AnswerSubrequest(engine::Engine& engine,
                                                            const std::string& id,
                                                            const build::BuildRequest& request,
                                                            const CheckedFile& file) {
  if (id == "frontend.lint") return AnswerLint(engine, request, file);
  if (id == "frontend.targets") return AnswerTargets(file);
  if (id == "frontend.outline") return AnswerOutline(request, file);
  if (id == "frontend.subrequests.describe") return Describe();
  return Unimplemented("unsupported request {}", id);
}

}  // namespace gantry::buildkit
