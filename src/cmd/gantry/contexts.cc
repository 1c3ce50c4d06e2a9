// SPDX-License-Identifier: Apache-2.0
//
// gantry context: create, ls, inspect, use, show, rm, update. context_archive.cc has the rest.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/io.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/documents.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/mount_spec.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

constexpr std::string_view kDefaultDescription = "Current DOCKER_HOST based configuration";

// The default context is no file: it is what the options and the environment say.
Result<Context> FindContext(Cli& cli, const std::string& name) {
  if (name != "default") return cli.Contexts().Find(name);
  Cli::Options options = cli.options();
  options.context = "default";
  options.hosts = cli.options().hosts;
  DaemonEndpoint endpoint = TRY(Cli(std::move(options)).Endpoint());
  Json docker = Json::MakeObject({{"Host", endpoint.url}, {"SkipTLSVerify", false}});
  Json meta = Json::MakeObject({{"Name", name}, {"Metadata", Json::MakeObject()}});
  meta.Set("Endpoints", Json::MakeObject({{"docker", std::move(docker)}}));
  return Context{name, std::move(meta)};
}

// What --docker says: "host=tcp://…,ca=FILE,cert=FILE,key=FILE,skip-tls-verify=true".
struct EndpointSpec {
  std::map<std::string, std::string> values;
  const std::string& operator[](const std::string& key) const {
    static const std::string kNone;
    auto at = values.find(key);
    return at == values.end() ? kNone : at->second;
  }
};

Result<EndpointSpec> ParseEndpointSpec(const std::vector<std::string>& texts) {
  EndpointSpec spec;
  for (const std::string& text : texts) {
    for (const std::string& field : TRY(SplitCsv(text))) {
      size_t equals = field.find('=');
      std::string key = field.substr(0, equals);
      static constexpr std::string_view kKeys[] = {"from", "host", "ca",
                                                   "cert", "key",  "skip-tls-verify"};
      if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys)) {
        return InvalidArgument("unrecognized config key: {}", key);
      }
      spec.values[key] = equals == std::string::npos ? "" : field.substr(equals + 1);
    }
  }
  return spec;
}

// Fills the endpoint of `context` and its TLS files from what --docker says.
Result<> ApplyEndpoint(Cli& cli, const EndpointSpec& spec, Context* context, TlsContents* tls) {
  Json docker = Json::MakeObject();
  if (!spec["from"].empty()) {
    Context other = TRY(FindContext(cli, spec["from"]));
    *tls = TRY(cli.Contexts().ReadTls(spec["from"]));
    docker = other.meta["Endpoints"]["docker"];
  } else {
    const std::string& host = spec["host"];
    bool has_scheme = host.find("://") != std::string::npos;
    if (!host.empty() && (!has_scheme || !ParseEndpoint(host, {}).ok())) {
      return InvalidArgument(
          "unable to apply docker endpoint options: unable to parse docker host `{}`", host);
    }
    for (auto [key, content] :
         {std::pair("ca", &TlsContents::ca), std::pair("cert", &TlsContents::certificate),
          std::pair("key", &TlsContents::key)}) {
      if (spec[key].empty()) continue;
      Result<std::string> text = ReadFile(spec[key]);
      if (!text.ok()) {
        return ErrnoErrorOf(text.error().error_number(), fmt::format("open {}", spec[key]));
      }
      if (text->find("-----BEGIN ") == std::string::npos) {
        return InvalidArgument(
            "invalid docker endpoint options: failed to retrieve context tls info: {}.pem seems "
            "invalid",
            key);
      }
      tls->*content = std::move(*text);
    }
    if (tls->certificate.empty() != tls->key.empty()) {
      return InvalidArgument(
          "invalid docker endpoint options: failed to retrieve context tls info: cert and key go "
          "together");
    }
    bool skip = false;
    if (!spec["skip-tls-verify"].empty()) skip = TRY(ParseBoolean(spec["skip-tls-verify"]));
    docker.Set("Host", host).Set("SkipTLSVerify", skip);
  }
  context->meta.Set("Endpoints", Json::MakeObject({{"docker", std::move(docker)}}));
  return {};
}

Result<> EndpointOf(Cli& cli, const std::vector<std::string>& texts, Context* context,
                    TlsContents* tls) {
  Result<EndpointSpec> spec = ParseEndpointSpec(texts);
  Result<> applied =
      spec.ok() ? ApplyEndpoint(cli, *spec, context, tls) : Result<>(std::move(spec).error());
  if (applied.ok()) return {};
  return std::move(applied).error().AddContext("unable to create docker endpoint config");
}

ListingSpec ContextsSpec() {
  ListingSpec spec;
  spec.default_table =
      "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
  spec.default_quiet = "{{.Name}}";
  spec.root_type = "*formatter.clientContextContext";
  spec.headers = Json::MakeObject({{"Current", ""},
                                   {"Description", "DESCRIPTION"},
                                   {"DockerEndpoint", "DOCKER ENDPOINT"},
                                   {"Error", "ERROR"},
                                   {"Name", "NAME"}});
  return spec;
}

void WarnAboutHost(Cli& cli, std::string_view wanted) {
  std::string_view variable = std::getenv("GANTRY_HOST") != nullptr ? "GANTRY_HOST" : "DOCKER_HOST";
  if (Setting("HOST").empty() || !cli.options().context.empty()) return;
  PrintError(
      "Warning: {} environment variable overrides the active context. To use {}, either set the "
      "global --context flag, or unset {} environment variable.\n",
      variable, wanted, variable);
}

}  // namespace

Result<int> ContextCreateCommand(Cli& cli, Invocation& call) {
  std::string description, from;
  std::vector<std::string> docker;
  call.flags.String("description", 0, &description, "What the context is for");
  call.flags.List("docker", 0, &docker, "Where the engine is: host=…,ca=…,cert=…,key=…");
  call.flags.String("from", 0, &from, "Copy another context");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& name = call.args()[0];
  ContextStore store = cli.Contexts();
  TRY(ContextStore::CheckName(name));
  if (store.Find(name).ok()) return AlreadyExists("context \"{}\" already exists", name);
  Context context{name, Json::MakeObject({{"Name", name}, {"Metadata", Json::MakeObject()}})};
  TlsContents tls;
  if (!from.empty() && !docker.empty()) {
    return InvalidArgument("cannot use --docker flag when --from is set");
  }
  if (!from.empty() || docker.empty()) {
    Context other = TRY(FindContext(cli, from.empty() ? "default" : from));
    tls = TRY(store.ReadTls(other.name));
    context.meta.Set("Endpoints", other.meta["Endpoints"]);
    std::string text =
        other.name == "default" ? std::string(kDefaultDescription) : other.description();
    if (description.empty()) description = std::move(text);
  } else {
    TRY(EndpointOf(cli, docker, &context, &tls));
  }
  if (!description.empty()) {
    context.meta.MutableMember("Metadata").Set("Description", description);
  }
  TRY(store.Save(context, &tls));
  Print("{}\n", name);
  PrintError("Successfully created context \"{}\"\n", name);
  return 0;
}

Result<int> ContextUpdateCommand(Cli& cli, Invocation& call) {
  std::string description;
  std::vector<std::string> docker;
  call.flags.String("description", 0, &description, "What the context is for");
  call.flags.List("docker", 0, &docker, "Where the engine is: host=…,ca=…,cert=…,key=…");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& name = call.args()[0];
  TRY(ContextStore::CheckName(name));
  Context context = TRY(cli.Contexts().Find(name));
  if (!description.empty()) {
    context.meta.MutableMember("Metadata").Set("Description", description);
  }
  TlsContents tls;
  if (!docker.empty()) TRY(EndpointOf(cli, docker, &context, &tls));
  TRY(cli.Contexts().Save(context, docker.empty() ? nullptr : &tls));
  Print("{}\n", name);
  PrintError("Successfully updated context \"{}\"\n", name);
  return 0;
}

Result<int> ContextListCommand(Cli& cli, Invocation& call) {
  std::string format;
  bool quiet = false;
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("quiet", 'q', &quiet, "Show only names");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  Listing listing = TRY(Listing::Create(ContextsSpec(), format, quiet));
  std::string current = TRY(cli.CurrentContext());
  std::vector<Json> rows;
  bool current_found = false;
  auto add = [&](const Context& context, std::string_view description, std::string error) {
    current_found = current_found || context.name == current;
    rows.push_back(Json::MakeObject({{"Current", context.name == current},
                                     {"Description", description},
                                     {"DockerEndpoint", context.host()},
                                     {"Error", std::move(error)},
                                     {"Name", context.name}}));
  };
  for (const Context& context : TRY(cli.Contexts().List())) add(context, context.description(), "");
  Result<Context> standard = FindContext(cli, "default");
  add(standard.ok() ? *standard : Context{"default", Json::MakeObject()}, kDefaultDescription,
      standard.ok() ? "" : standard.error().message());
  if (!current_found) {
    Result<Context> missing = cli.Contexts().Find(current);
    std::string error = missing.ok() ? "" : missing.error().message();
    add(Context{current, Json::MakeObject()}, "", Ellipsis(error, 45));
  }
  std::sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return a["Name"].AsString() < b["Name"].AsString();
  });
  PrintText(TRY(listing.Format(rows)));
  if (!quiet && cli.options().hosts.empty()) WarnAboutHost(cli, "a context");
  return 0;
}

Result<int> ContextInspectCommand(Cli& cli, Invocation& call) {
  std::string format;
  call.flags.String("format", 'f', &format, "\"json\" or a Go template");
  if (auto code = call.Parse(ArgCount::AtLeast(0))) return *code;
  std::vector<std::string> names = call.args();
  if (names.empty()) names.push_back(TRY(cli.CurrentContext()));
  return ShowDocuments(names, format, [&](const std::string& name) -> Result<std::string> {
    Context context = TRY(FindContext(cli, name));
    ContextStore store = cli.Contexts();
    bool in_memory = name == "default";
    Json material = Json::MakeObject();
    TlsSettings files = in_memory ? TlsSettings() : store.TlsFiles(name);
    for (const std::string& path : {files.ca, files.certificate, files.key}) {
      if (!path.empty()) material.MutableMember("docker").Append(path.substr(path.rfind('/') + 1));
    }
    TlsContents tls;
    if (!in_memory) tls = TRY(store.ReadTls(name));
    for (const auto& [file, content] : tls.others) {
      size_t slash = file.find('/');
      material.MutableMember(file.substr(0, slash)).Append(file.substr(slash + 1));
    }
    Json shown = std::move(context.meta);
    shown.Set("TLSMaterial", std::move(material));
    shown.Set(
        "Storage",
        Json::MakeObject({{"MetadataPath", in_memory ? "<IN MEMORY>" : store.MetaDirectory(name)},
                          {"TLSPath", in_memory ? "<IN MEMORY>" : store.TlsDirectory(name)}}));
    return shown.Dump();
  });
}

Result<int> ContextUseCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& name = call.args()[0];
  if (name != "default") TRY(cli.Contexts().Find(name));
  ConfigFile* config = TRY(cli.OpenConfig());
  bool same = config->json()["currentContext"].AsString() == (name == "default" ? "" : name);
  if (name == "default") {
    config->mutable_json().Erase("currentContext");
  } else {
    config->mutable_json().Set("currentContext", name);
  }
  if (!same) TRY(config->Save());
  Print("{}\n", name);
  PrintError("Current context is now \"{}\"\n", name);
  if (name != "default") WarnAboutHost(cli, fmt::format("\"{}\"", name));
  return 0;
}

Result<int> ContextShowCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::None())) return *code;
  Print("{}\n", TRY(cli.CurrentContext()));
  return 0;
}

Result<int> ContextRmCommand(Cli& cli, Invocation& call) {
  bool force = false;
  call.flags.Bool("force", 'f', &force,
                  "Also one that is in use; none that is missing is an error");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  std::string current = TRY(cli.CurrentContext());
  std::string errors;
  auto remove = [&](const std::string& name) -> Result<> {
    if (name == "default") {
      return InvalidArgument("context \"default\" cannot be removed");
    }
    Result<> removed;
    if (name == current) {
      if (!force) {
        return FailedPrecondition("context \"{}\" is in use, set -f flag to force remove", name);
      }
      ConfigFile* config = TRY(cli.OpenConfig());
      config->mutable_json().Erase("currentContext");
      TRY(config->Save());
    }
    removed = cli.Contexts().Remove(name);
    if (!removed.ok() && force && removed.error().kind() == ErrorKind::kNotFound) return {};
    return removed;
  };
  for (const std::string& name : call.args()) {
    Result<> removed = remove(name);
    if (removed.ok()) {
      Print("{}\n", name);
    } else {
      errors.append(removed.error().message()).append("\n");
    }
  }
  PrintErrorText(errors);
  return errors.empty() ? 0 : 1;
}

}  // namespace gantry::cli
