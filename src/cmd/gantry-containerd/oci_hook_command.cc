// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry-containerd/oci_hook_command.h"

#include <unistd.h>

#include "base/io.h"
#include "formats/go_template.h"
#include "formats/json.h"

namespace gantry::containerd {
namespace {

using formats::GoTemplate;
using formats::Json;

constexpr size_t kMaxStateBytes = size_t{4} << 20;

GoTemplate::Function Fact(Json fact) {
  return [fact = std::move(fact)](const std::vector<Json>& args) -> Result<Json> {
    if (!args.empty()) return InvalidArgument("want 0 got {}", args.size());
    return fact;
  };
}

Result<GoTemplate::Functions> FactsOf(const Json& state) {
  const std::string& bundle = state["bundle"].AsString();
  Json config = TRY_WITH(Json::Parse(TRY(ReadFile(bundle + "/config.json", kMaxStateBytes))),
                         "reading '{}/config.json'", bundle);
  std::string root = config["root"]["path"].AsString();
  if (!root.starts_with('/')) root = bundle + "/" + root;
  GoTemplate::Functions facts;
  for (const char* name : {"id", "bundle", "pid", "status"}) facts[name] = Fact(state[name]);
  facts["rootfs"] = Fact(root);
  facts["annotation"] = [annotations =
                             state["annotations"]](const std::vector<Json>& args) -> Result<Json> {
    if (args.size() != 1) return InvalidArgument("want 1 got {}", args.size());
    return Json(annotations[args[0].AsString()].AsString());
  };
  return facts;
}

Result<> Fill(const GoTemplate::Functions& facts, std::vector<std::string>* texts) {
  for (std::string& text : *texts) {
    GoTemplate parsed = TRY_WITH(GoTemplate::Parse(text, facts), "reading '{}'", text);
    text = TRY_WITH(parsed.Execute(Json()), "filling '{}'", text);
  }
  return {};
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<> Become(std::vector<std::string> arguments) {
  if (!arguments.empty() && arguments[0] == "--") arguments.erase(arguments.begin());
  if (arguments.empty()) return InvalidArgument("oci-hook: which program?");
  std::string text = TRY_WITH(ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxStateBytes),
                              "oci-hook: reading the container's state");
  Json state = TRY_WITH(Json::Parse(text), "oci-hook: reading the container's state");
  GoTemplate::Functions facts = TRY_WITH(FactsOf(state), "oci-hook");
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  TRY_WITH(Fill(facts, &arguments), "oci-hook");
  TRY_WITH(Fill(facts, &environment), "oci-hook");
  ::execve(arguments[0].c_str(), Pointers(arguments).data(), Pointers(environment).data());
  return ErrnoError("oci-hook: starting '{}'", arguments[0]);
}

}  // namespace

Error RunOciHook(std::vector<std::string> arguments) {
  return std::move(Become(std::move(arguments))).error();
}

}  // namespace gantry::containerd
