// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/build_flags.h"

#include <algorithm>
#include <cstdlib>

#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/program.h"
#include "cmd/gantry/value_spec.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

constexpr std::string_view kClassicFlags[] = {
    "cpu-period", "cpu-quota", "cpu-shares",  "cpuset-cpus",  "cpuset-mems",
    "isolation",  "memory",    "memory-swap", "security-opt", "squash"};
constexpr std::string_view kBuildKitFlags[] = {
    "allow",         "annotation",      "build-context", "cache-to", "call", "check",  "load",
    "metadata-file", "no-cache-filter", "output",        "progress", "push", "secret", "ssh"};

void BindSize(Flags* flags, std::string_view name, char shorthand, int64_t* size,
              std::string_view help) {
  flags->Custom(
      name, shorthand, "bytes",
      [size](const std::string& text) -> Result<> {
        *size = text == "-1" ? -1 : TRY(formats::ParseBinarySize(text));
        return {};
      },
      help);
}

}  // namespace

void BindBuildFlags(Flags* flags, BuildFlags* to) {
  CheckedList(flags, "add-host", 0, &to->add_hosts, ParseExtraHost,
              "Add a line to /etc/hosts, \"name:ip\"");
  flags->List("allow", 0, &to->allowed,
              "Grant the build \"network.host\" or \"security.insecure\"");
  flags->List("annotation", 0, &to->annotations,
              "Annotate the manifest, \"[manifest|manifest-descriptor:]NAME=value\"");
  flags->List("build-arg", 0, &to->arguments, "Set a variable of ARG, \"NAME[=value]\"");
  flags->List("build-context", 0, &to->contexts,
              "What a name of FROM or --from stands for, \"NAME=PATH|IMAGE|URL\"");
  flags->List("cache-from", 0, &to->cache_from,
              "Images to take for a cache, \"type=registry,ref=NAME\" or \"type=local,src=PATH\"");
  flags->List("cache-to", 0, &to->cache_to,
              "Where to write the cache, \"type=inline|registry|local\"");
  flags->String("call", 0, &to->call,
                "What to do (build, check, outline, targets), \"NAME[,format=json]\"");
  flags->Bool("check", 0, &to->check, "Look for what is questionable in the Dockerfile");
  flags->String("cgroup-parent", 0, &to->cgroup_parent, "Parent cgroup of the steps");
  flags->Bool("compress", 0, &to->compress, "No effect: the context is sent as it is");
  flags->Int("cpu-period", 0, &to->cpu_period, "Length of a CFS period in microseconds");
  flags->Int("cpu-quota", 0, &to->cpu_quota, "CFS quota in microseconds");
  flags->Int("cpu-shares", 'c', &to->cpu_shares, "Weight of processor time");
  flags->String("cpuset-cpus", 0, &to->cpuset_cpus, "Processors that steps may use (0-3, 0,1)");
  flags->String("cpuset-mems", 0, &to->cpuset_mems, "Memory nodes that steps may use (0-3, 0,1)");
  flags->String("file", 'f', &to->file, "The Dockerfile (default PATH/Dockerfile)");
  flags->Bool("force-rm", 0, &to->force_rm, "Remove the container of a failed step too");
  flags->String("iidfile", 0, &to->iid_file, "Write the image's id to a file");
  flags->String("isolation", 0, &to->isolation, "Isolation of the steps (\"default\")");
  flags->List("label", 0, &to->labels, "Set a label of the image");
  flags->Bool("load", 0, &to->load, "Put the image into the engine's store (the default)");
  BindSize(flags, "memory", 'm', &to->memory, "Memory limit of a step");
  BindSize(flags, "memory-swap", 0, &to->memory_swap, "Limit of memory and swap together");
  flags->String("metadata-file", 0, &to->metadata_file, "Write what was made to a file, as JSON");
  flags->String("network", 0, &to->network, "Network of the steps");
  flags->Bool("no-cache", 0, &to->no_cache, "Make every step anew");
  flags->List("no-cache-filter", 0, &to->no_cache_stages, "Make these stages anew");
  flags->List("output", 'o', &to->outputs,
              "Where the result goes, \"type=local|tar|oci|docker|image,dest=PATH\"");
  flags->String("platform", 0, &to->platform, "Platform of the image, \"os[/arch[/variant]]\"");
  flags->String("progress", 0, &to->progress,
                "Form of the progress (auto, plain, tty, rawjson, quiet)");
  flags->Bool("pull", 0, &to->pull, "Look for newer base images");
  flags->Bool("push", 0, &to->push, "Push the image to its registry");
  flags->Bool("quiet", 'q', &to->quiet, "Print nothing but the image's id");
  flags->Bool("rm", 0, &to->rm, "Remove the containers of steps (default true)");
  flags->List("secret", 0, &to->secrets, "A secret for RUN, \"id=NAME[,src=FILE|,env=VARIABLE]\"");
  flags->List("security-opt", 0, &to->security, "Security options of the steps");
  BindSize(flags, "shm-size", 0, &to->shm_size, "Size of /dev/shm");
  flags->List("ssh", 0, &to->agents, "An ssh agent for RUN, \"default\" or \"NAME=SOCKET\"");
  flags->Bool("squash", 0, &to->squash, "Make one layer of all");
  CheckedList(flags, "tag", 't', &to->tags, ParseImageName, "Name of the image, \"name[:tag]\"");
  flags->String("target", 0, &to->target, "The stage to make");
  CheckedList(flags, "ulimit", 0, &to->ulimits, ParseUlimit,
              "Resource limit, \"name=soft[:hard]\"");
}

namespace {

// The first of `names` that was given.
template <size_t N>
std::string_view FirstGiven(const Flags& flags, const std::string_view (&names)[N]) {
  auto found = std::find_if(std::begin(names), std::end(names),
                            [&](std::string_view name) { return flags.Changed(name); });
  return found == std::end(names) ? std::string_view() : *found;
}

}  // namespace

Result<BuildChoice> ChooseBuildWay(const Flags& flags, const BuildContext& context) {
  std::string variable = Setting("BUILDKIT");
  bool asked = !variable.empty();
  bool asked_for = asked && TRY_WITH(ParseBoolean(variable),
                                     "DOCKER_BUILDKIT environment variable expects boolean value");
  std::string_view classic = FirstGiven(flags, kClassicFlags);
  std::string_view buildkit = FirstGiven(flags, kBuildKitFlags);
  // An archive goes with a request as it is.
  std::string why_classic = asked && !asked_for ? "DOCKER_BUILDKIT=0"
                            : !classic.empty()  ? fmt::format("\"--{}\"", classic)
                            : context.archive   ? "an archive on standard input"
                                                : "";
  if (why_classic.empty()) return BuildChoice{BuildWay::kBuildKit, !asked && buildkit.empty()};
  if (!buildkit.empty()) {
    return InvalidArgument("\"--{}\" needs BuildKit, but {} the classic builder", buildkit,
                           why_classic);
  }
  if (asked_for)
    return InvalidArgument("{} needs the classic builder (DOCKER_BUILDKIT=0)", why_classic);
  return BuildChoice{BuildWay::kClassic, false};
}

Json BuildArgumentsJson(const std::vector<std::string>& arguments) {
  Json json = Json::MakeObject();
  for (const std::string& argument : arguments) {
    size_t equals = argument.find('=');
    if (equals != std::string::npos) {
      json.Set(argument.substr(0, equals), argument.substr(equals + 1));
      continue;
    }
    const char* value = ::getenv(argument.c_str());
    json.Set(argument, value != nullptr ? Json(value) : Json());
  }
  return json;
}

}  // namespace gantry::cli
