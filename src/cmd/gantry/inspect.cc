// SPDX-License-Identifier: Apache-2.0
//
// gantry inspect and its forms for containers, images, networks and volumes.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/documents.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

struct Kind {
  std::string_view name;
  std::string_view path;  // "{}" is the name
};
constexpr Kind kKinds[] = {
    {"container", "/containers/{}/json"},
    {"image", "/images/{}/json"},
    {"network", "/networks/{}"},
    {"volume", "/volumes/{}"},
    // Only when asked for by --type: of a swarm, or the engine's plugins.
    {"config", "/configs/{}"},
    {"node", "/nodes/{}"},
    {"plugin", "/plugins/{}/json"},
    {"secret", "/secrets/{}"},
    {"service", "/services/{}"},
    {"task", "/tasks/{}"},
};
constexpr size_t kUsualKinds = 4;

struct InspectFlags {
  bool size = false;     // of containers
  bool verbose = false;  // of networks
  bool counters = false;
  std::string platform;  // of images
};

// The document of `name`, of the first kind that has it.
Result<std::string> Fetch(Api* api, const std::string& name, const std::string& type,
                          const InspectFlags& flags) {
  for (const Kind& kind : kKinds) {
    if (type.empty() ? &kind >= kKinds + kUsualKinds : type != kind.name) continue;
    ApiRequest request;
    std::string encoded =
        kind.name == "image" ? wire::PercentEncodePath(name) : wire::PercentEncode(name);
    request.path = fmt::format(fmt::runtime(kind.path), encoded);
    if (flags.size && kind.name == "container") request.query.Add("size", "1");
    if (flags.verbose) request.query.Add("verbose", "true");
    if (flags.counters) request.query.Add("counters", "1");
    if (!flags.platform.empty()) {
      TRY(AddPlatforms(api, "1.49", {flags.platform}, "platform", &request.query));
    }
    Result<ApiAnswer> answer = api->Call(request);
    if (answer.ok()) return std::move(answer->body);
    // What is no name of an image may be one of a volume.
    bool other = answer.error().kind() == ErrorKind::kNotFound ||
                 (kind.name == "image" && answer.error().kind() == ErrorKind::kInvalidArgument);
    if (!type.empty() || !other) {
      return std::move(answer).error();
    }
  }
  return NotFound("Error: No such object: {}", name);
}

Result<int> Inspect(Cli& cli, Invocation& call, std::string type) {
  std::string format;
  InspectFlags flags;
  bool any_type = type.empty();
  call.flags.String("format", 'f', &format, "\"json\" or a Go template");
  if (any_type) call.flags.String("type", 0, &type, "Kind of the object, such as container");
  if (type.empty() || type == "container") {
    call.flags.Bool("size", 's', &flags.size, "Add the sizes of containers");
  }
  if (type == "image") {
    call.flags.String("platform", 0, &flags.platform, "Of this platform, \"os[/arch[/variant]]\"");
  }
  if (type == "network") {
    call.flags.Bool("verbose", 'v', &flags.verbose, "Add what helps to find faults");
    call.flags.Bool("counters", 0, &flags.counters, "Add what each container received and sent");
  }
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  if (call.flags.Changed("type")) {
    bool known = false;
    for (const Kind& kind : kKinds) known = known || kind.name == type;
    if (!known)
      return InvalidArgument(
          "unknown type: \"{}\": must be one of \"config\", \"container\", \"image\", \"network\", "
          "\"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
          type);
  }
  Api* api = nullptr;
  if (!flags.platform.empty()) {
    api = TRY(cli.Connect());
    TRY(api->Require("1.49", "platform"));
  }
  return ShowDocuments(call.args(), format, [&](const std::string& name) -> Result<std::string> {
    if (api == nullptr) api = TRY(cli.Connect());
    return Fetch(api, name, type, flags);
  });
}

}  // namespace

Result<int> InspectCommand(Cli& cli, Invocation& call) { return Inspect(cli, call, ""); }
Result<int> InspectContainerCommand(Cli& cli, Invocation& call) {
  return Inspect(cli, call, "container");
}
Result<int> InspectImageCommand(Cli& cli, Invocation& call) { return Inspect(cli, call, "image"); }
Result<int> InspectNetworkCommand(Cli& cli, Invocation& call) {
  return Inspect(cli, call, "network");
}
Result<int> InspectVolumeCommand(Cli& cli, Invocation& call) {
  return Inspect(cli, call, "volume");
}

}  // namespace gantry::cli
