// SPDX-License-Identifier: Apache-2.0
//
// gantry import-docker: images, volumes, networks and containers of a stopped dockerd, taken over
// into the engine of this host. docker's data is only read, all of it before anything is made: what
// is damaged is told, and nothing has changed. Then in this order, since each needs what is before
// it:
//
//   images       as one archive to POST /images/load, layers byte for byte (layer_tar.h)
//   volumes      made, then their files copied into them
//   networks     made with their addresses
//   containers   made from their definitions, then what they have written copied into their layer
//
// What is copied is noted in docker's data root before it is begun and after it is done
// (gantry-import.json): a second run takes up where a first one was killed, and leaves what is done
// alone. IDs of containers and networks are new; logs stay behind.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <thread>

#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/docker_data.h"
#include "cmd/gantry/layer_tar.h"
#include "cmd/gantry/output.h"
#include "formats/tar.h"
#include "kernel/spawn.h"

namespace gantry::cli {
namespace {

// {"begun": ["volume data"], "done": ["container 0123…"]}
class Journal {
 public:
  static Result<Journal> Open(std::string path) {
    Journal journal;
    journal.path_ = std::move(path);
    Result<std::string> text = ReadFile(journal.path_);
    if (!text.ok() && text.error().kind() != ErrorKind::kNotFound) return std::move(text).error();
    if (text.ok()) {
      Json json = TRY_WITH(Json::Parse(*text), "reading '{}'", journal.path_);
      for (const Json& item : json["begun"].items()) journal.begun_.insert(item.AsString());
      for (const Json& item : json["done"].items()) journal.done_.insert(item.AsString());
    }
    return journal;
  }
  bool IsDone(const std::string& what) const { return done_.contains(what); }
  bool IsBegun(const std::string& what) const { return begun_.contains(what); }
  Result<> Begin(const std::string& what) {
    begun_.insert(what);
    return Save();
  }
  Result<> Finish(const std::string& what) {
    begun_.erase(what);
    done_.insert(what);
    return Save();
  }

 private:
  Result<> Save() const {
    Json json = Json::MakeObject({{"begun", std::vector<std::string>(begun_.begin(), begun_.end())},
                                  {"done", std::vector<std::string>(done_.begin(), done_.end())}});
    return ReplaceFile(path_, json.Dump(2) + "\n", 0600, Durability::kPowerCut);
  }

  std::string path_;
  std::set<std::string> begun_, done_;
};

// Files with all that is theirs: owners, times, links, devices, extended attributes.
Result<> CopyTree(const std::string& from, const std::string& to) {
  kernel::SpawnOptions options;
  options.program = TRY(kernel::FindInPath("cp"));
  options.args = {"cp", "-a", "--", from + "/.", to};
  options.fds = {{2, 2}};
  kernel::ExitStatus status = TRY_WITH(kernel::SpawnAndWait(options), "running cp");
  if (status.ShellCode() != 0) return FailedPrecondition("copying '{}' to '{}'", from, to);
  return {};
}

class FdSink : public ByteSink {
 public:
  explicit FdSink(BorrowedFd fd) : fd_(fd) {}
  Result<> Write(std::string_view data) override { return WriteAll(fd_, data); }

 private:
  BorrowedFd fd_;
};

class TarDataSink : public ByteSink {
 public:
  explicit TarDataSink(formats::TarWriter& tar) : tar_(tar) {}
  Result<> Write(std::string_view data) override { return tar_.WriteData(data); }

 private:
  formats::TarWriter& tar_;
};

class Import {
 public:
  Import(Api* api, const DockerData& data, DockerContents contents, Journal journal)
      : api_(*api), data_(data), contents_(std::move(contents)), journal_(std::move(journal)) {}

  Result<> Images();
  Result<> Volumes();
  Result<> Networks();
  Result<> Containers();
  bool failed() const { return failed_; }

 private:
  bool Exists(const std::string& path);
  // Tells what became of one thing; the others go on.
  void Report(const std::string& what, const Result<>& done);
  Result<> WriteArchive(const std::vector<DockerImage>& images, BorrowedFd out);
  Result<> WriteLayers(const DockerImage& image, formats::TarWriter* tar,
                       std::set<std::string>* written, Json* names);
  Result<> OneVolume(const DockerVolume& volume);
  Result<> OneNetwork(const Json& network);
  Result<> OneContainer(const DockerContainer& container);
  Result<std::string> ImageName(const DockerContainer& container);

  Api& api_;
  const DockerData& data_;
  const DockerContents contents_;
  Journal journal_;
  bool failed_ = false;
};

bool Import::Exists(const std::string& path) { return api_.Get(path).ok(); }

void Import::Report(const std::string& what, const Result<>& done) {
  if (done.ok()) {
    Print("{}\n", what);
  } else {
    PrintError("{}: {}\n", what, done.error().message());
    failed_ = true;
  }
  FlushOutput();
}

Result<> Import::WriteLayers(const DockerImage& image, formats::TarWriter* tar,
                             std::set<std::string>* written, Json* names) {
  std::vector<std::string> chain = ChainIds(image.diff_ids);
  for (const std::string& id : chain) {
    std::string name = id.substr(id.find(':') + 1) + "/layer.tar";
    names->Append(name);
    if (!written->insert(name).second) continue;
    DockerData::Layer layer = TRY(data_.LayerOf(id));
    LayerTar contents = TRY(LayerTar::Open(layer.split, layer.files));
    formats::TarEntry entry;
    entry.name = name;
    entry.size = contents.size();
    TRY(tar->WriteHeader(entry));
    TarDataSink sink(*tar);
    TRY(contents.WriteTo(sink));
  }
  return {};
}

// As `docker save` writes them: manifest.json names each image's configuration and layers.
Result<> Import::WriteArchive(const std::vector<DockerImage>& images, BorrowedFd out) {
  FdSink sink(out);
  formats::TarWriter tar(sink);
  std::set<std::string> written;
  Json manifest = Json::MakeArray();
  for (const DockerImage& image : images) {
    std::string config = image.id.substr(image.id.find(':') + 1) + ".json";
    formats::TarEntry entry;
    entry.name = config;
    TRY(tar.WriteFile(entry, image.config));
    Json layers = Json::MakeArray();
    TRY_WITH(WriteLayers(image, &tar, &written, &layers), "image {}", image.id);
    manifest.Append(Json::MakeObject(
        {{"Config", config}, {"RepoTags", image.names}, {"Layers", std::move(layers)}}));
  }
  formats::TarEntry entry;
  entry.name = "manifest.json";
  TRY(tar.WriteFile(entry, manifest.Dump()));
  return tar.Finish();
}

Result<> Import::Images() {
  std::vector<DockerImage> images;
  for (const DockerImage& image : contents_.images) {
    bool there = Exists("/images/" + image.id + "/json");
    std::string shown = image.names.empty() ? image.id : image.names[0];
    if (!there) {
      images.push_back(image);
      continue;
    }
    for (const std::string& name : image.names) {
      size_t colon = name.rfind(':');
      wire::Query query;
      query.Add("repo", name.substr(0, colon)).Add("tag", name.substr(colon + 1));
      TRY(api_.Post("/images/" + image.id + "/tag", query));
    }
    Report("image " + shown, {});
  }
  if (images.empty()) return {};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  Result<> written;
  std::thread writer([&] {
    written = WriteArchive(images, in);
    in.Reset();
  });
  ApiRequest request;
  request.method = "POST";
  request.path = "/images/load";
  request.query.Add("quiet", "1");
  auto load = [&]() -> Result<std::string> {
    ApiStream stream = TRY(api_.Upload(request, out, "application/x-tar"));
    return stream.connection.ReadWholeBody(size_t{16} << 20);
  };
  Result<std::string> answer = load();
  out.Reset();  // a writer whose reader has given up gets EPIPE
  writer.join();
  if (!written.ok() && written.error().error_number() != EPIPE) return written;
  TRY(std::move(answer));
  for (const DockerImage& image : images) {
    std::string shown = image.names.empty() ? image.id : image.names[0];
    bool there = Exists("/images/" + (image.names.empty() ? image.id : image.names[0]) + "/json");
    Report("image " + shown, there ? Result<>() : Internal("the engine has not taken it"));
  }
  return {};
}

Result<> Import::OneVolume(const DockerVolume& volume) {
  std::string what = "volume " + volume.name;
  std::string path = "/volumes/" + wire::PercentEncode(volume.name);
  if (journal_.IsBegun(what)) {
    // Half copied by a run that was killed.
    ApiRequest remove;
    remove.method = "DELETE";
    remove.path = path;
    if (Exists(path)) TRY(api_.Call(remove));
  }
  if (Exists(path)) return AlreadyExists("the engine has one of that name");
  TRY(journal_.Begin(what));
  Json body = Json::MakeObject({{"Name", volume.name}, {"Driver", "local"}});
  if (volume.labels.size() > 0) body.Set("Labels", volume.labels);
  if (volume.options.size() > 0) body.Set("DriverOpts", volume.options);
  Json made = TRY(api_.Post("/volumes/create", {}, std::move(body)));
  // With options its files are somewhere else; what is here is only where they get mounted.
  if (volume.options.size() == 0) TRY(CopyTree(volume.data, made["Mountpoint"].AsString()));
  return journal_.Finish(what);
}

Result<> Import::Volumes() {
  for (const DockerVolume& volume : contents_.volumes) {
    std::string what = "volume " + volume.name;
    if (!journal_.IsDone(what)) Report(what, OneVolume(volume));
  }
  return {};
}

Result<> Import::OneNetwork(const Json& network) {
  const std::string& name = network["name"].AsString();
  if (Exists("/networks/" + wire::PercentEncode(name))) {
    return AlreadyExists("the engine has one of that name");
  }
  Json configs = Json::MakeArray();
  Json info = TRY(Json::Parse(network["ipamV4Info"].AsString()));
  Json wanted = TRY(Json::Parse(network["ipamV4Config"].AsString()));
  for (size_t i = 0; i < info.size(); ++i) {
    // {"IPAMData": "{\"Pool\":\"172.18.0.0/16\",\"Gateway\":\"172.18.0.1/16\"}"}
    Json data = TRY(Json::Parse(info.at(i)["IPAMData"].AsString()));
    const std::string& gateway = data["Gateway"].AsString();
    Json config = Json::MakeObject(
        {{"Subnet", data["Pool"]}, {"Gateway", gateway.substr(0, gateway.find('/'))}});
    const std::string& range = wanted.at(i)["SubPool"].AsString();
    if (!range.empty()) config.Set("IPRange", range);
    configs.Append(std::move(config));
  }
  Json body = Json::MakeObject(
      {{"Name", name},
       {"Driver", network["networkType"]},
       {"Internal", network["internal"].AsBool()},
       {"Attachable", network["attachable"].AsBool()},
       {"EnableIPv6", network["enableIPv6"].AsBool()},
       {"IPAM", Json::MakeObject({{"Driver", "default"}, {"Config", std::move(configs)}})}});
  const Json& options = network["generic"]["com.docker.network.generic"];
  if (options.size() > 0) body.Set("Options", options);
  if (network["labels"].size() > 0) body.Set("Labels", network["labels"]);
  TRY(api_.Post("/networks/create", {}, std::move(body)));
  return {};
}

Result<> Import::Networks() {
  for (const Json& network : contents_.networks) {
    std::string what = "network " + network["name"].AsString();
    if (journal_.IsDone(what)) continue;
    Result<> made = OneNetwork(network);
    if (made.ok()) made = journal_.Finish(what);
    Report(what, made);
  }
  return {};
}

// As it was asked for, if that still is its image; else by ID.
Result<std::string> Import::ImageName(const DockerContainer& container) {
  const std::string& name = container.config["Config"]["Image"].AsString();
  const std::string& id = container.config["Image"].AsString();
  Result<Json> named = api_.Get("/images/" + wire::PercentEncodePath(name) + "/json");
  if (named.ok() && (*named)["Id"].AsString() == id) return name;
  TRY_WITH(api_.Get("/images/" + id + "/json"), "its image {}", id);
  return id;
}

Result<> Import::OneContainer(const DockerContainer& container) {
  std::string what = "container " + container.id;
  std::string name = container.config["Name"].AsString().substr(1);
  std::string path = ContainerPath(name);
  if (journal_.IsBegun(what)) {
    ApiRequest remove;
    remove.method = "DELETE";
    remove.path = path;
    if (Exists(path + "/json")) TRY(api_.Call(remove));
  }
  if (Exists(path + "/json")) return AlreadyExists("the engine has one of that name");
  Json body = container.config["Config"];
  body.Set("Image", TRY(ImageName(container)));
  Json host = container.host;
  // Volumes that docker has named itself are asked for by name from now on.
  std::set<std::string> asked;
  for (const Json& mount : host["Mounts"].items()) asked.insert(mount["Target"].AsString());
  for (const Json& bind : host["Binds"].items()) {
    const std::string& text = bind.AsString();
    size_t colon = text.find(':');
    asked.insert(text.substr(colon + 1, text.find(':', colon + 1) - colon - 1));
  }
  Json& binds = host.MutableMember("Binds");
  for (const auto& [destination, point] : container.config["MountPoints"].members()) {
    if (point["Type"].AsString() != "volume" || asked.contains(destination)) continue;
    binds.Append(fmt::format("{}:{}{}", point["Name"].AsString(), destination,
                             point["RW"].AsBool() ? "" : ":ro"));
  }
  body.Set("HostConfig", std::move(host));
  Json endpoints = Json::MakeObject();
  std::string own_alias = ShortId(container.id);
  for (const auto& [network, settings] :
       container.config["NetworkSettings"]["Networks"].members()) {
    if (network == "bridge" || network == "host" || network == "none") continue;
    Json endpoint =
        Json::MakeObject({{"IPAMConfig", settings["IPAMConfig"]}, {"Links", settings["Links"]}});
    Json aliases = Json::MakeArray();
    for (const Json& alias : settings["Aliases"].items()) {
      if (alias.AsString() != own_alias) aliases.Append(alias);
    }
    endpoint.Set("Aliases", std::move(aliases));
    endpoints.Set(network, std::move(endpoint));
  }
  body.Set("NetworkingConfig", Json::MakeObject({{"EndpointsConfig", std::move(endpoints)}}));
  TRY(journal_.Begin(what));
  wire::Query query;
  query.Add("name", name);
  Json made = TRY(api_.Post("/containers/create", query, std::move(body)));
  Json page = TRY(api_.Get(ContainerPath(made["Id"].AsString(), "/explain")));
  const std::string& writable = page["Writable"]["Path"].AsString();
  if (writable.empty()) {
    return FailedPrecondition("the engine keeps what containers write where nothing can be copied");
  }
  TRY(CopyTree(container.writable, writable));
  return journal_.Finish(what);
}

Result<> Import::Containers() {
  for (const DockerContainer& container : contents_.containers) {
    // dockerd removes these at its start.
    if (container.host["AutoRemove"].AsBool()) continue;
    if (journal_.IsDone("container " + container.id)) continue;
    Report("container " + container.config["Name"].AsString().substr(1), OneContainer(container));
  }
  return {};
}

}  // namespace

Result<int> ImportDockerCommand(Cli& cli, Invocation& call) {
  std::string root = "/var/lib/docker";
  call.flags.String("data-root", 0, &root, "docker's data root (default \"/var/lib/docker\")");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  Api* api = TRY(cli.Connect());
  if (api->socket_path().empty()) {
    return InvalidArgument("files are copied: the engine must be one of this host");
  }
  DockerData data = TRY(DockerData::Open(root));
  DockerContents contents = TRY(data.Read());
  Import import(api, data, std::move(contents), TRY(Journal::Open(root + "/gantry-import.json")));
  TRY_WITH(import.Images(), "images");
  TRY_WITH(import.Volumes(), "volumes");
  TRY_WITH(import.Networks(), "networks");
  TRY_WITH(import.Containers(), "containers");
  return import.failed() ? 1 : 0;
}

}  // namespace gantry::cli
