// SPDX-License-Identifier: Apache-2.0
#include "engine/api/image_handlers.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/api/container_json.h"
#include "engine/api/image_json.h"
#include "engine/api/image_list_cache.h"
#include "engine/api/platform_parameter.h"
#include "engine/api/progress_stream.h"
#include "engine/api/registry_auth.h"
#include "engine/image_usage.h"
#include "engine/images.h"
#include "engine/new_image.h"
#include "engine/registry_calls.h"
#include "formats/reference.h"
#include "oci/image_spec.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

int64_t UnixSeconds(const std::string& rfc3339) {
  Result<WallTime> time = ParseRfc3339(rfc3339);
  return time.ok() ? UnixNanos(*time) / 1'000'000'000 : 0;
}

// The image with all its names.
Result<ImageUsage> UsageOf(Engine& engine, const std::string& id) {
  for (ImageUsage& image : TRY(ListImageUsage(engine)).images) {
    if (image.id() == id) return std::move(image);
  }
  return NotFound("No such image: {}", id);
}

// What the name means before a pull; "" when it is not there.
std::string TargetDigest(Call& call, formats::Reference name, const std::string& tag) {
  if (formats::IsValidTag(tag)) name.tag = tag;
  Result<NamedImage> image = call.engine().images().Resolve(WithDefaultTag(name).ToString());
  return image.ok() ? image->image.target.digest : "";
}

// A streamed 200 whose bytes are the body.
class ExchangeSink : public ByteSink {
 public:
  explicit ExchangeSink(wire::Exchange& exchange) : exchange_(exchange) {}
  Result<> Write(std::string_view data) override {
    if (!exchange_.begun()) TRY(exchange_.Begin(200));
    return exchange_.Write(data);
  }

 private:
  wire::Exchange& exchange_;
};

constexpr int kLastMinorOfContainerConfig = 44;
// API versions with the platform in a query, with the manifests of an image, and with more than one
// platform.
constexpr int kPlatformMinor = 48;
constexpr int kInspectPlatformMinor = 49;
constexpr int kRemovePlatformsMinor = 50;
constexpr int kManyPlatformsMinor = 52;

// Of an archive that is loaded or saved.
Result<std::vector<oci::Platform>> PlatformsOfArchive(const Call& call) {
  bool many = call.query().GetAll("platform").size() > 1;
  if (many && call.minor >= kPlatformMinor && call.minor < kManyPlatformsMinor) {
    return InvalidArgument(
        "multiple platform parameters are not supported in this API version; use API version 1.52 "
        "or later");
  }
  return PlatformParameters(call, "platform", kPlatformMinor);
}

}  // namespace

Result<> InspectImage(Call& call) {
  bool manifests = call.minor >= kPlatformMinor && call.query().GetBool("manifests");
  auto platform = TRY(PlatformParameter(call, kInspectPlatformMinor));
  if (manifests && platform) {
    return InvalidArgument(
        "conflicting options: manifests and platform options cannot both be set");
  }
  NamedImage image = TRY(call.engine().images().Resolve(call.arg()));
  ImageUsage group = TRY(UsageOf(call.engine(), image.documents->id));
  client::Descriptor target = image.image.target;
  if (platform) {
    image = TRY(call.engine().images().Resolve(call.arg(), &*platform));
    target = image.documents->manifest_descriptor;
  }
  const ImageDocuments& documents = *image.documents;
  auto disk = TRY(call.engine().image_sizes().Of(documents));
  std::string parent = TRY(call.engine().containerd().GetBlob(documents.id)).labels[kParentLabel];
  Json config_json = ToJson(TRY(ParseContainerConfig(documents.container_config())));
  // docker-compose 1.x speaks the newest version and can't do without a member that ended
  // with 1.44.
  std::string_view agent = call.exchange.request().headers.Get("User-Agent");
  bool old_compose = agent.starts_with("docker-compose/1.");
  if (old_compose) call.minor = std::min(call.minor, kLastMinorOfContainerConfig);
  Json layers = Json::MakeArray();
  for (const formats::Digest& layer : documents.config.diff_ids) layers.Append(layer.text());
  Json descriptor = DescriptorJson(target);
  if (platform) descriptor.Set("platform", oci::ToJson(documents.config.platform));
  Json answer = Json::MakeObject(
      {{"Id", documents.id},
       {"RepoTags", StringsOrEmpty(group.tags)},
       {"RepoDigests", StringsOrEmpty(group.digests)},
       {"Parent", parent},
       {"Comment", documents.config.history.empty() ? "" : documents.config.history.back().comment},
       {"Created", documents.config.created},
       {"Container", ""},
       {"ContainerConfig", old_compose ? config_json : Json()},
       {"DockerVersion", ""},
       {"Author", documents.config.author},
       {"Config", config_json},
       {"Architecture", documents.config.platform.architecture},
       {"Os", documents.config.platform.os},
       {"Size", disk->total},
       {"VirtualSize", disk->total},
       {"GraphDriver",
        Json::MakeObject({{"Data", Json()}, {"Name", call.engine().options().snapshotter}})},
       {"Descriptor", std::move(descriptor)},
       {"RootFS", Json::MakeObject({{"Type", "layers"}, {"Layers", layers}})},
       {"Metadata", Json::MakeObject({{"LastTagTime", TimeText(image.image.updated_at)}})}});
  if (manifests) answer.Set("Manifests", TRY(ManifestsJson(call.engine(), target)));
  return RespondJson(call, 200, std::move(answer));
}

Result<> ImageHistory(Call& call) {
  auto platform = TRY(PlatformParameter(call, kPlatformMinor));
  NamedImage image = TRY(call.engine().images().Resolve(call.arg()));
  ImageUsage group = TRY(UsageOf(call.engine(), image.documents->id));
  if (platform) image = TRY(call.engine().images().Resolve(call.arg(), &*platform));
  const ImageDocuments& documents = *image.documents;
  const auto& history = documents.config.history;
  auto disk = TRY(call.engine().image_sizes().Of(documents));
  const std::vector<int64_t>& layers = disk->snapshot_bytes;
  std::vector<Json> rows;
  size_t layer = 0;
  for (const oci::HistoryEntry& entry : history) {
    int64_t size = 0;
    if (!entry.empty_layer && layer < layers.size()) size = layers[layer++];
    rows.push_back(Json::MakeObject({{"Comment", entry.comment},
                                     {"Created", UnixSeconds(entry.created)},
                                     {"CreatedBy", entry.created_by},
                                     {"Id", "<missing>"},
                                     {"Size", size},
                                     {"Tags", Json()}}));
  }
  if (rows.empty()) {
    rows.push_back(Json::MakeObject({{"Comment", ""},
                                     {"Created", UnixSeconds(documents.config.created)},
                                     {"CreatedBy", ""},
                                     {"Id", ""},
                                     {"Size", disk->root},
                                     {"Tags", Json()}}));
  }
  rows.back().Set("Id", documents.id);
  rows.back().Set("Tags", group.tags.empty() ? Json() : Json(group.tags));
  std::reverse(rows.begin(), rows.end());
  return RespondJson(call, 200, Json(std::move(rows)));
}

Result<> TagImage(Call& call) {
  std::string_view repository = call.query().Get("repo");
  if (repository.empty())
    return InvalidArgument("repository name must have at least one component");
  TRY(engine::TagImage(call.engine(), call.arg(), repository, call.query().Get("tag")));
  return RespondEmpty(call, 201);
}

Result<> RemoveImage(Call& call) {
  auto platforms = TRY(PlatformParameters(call, "platforms", kRemovePlatformsMinor));
  // What an index loses is not in its record.
  if (!platforms.empty()) call.parts.image_list->Clear();
  Result<std::vector<RemovedImage>> done =
      engine::RemoveImage(call.engine(), call.arg(), call.query().GetBool("force"), platforms);
  if (!platforms.empty()) call.parts.image_list->Clear();
  std::vector<RemovedImage> removed = TRY(std::move(done));
  Json out = Json::MakeArray();
  for (const RemovedImage& image : removed) {
    out.Append(Json::MakeObject({{image.deleted ? "Deleted" : "Untagged", image.name}}));
  }
  return RespondJson(call, 200, out);
}

Result<> LoadImages(Call& call) {
  auto platforms = TRY(PlatformsOfArchive(call));
  ProgressStream stream(call, call.query().GetBool("quiet", true) ? ProgressStream::Detail::kNone
                                                                  : ProgressStream::Detail::kBars);
  Result<std::vector<std::string>> names = engine::LoadImages(
      call.engine(), call.exchange.body(), platforms, stream.callback(), StopToken());
  if (!names.ok()) return stream.FailInStream(names.error());
  for (const std::string& name : *names) {
    const char* what = name.starts_with("sha256:") ? "Loaded image ID: " : "Loaded image: ";
    TRY(stream.Send(Json::MakeObject({{"stream", what + name + "\n"}})));
  }
  return stream.Finish();
}

Result<> SaveImages(Call& call) {
  std::vector<std::string> names = call.args;
  if (names.empty()) names = call.query().GetAll("names");
  if (names.empty()) return InvalidArgument("no image is named");
  auto platforms = TRY(PlatformsOfArchive(call));
  call.exchange.headers().Set("Content-Type", "application/x-tar");
  ExchangeSink sink(call.exchange);
  TRY(engine::SaveImages(call.engine(), names, platforms, sink, StopToken()));
  if (!call.exchange.begun()) TRY(call.exchange.Begin(200));
  return call.exchange.Finish();
}

namespace {

Result<> ImportRootImage(Call& call) {
  const wire::Query& query = call.query();
  std::string source(query.Get("fromSrc"));
  ImportRequest request;
  request.repository = std::string(query.Get("repo"));
  request.tag = std::string(query.Get("tag"));
  request.message = std::string(query.Get("message"));
  request.platform = std::string(query.Get("platform"));
  request.changes = query.GetAll("changes");
  TRY(NewImageName(request.repository, request.tag));
  if (request.message.empty()) request.message = "Imported from " + source;
  ProgressStream stream(call, ProgressStream::Detail::kNone);
  Result<std::string> id("");
  if (source == "-") {
    id = ImportRoot(call.engine(), request, call.exchange.body());
  } else {
    std::string url;
    FdSource archive(TRY(DownloadRoot(call.engine(), source, &url, StopToken())));
    TRY(stream.Send(Json::MakeObject({{"status", "Downloading from " + url}})));
    id = ImportRoot(call.engine(), request, archive);
  }
  if (!id.ok()) return stream.Fail(std::move(id).error());
  TRY(stream.Send(Json::MakeObject({{"status", *id}})));
  return stream.Finish();
}

// What a pull says of one image.
Result<> PullOne(Call& call, const PullImageRequest& request, const formats::Reference& name,
                 ProgressStream& stream) {
  std::string what = !request.tag.empty() ? request.tag
                     : !name.tag.empty()  ? name.tag
                                          : std::string(name.digest.text());
  stream.SetFirstLine(Json::MakeObject({{"status", "Pulling from " + name.path}, {"id", what}}));
  std::string before = TargetDigest(call, name, request.tag);
  std::string pulled =
      TRY(engine::PullImage(call.engine(), request, stream.callback(), StopToken()));
  Result<NamedImage> image = call.engine().images().Resolve(pulled);
  if (image.ok()) {
    TRY(stream.Send(Json::MakeObject({{"status", "Digest: " + image->image.target.digest}})));
  }
  bool same = image.ok() && image->image.target.digest == before;
  std::string outcome = same ? "Image is up to date" : "Downloaded newer image";
  return stream.Send(
      Json::MakeObject({{"status", fmt::format("Status: {} for {}", outcome, pulled)}}));
}

}  // namespace

Result<> CommitContainer(Call& call) {
  const wire::Query& query = call.query();
  Json body = TRY(ReadJsonBody(call));
  CommitRequest request;
  request.container = std::string(query.Get("container"));
  request.repository = std::string(query.Get("repo"));
  request.tag = std::string(query.Get("tag"));
  request.author = std::string(query.Get("author"));
  request.comment = std::string(query.Get("comment"));
  request.changes = query.GetAll("changes");
  request.pause = query.Get("pause").empty() || query.GetBool("pause");
  if (!body.is_null()) request.config = TRY(ParseContainerConfig(body));
  ActionTimer timer(call.engine().action_times(), "commit");
  std::string id = TRY(engine::CommitContainer(call.engine(), std::move(request)));
  timer.Done();
  return RespondJson(call, 201, Json::MakeObject({{"Id", id}}));
}

Result<> PullImage(Call& call) {
  const wire::Query& query = call.query();
  if (!query.Get("fromSrc").empty()) return ImportRootImage(call);
  PullImageRequest request;
  request.repository = std::string(query.Get("fromImage"));
  request.tag = std::string(query.Get("tag"));
  request.platform = std::string(query.Get("platform"));
  request.credentials = CredentialsOfHeader(call);
  if (request.repository.empty()) return InvalidArgument("no image is named");
  formats::Reference name = TRY(formats::ParseReference(request.repository));
  if (!request.platform.empty()) TRY(oci::ParsePlatform(request.platform));
  std::vector<std::string> tags = {request.tag};
  if (request.tag.empty() && name.tag.empty() && name.digest.empty()) {
    // Without a tag it is all that there are, as docker's API has it.
    tags = TRY(ListRemoteTags(*call.engine().settings(), request.repository,
                              LoginOfHeader(call).value_or(RegistryLogin())));
  }
  ProgressStream stream(call, ProgressStream::Detail::kBars);
  for (const std::string& tag : tags) {
    request.tag = tag;
    Result<> pulled = PullOne(call, request, name, stream);
    if (!pulled.ok()) return stream.Fail(std::move(pulled).error());
  }
  return stream.Finish();
}

}  // namespace gantry::engine::api
