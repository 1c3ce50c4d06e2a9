// SPDX-License-Identifier: Apache-2.0
//
// gantry build over POST /build: sends the context and shows what the engine's builder says.
#include <fcntl.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "base/io.h"
#include "cmd/gantry/build_context.h"
#include "cmd/gantry/build_flags.h"
#include "cmd/gantry/credentials.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "cmd/gantry/value_spec.h"
#include "formats/base64.h"

namespace gantry::cli {
namespace {

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
  if (!flags.arguments.empty()) query.Add("buildargs", BuildArgumentsJson(flags.arguments).Dump());
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

Result<int> BuildClassic(Cli& cli, const BuildFlags& flags, const BuildContext& context) {
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
