// SPDX-License-Identifier: Apache-2.0
//
// gantry build: sends the context and shows what the engine's builder says.
#include <fcntl.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "base/io.h"
#include "cmd/gantry/build_context.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/credentials.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "cmd/gantry/value_spec.h"
#include "formats/base64.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

struct BuildFlags {
  std::vector<std::string> tags, arguments, labels, add_hosts, cache_from, ulimits, security;
  std::string file, target, platform, network, isolation, iid_file, cgroup_parent, cpuset_cpus,
      cpuset_mems;
  bool no_cache = false, pull = false, quiet = false, rm = true, force_rm = true, squash = false,
       compress = false;
  int64_t memory = 0, memory_swap = 0, shm_size = 0, cpu_period = 0, cpu_quota = 0, cpu_shares = 0;
};

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

void Bind(Flags* flags, BuildFlags* to) {
  CheckedList(flags, "add-host", 0, &to->add_hosts, ParseExtraHost,
              "Add a line to /etc/hosts, \"name:ip\"");
  flags->List("build-arg", 0, &to->arguments, "Set a variable of ARG, \"NAME[=value]\"");
  flags->List("cache-from", 0, &to->cache_from, "Images to take for a cache");
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
  BindSize(flags, "memory", 'm', &to->memory, "Memory limit of a step");
  BindSize(flags, "memory-swap", 0, &to->memory_swap, "Limit of memory and swap together");
  flags->String("network", 0, &to->network, "Network of the steps");
  flags->Bool("no-cache", 0, &to->no_cache, "Make every step anew");
  flags->String("platform", 0, &to->platform, "Platform of the image, \"os[/arch[/variant]]\"");
  flags->Bool("pull", 0, &to->pull, "Look for newer base images");
  flags->Bool("quiet", 'q', &to->quiet, "Print nothing but the image's id");
  flags->Bool("rm", 0, &to->rm, "Remove the containers of steps (default true)");
  flags->List("security-opt", 0, &to->security, "Security options of the steps");
  BindSize(flags, "shm-size", 0, &to->shm_size, "Size of /dev/shm");
  flags->Bool("squash", 0, &to->squash, "Make one layer of all");
  CheckedList(flags, "tag", 't', &to->tags, ParseImageName, "Name of the image, \"name[:tag]\"");
  flags->String("target", 0, &to->target, "The stage to make");
  CheckedList(flags, "ulimit", 0, &to->ulimits, ParseUlimit,
              "Resource limit, \"name=soft[:hard]\"");
}

// "NAME=value", or "NAME" for what our own environment says: null where it says nothing.
Json ArgumentsJson(const std::vector<std::string>& arguments) {
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

Json LabelsJson(const std::vector<std::string>& labels) {
  Json json = Json::MakeObject();
  for (const std::string& label : labels) {
    size_t equals = label.find('=');
    json.Set(label.substr(0, equals),
             equals == std::string::npos ? std::string() : label.substr(equals + 1));
  }
  return json;
}

Result<wire::Query> QueryOf(const BuildFlags& flags, const BuildContext& context) {
  wire::Query query;
  auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) query.Add(name, value);
  };
  auto number = [&](const char* name, int64_t value) {
    if (value != 0) query.Add(name, std::to_string(value));
  };
  for (const std::string& tag : flags.tags) query.Add("t", tag);
  text("dockerfile", context.dockerfile);
  text("remote", context.remote);
  text("target", flags.target);
  text("platform", Cli::PlatformOr(flags.platform));
  text("networkmode", flags.network);
  text("isolation", flags.isolation);
  text("cgroupparent", flags.cgroup_parent);
  text("cpusetcpus", flags.cpuset_cpus);
  text("cpusetmems", flags.cpuset_mems);
  if (flags.no_cache) query.Add("nocache", "1");
  if (flags.pull) query.Add("pull", "1");
  if (flags.quiet) query.Add("q", "1");
  if (flags.squash) query.Add("squash", "1");
  query.Add("rm", flags.rm ? "1" : "0");
  if (flags.rm && flags.force_rm) query.Add("forcerm", "1");
  number("memory", flags.memory);
  number("memswap", flags.memory_swap);
  number("shmsize", flags.shm_size);
  number("cpuperiod", flags.cpu_period);
  number("cpuquota", flags.cpu_quota);
  number("cpushares", flags.cpu_shares);
  std::string hosts;
  for (const std::string& host : flags.add_hosts) {
    hosts += (hosts.empty() ? "" : ",") + TRY(ParseExtraHost(host));
  }
  text("extrahosts", hosts);
  if (!flags.arguments.empty()) query.Add("buildargs", ArgumentsJson(flags.arguments).Dump());
  if (!flags.labels.empty()) query.Add("labels", LabelsJson(flags.labels).Dump());
  if (!flags.cache_from.empty()) query.Add("cachefrom", Json(flags.cache_from).Dump());
  if (!flags.security.empty()) query.Add("securityopt", Json(flags.security).Dump());
  if (!flags.ulimits.empty()) {
    Json limits = Json::MakeArray();
    for (const std::string& limit : flags.ulimits) limits.Append(TRY(ParseUlimit(limit)));
    query.Add("ulimits", limits.Dump());
  }
  return query;
}

// The logins of config.json, by registry, as X-Registry-Config has them.
Result<std::string> Logins(Cli& cli) {
  ConfigFile* config = TRY(cli.OpenConfig());
  Json logins = Json::MakeObject();
  for (const char* where : {"auths", "credHelpers"}) {
    for (const auto& [key, value] : config->json()[where].members()) {
      Credential credential = TRY(Credentials(config).Get(key));
      if (!credential.empty()) logins.Set(key, credential.ToAuthConfig());
    }
  }
  std::string text = formats::EncodeBase64(logins.Dump());
  // RFC 4648, section 5: the alphabet for URLs, with padding.
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

class PipeEnd : public ByteSink {
 public:
  explicit PipeEnd(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  Result<> Write(std::string_view data) override { return WriteAll(pipe_, data); }
  void Close() { pipe_.Reset(); }

 private:
  UniqueFd pipe_;
};

Result<ApiStream> Send(Api* api, const ApiRequest& request, const BuildContext& context) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd read_end(ends[0]);
  PipeEnd sink{UniqueFd(ends[1])};
  Result<> written;
  std::thread writer([&] {
    if (context.remote.empty()) {
      written = WriteBuildContext(context, BorrowedFd(STDIN_FILENO), sink);
    }
    sink.Close();
  });
  Result<ApiStream> sent = api->Upload(request, read_end, "application/x-tar");
  read_end.Reset();  // ends a writer whose archive nobody wants
  writer.join();
  // The daemon's answer explains a pipe that broke.
  if (sent.ok() && !written.ok() && written.error().error_number() != EPIPE) {
    return std::move(written).error().AddContext("sending the build context");
  }
  return sent;
}

// What the answer tells while a quiet build runs is shown only when it fails.
Result<int> ShowQuietly(ApiStream* stream, std::string* id) {
  JsonStream messages(&stream->connection);
  std::string told;
  for (;;) {
    Json message = TRY(messages.Next());
    if (message.is_null()) break;
    if (const Json* detail = message.Find("errorDetail")) {
      PrintErrorText(told);
      PrintError("{}\n", (*detail)["message"].AsString());
      int code = static_cast<int>((*detail)["code"].AsInt());
      return code == 0 ? 1 : code;
    }
    told += message["stream"].AsString();
  }
  *id = told.substr(0, told.find('\n'));
  Print("{}\n", *id);
  return 0;
}

Result<int> Show(ApiStream* stream, std::string* id) {
  int code = 0;
  std::vector<Json> aux;
  Result<> shown = ShowProgress(&stream->connection, BorrowedFd(STDOUT_FILENO), &aux, &code);
  if (!shown.ok()) {
    if (code == 0) return std::move(shown).error();
    PrintError("{}\n", shown.error().message());
    return code;
  }
  for (const Json& one : aux) {
    if (!one["ID"].AsString().empty()) *id = one["ID"].AsString();
  }
  return 0;
}

}  // namespace

Result<int> BuildCommand(Cli& cli, Invocation& call) {
  BuildFlags flags;
  Bind(&call.flags, &flags);
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  BuildContext context = TRY(OpenBuildContext(call.args()[0], flags.file));
  ApiRequest request;
  request.method = "POST";
  request.path = "/build";
  request.query = TRY(QueryOf(flags, context));
  request.headers.push_back({"X-Registry-Config", TRY(Logins(cli))});
  Api* api = TRY(cli.Connect());
  if (flags.squash) TRY(api->RequireExperimental("\"--squash\""));
  ApiStream stream = TRY(Send(api, request, context));
  std::string id;
  int code = TRY(flags.quiet ? ShowQuietly(&stream, &id) : Show(&stream, &id));
  if (code == 0 && !flags.iid_file.empty()) TRY(CreateFile(flags.iid_file, id, 0644));
  return code;
}

}  // namespace gantry::cli
