// SPDX-License-Identifier: Apache-2.0
#include "engine/images.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "base/text.h"
#include "base/undo.h"
#include "engine/dangling.h"
#include "engine/image_platforms.h"
#include "engine/store.h"
#include "formats/reference.h"

namespace gantry::engine {
namespace {

// Does what the event tells of and tells it; whoever is killed meanwhile, the next start tells it
// when the image `store_name` shows that it was done.
Result<> DoAndPublish(Engine& engine, const Event& event, const std::string& store_name,
                      const std::function<Result<>()>& act) {
  UntoldEvents& untold = engine.store().untold();
  TRY(untold.Put(event, store_name));
  Result<> done = act();
  if (done.ok()) engine.Publish(event);
  untold.Done(event, store_name);
  return done;
}

// Whether the reference means an image by its id rather than by a name.
bool IsIdOf(std::string_view reference, std::string_view id) {
  if (id == reference) return true;
  if (reference.starts_with("sha256:")) return id.starts_with(reference);
  bool hex = !reference.empty() && std::all_of(reference.begin(), reference.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  return hex && id.size() > 7 && id.substr(7).starts_with(reference);
}

bool AreOfManyRepositories(const std::vector<std::string>& names) {
  std::set<std::string> repositories;
  for (const std::string& name : names) {
    Result<formats::Reference> parsed = formats::ParseReference(name);
    if (!IsDangling(name) && parsed.ok()) repositories.insert(parsed->Repository());
  }
  return repositories.size() > 1;
}

// The container that stands in the way of removing the image, if any.
Result<> CheckUnused(Engine& engine, std::string_view reference, const std::string& id, bool by_id,
                     bool force) {
  for (const auto& record : engine.List()) {
    if (!ImagesOf(*record).contains(id)) continue;
    bool alive = record->state.IsAlive();
    if (by_id && alive) {
      return Error(ErrorKind::kAborted,
                   fmt::format("conflict: unable to delete {} (cannot be forced) - image is being "
                               "used by running container {}",
                               ShortId(id), ShortId(record->id)));
    }
    if (force) continue;
    if (by_id) {
      return Error(ErrorKind::kAborted,
                   fmt::format("conflict: unable to delete {} (must be forced) - image is being "
                               "used by stopped container {}",
                               ShortId(id), ShortId(record->id)));
    }
    return Error(
        ErrorKind::kAborted,
        fmt::format("conflict: unable to remove repository reference \"{}\" (must force) - "
                    "container {} is using its referenced image {}",
                    reference, ShortId(record->id), ShortId(id)));
  }
  return {};
}

}  // namespace

std::string FamiliarName(std::string_view store_name) {
  Result<formats::Reference> reference = formats::ParseReference(store_name);
  return reference.ok() ? reference->Familiar() : std::string(store_name);
}

Result<> TagImage(Engine& engine, std::string_view reference, std::string_view repository,
                  std::string_view tag) {
  NamedImage source = TRY(engine.images().Resolve(reference));
  formats::Reference name = TRY(formats::ParseReference(repository));
  if (!tag.empty()) {
    if (!formats::IsValidTag(tag)) return InvalidArgument("invalid tag format");
    name.tag = std::string(tag);
  }
  if (!name.digest.empty()) {
    return InvalidArgument("refusing to create a tag with a digest reference");
  }
  std::string familiar = name.Familiar();
  if (familiar == "sha256" || familiar.starts_with("sha256:")) {
    return InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name");
  }
  client::Image image = source.image;
  image.name = WithDefaultTag(name).ToString();
  Event event = ImageEvent("tag", source.documents->id, FamiliarName(image.name),
                           source.documents->config_json);
  ReplacedImages replaced = TRY(ReplacedImages::Note(engine.containerd(), image.name));
  TRY(DoAndPublish(engine, event, image.name, [&] { return engine.containerd().PutImage(image); }));
  return replaced.Keep();
}

namespace {

// Of an index: what is here for these platforms goes. None left over: nothing is done, the whole
// image is to go.
Result<std::vector<RemovedImage>> RemovePlatforms(Engine& engine, std::string_view reference,
                                                  bool force,
                                                  const std::vector<oci::Platform>& platforms) {
  std::map<std::string, std::string> chosen;  // digest of the manifest, of its configuration
  NamedImage image;
  for (const oci::Platform& platform : platforms) {
    image = TRY(engine.images().Resolve(reference, &platform));
    chosen[image.documents->manifest_descriptor.digest] = image.documents->id;
  }
  size_t here = 0;
  for (const PlatformImage& one : TRY(ListPlatforms(engine, image.image.target))) {
    if (one.documents && !one.attestation) ++here;
  }
  if (chosen.size() >= here) return std::vector<RemovedImage>();
  for (const auto& [manifest, id] : chosen) {
    TRY(CheckUnused(engine, reference, id, /*by_id=*/true, force));
  }
  std::vector<RemovedImage> removed;
  for (const auto& [manifest, id] : chosen) {
    TRY(engine.containerd().DeleteBlob(manifest));
    engine.images().Forget(image.image.target.digest, manifest);
    removed.push_back({true, manifest});
  }
  return removed;
}

}  // namespace

Result<std::vector<RemovedImage>> RemoveImage(Engine& engine, std::string_view reference,
                                              bool force,
                                              const std::vector<oci::Platform>& platforms) {
  if (!platforms.empty()) {
    auto removed = TRY(RemovePlatforms(engine, reference, force, platforms));
    if (!removed.empty()) return removed;
  }
  NamedImage target = TRY(engine.images().Resolve(reference));
  const std::string id = target.documents->id;
  bool by_id = IsIdOf(reference, id);
  std::vector<std::string> names;
  std::vector<std::string> nameless;
  size_t others = 0;
  for (const NamedImage& image : TRY(engine.images().List())) {
    if (image.documents->id != id) continue;
    if (by_id || image.image.name == target.image.name) {
      names.push_back(image.image.name);
    } else if (IsDangling(image.image.name)) {
      nameless.push_back(image.image.name);
    } else {
      ++others;
    }
  }
  // Nobody knows an image by that; it goes with its last name.
  if (others == 0) names.insert(names.end(), nameless.begin(), nameless.end());
  // A name can go while another one keeps the image.
  if (others == 0) TRY(CheckUnused(engine, reference, id, by_id, force));
  if (by_id && !force && AreOfManyRepositories(names)) {
    return Error(ErrorKind::kAborted,
                 fmt::format("conflict: unable to delete {} (must be forced) - image is referenced "
                             "in multiple repositories",
                             ShortId(id)));
  }
  Event untagged = ImageEvent("untag", id, id, target.documents->config_json);
  std::vector<RemovedImage> removed;
  for (size_t i = 0; i < names.size(); ++i) {
    bool last = others == 0 && i + 1 == names.size();
    // The last name takes the image along: two events of one call.
    Event deleted = ImageEvent("delete", id, id);
    if (last) TRY(engine.store().untold().Put(deleted, names[i]));
    auto remove = [&] { return engine.containerd().DeleteImage(names[i], last); };
    bool named = !IsDangling(names[i]);
    untagged.time = WallClock::now();
    Result<> done = named ? DoAndPublish(engine, untagged, names[i], remove) : remove();
    if (done.ok() && named) removed.push_back({false, FamiliarName(names[i])});
    if (done.ok() && last) {
      removed.push_back({true, id});
      deleted.time = WallClock::now();
      engine.Publish(deleted);
    }
    engine.store().untold().Done(deleted, names[i]);
    TRY(std::move(done));
  }
  return removed;
}

namespace {

// After a load of one platform, docker's words.
Result<> CheckProvides(Engine& engine, const std::vector<std::string>& names,
                       const oci::Platform& platform) {
  std::vector<std::string> without;
  for (const std::string& name : names) {
    std::string reference = IsDangling(name) ? name.substr(name.find('@') + 1) : name;
    auto image = engine.images().Resolve(reference, &platform);
    if (image.ok()) continue;
    if (image.error().kind() != ErrorKind::kNotFound) return std::move(image).error();
    without.push_back(FamiliarName(name));
  }
  if (without.empty()) return {};
  if (without.size() == 1) {
    return NotFound("image {} was loaded, but doesn't provide the requested platform ({})",
                    without.front(), platform.ToString());
  }
  std::string list;
  for (const std::string& name : without) list += (list.empty() ? "" : ", ") + name;
  return NotFound("images [{}] were loaded, but don't provide the requested platform ({})", list,
                  platform.ToString());
}

}  // namespace

Result<std::vector<std::string>> LoadImages(Engine& engine, ByteSource& archive,
                                            const std::vector<oci::Platform>& platforms,
                                            const client::ProgressCallback& progress,
                                            const StopToken& stop) {
  std::string_view rest;
  auto read = [&](char* buffer, size_t size) -> Result<size_t> {
    // Whole pieces: each one is a message.
    size_t filled = 0;
    while (filled < size) {
      if (rest.empty()) rest = TRY(archive.Next());
      if (rest.empty()) break;
      size_t count = std::min(size - filled, rest.size());
      std::memcpy(buffer + filled, rest.data(), count);
      rest.remove_prefix(count);
      filled += count;
    }
    return filled;
  };
  ReplacedImages replaced = TRY(ReplacedImages::Note(engine.containerd(), ""));
  std::vector<std::string> names =
      TRY(engine.containerd().Import(read, std::string(kDanglingRepository),
                                     engine.options().snapshotter, platforms, progress, stop));
  TRY(replaced.Keep());
  for (const oci::Platform& platform : platforms) TRY(CheckProvides(engine, names, platform));
  for (std::string& name : names) {
    // A nameless one is told by its id.
    std::string digest = IsDangling(name) ? name.substr(name.find('@') + 1) : "";
    Result<NamedImage> image = engine.images().Resolve(digest.empty() ? name : digest);
    name = FamiliarName(name);
    if (!image.ok()) continue;
    if (!digest.empty()) name = image->documents->id;
    const ImageDocuments& loaded = *image->documents;
    engine.Publish(ImageEvent("load", loaded.id, loaded.id, loaded.config_json));
  }
  return names;
}

Result<> SaveImages(Engine& engine, const std::vector<std::string>& references,
                    const std::vector<oci::Platform>& platforms, ByteSink& out,
                    const StopToken& stop) {
  std::vector<std::string> names;
  std::vector<NamelessRecord> nameless;
  bool of_host = true;
  auto add = [&](const NamedImage& image, const std::string& reference) -> Result<> {
    for (const oci::Platform& platform : platforms) {
      TRY_WITH(engine.images().Resolve(reference, &platform), "no suitable export target found");
    }
    int fits = oci::MatchPlatform(oci::HostPlatform(), image.documents->config.platform);
    of_host = of_host && fits > 0;
    Result<std::string> asked = StoreName(reference);
    if (asked.ok() && *asked == image.image.name) {
      names.push_back(image.image.name);
    } else {
      // By its id or digest: no name goes with it.
      nameless.push_back(TRY(NamelessRecord::Of(engine.containerd(), image.image)));
      names.push_back(nameless.back().name());
    }
    const ImageDocuments& saved = *image.documents;
    engine.Publish(ImageEvent("save", saved.id, saved.id, saved.config_json));
    return {};
  };
  for (const std::string& reference : references) {
    // A repository's name means all of its tags.
    Result<formats::Reference> name = formats::ParseReference(reference);
    if (name.ok() && name->tag.empty() && name->digest.empty()) {
      std::vector<formats::Reference> tags = TRY(TagsOfRepository(engine, *name));
      for (const formats::Reference& tagged : tags) {
        TRY(add(TRY(engine.images().Resolve(tagged.ToString())), tagged.Familiar()));
      }
      if (!tags.empty()) continue;
    }
    Result<NamedImage> found = engine.images().Resolve(reference);
    if (!found.ok() && found.error().kind() == ErrorKind::kNotFound) {
      return NotFound("No such image: {}", reference);  // as docker, without a tag that nobody gave
    }
    TRY(add(TRY(std::move(found)), reference));
  }
  std::vector<oci::Platform> wanted = platforms;
  if (wanted.empty() && of_host) wanted.push_back(oci::HostPlatform());
  return engine.containerd().Export(
      names, wanted, [&](std::string_view data) { return out.Write(data); }, stop);
}

Result<std::string> PullImage(Engine& engine, const PullImageRequest& request,
                              const client::ProgressCallback& progress, const StopToken& stop) {
  formats::Reference name = TRY(formats::ParseReference(request.repository));
  if (request.tag.starts_with("sha256:") || request.tag.starts_with("sha512:")) {
    name.digest = TRY(formats::Digest::Parse(request.tag));
  } else if (!request.tag.empty()) {
    if (!formats::IsValidTag(request.tag)) return InvalidArgument("invalid tag format");
    name.tag = request.tag;
  }
  name = WithDefaultTag(name);
  oci::Platform platform = oci::HostPlatform();
  if (!request.platform.empty()) platform = TRY(oci::ParsePlatform(request.platform));
  client::PullRequest pull;
  pull.reference = name.ToString();
  pull.store_name = name.ToString();
  pull.snapshotter = engine.options().snapshotter;
  pull.platform = platform;
  pull.credentials = request.credentials;
  pull.hosts_directory = engine.settings()->registry_hosts_directory;
  std::string familiar = name.Familiar();
  Event event = ImageEvent("pull", {}, familiar);
  UntoldEvents& untold = engine.store().untold();
  TRY(untold.Put(event, pull.store_name));
  Undo undo;
  undo.Push([&, intent = event] { untold.Done(intent, pull.store_name); });
  ReplacedImages replaced = TRY(ReplacedImages::Note(engine.containerd(), pull.store_name));
  Result<client::Image> before = engine.containerd().GetImage(pull.store_name);
  TRY(engine.containerd().Pull(pull, progress, stop));
  auto pulled = engine.images().Resolve(pull.store_name);
  if (!pulled.ok() && pulled.error().kind() == ErrorKind::kInvalidArgument) {
    // An artifact, which the container daemon keeps for those who want it and the engine has no use
    // for: the name stands for what it stood for.
    TRY(before.ok() ? engine.containerd().PutImage(*before)
                    : engine.containerd().DeleteImage(pull.store_name, false));
    return std::move(pulled).error().AddContext(fmt::format("pulling '{}'", familiar));
  }
  TRY(replaced.Keep());
  if (!pulled.ok() && pulled.error().kind() == ErrorKind::kNotFound) {
    // What nobody has yet may be pruned again by now: pulled it was, but its id is not known any
    // more.
    engine.Publish(ImageEvent("pull", familiar, familiar));
    return familiar;
  }
  auto documents = TRY(std::move(pulled)).documents;
  engine.Publish(ImageEvent("pull", documents->id, familiar, documents->config_json));
  return familiar;
}

Result<> EnsureUnpacked(Engine& engine, const NamedImage& image) {
  const std::string& snapshotter = engine.options().snapshotter;
  const std::string& top = image.documents->top_chain_id;
  if (top.empty()) return {};
  auto there = engine.containerd().GetSnapshotUsage(snapshotter, top);
  if (there.ok()) return {};
  if (there.error().kind() != ErrorKind::kNotFound) return std::move(there).error();
  TRY_WITH(engine.containerd().UnpackImage(image.image.name, snapshotter,
                                           image.documents->config.platform),
           "unpacking image '{}'", FamiliarName(image.image.name));
  return {};
}

Result<std::vector<formats::Reference>> TagsOfRepository(Engine& engine,
                                                         const formats::Reference& repository) {
  std::vector<formats::Reference> out;
  for (const NamedImage& image : TRY(engine.images().List())) {
    Result<formats::Reference> name = formats::ParseReference(image.image.name);
    if (!name.ok() || name->tag.empty() || !name->digest.empty()) continue;
    if (name->domain == repository.domain && name->path == repository.path) {
      out.push_back(*std::move(name));
    }
  }
  return out;
}

Result<PushedImage> PushImage(Engine& engine, const PushImageRequest& request,
                              const client::ProgressCallback& progress, const StopToken& stop) {
  client::PushRequest push;
  push.reference = request.name.ToString();
  push.store_name = push.reference;
  push.platform = request.platform;
  push.credentials = request.credentials;
  push.hosts_directory = engine.settings()->registry_hosts_directory;
  Result<client::Image> found = engine.containerd().GetImage(push.store_name);
  if (!found.ok() && found.error().kind() == ErrorKind::kNotFound) {
    return NotFound("tag does not exist: {}", request.name.Familiar());
  }
  client::Image image = TRY(std::move(found));
  TRY(engine.containerd().Push(push, progress, stop));
  const oci::Platform* platform = push.platform ? &*push.platform : nullptr;
  auto documents = engine.images().Documents(image.target, platform);
  engine.Publish(ImageEvent("push", FamiliarName(push.store_name), request.name.Familiar(),
                            documents.ok() ? (*documents)->config_json : formats::Json()));
  client::Descriptor pushed = image.target;
  if (push.platform) pushed = TRY(std::move(documents))->manifest_descriptor;
  return PushedImage{request.name.tag, pushed.digest, pushed.size};
}

}  // namespace gantry::engine
