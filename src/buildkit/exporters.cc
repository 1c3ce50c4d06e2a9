// SPDX-License-Identifier: Apache-2.0
#include "buildkit/exporters.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "build/image_archive.h"
#include "buildkit/progress.h"
#include "engine/images.h"
#include "engine/new_image.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "formats/reference.h"
#include "trees/archive_tree.h"

namespace gantry::buildkit {
namespace {

using Kind = Export::Kind;
using Told = google::protobuf::Map<std::string, std::string>;

Result<Kind> ParseKind(const std::string& type) {
  static constexpr std::pair<std::string_view, Kind> kKinds[] = {
      {"moby", Kind::kImage}, {"image", Kind::kImage}, {"local", Kind::kLocal},
      {"tar", Kind::kTar},    {"oci", Kind::kOci},     {"docker", Kind::kDocker}};
  for (const auto& [name, kind] : kKinds) {
    if (type == name) return kind;
  }
  return Unimplemented("exporter \"{}\" is not supported", type);
}

// "annotation[-TYPE][[PLATFORM]].NAME".
Result<> ReadAnnotation(std::string_view key, const std::string& value, Export* out) {
  AnnotationWish wish;
  wish.value = value;
  std::string_view rest = key.substr(std::string_view("annotation").size());
  std::string_view type = "manifest";
  if (rest.starts_with('-')) {
    type = rest.substr(1, rest.find_first_of("[.") - 1);
    rest.remove_prefix(std::min(type.size() + 1, rest.size()));
  }
  if (rest.starts_with('[')) {
    size_t end = rest.find(']');
    if (end == std::string_view::npos) return InvalidArgument("invalid annotation key {}", key);
    wish.platform = TRY(oci::ParsePlatform(rest.substr(1, end - 1)));
    rest.remove_prefix(end + 1);
  }
  if (!rest.starts_with('.') || rest.size() < 2) {
    return InvalidArgument("invalid annotation key {}", key);
  }
  wish.name = rest.substr(1);
  using Place = AnnotationWish::Place;
  static constexpr std::pair<std::string_view, Place> kPlaces[] = {
      {"manifest", Place::kManifest},
      {"manifest-descriptor", Place::kDescriptor},
      {"index", Place::kIndex},
      {"index-descriptor", Place::kIndexDescriptor}};
  for (const auto& [name, place] : kPlaces) {
    if (type != name) continue;
    wish.place = place;
    out->annotations.push_back(std::move(wish));
    return {};
  }
  return InvalidArgument("unknown kind of annotation: {}", type);
}

// `platform`: nullptr for what is the index's.
engine::Annotations AnnotationsOf(const Export& wanted, const oci::Platform* platform,
                                  AnnotationWish::Place place) {
  engine::Annotations out;
  for (const AnnotationWish& wish : wanted.annotations) {
    bool fits =
        !wish.platform || platform == nullptr || oci::MatchPlatform(*wish.platform, *platform) > 0;
    if (fits && wish.place == place) out[wish.name] = wish.value;
  }
  return out;
}

Result<> ReadAttribute(const std::string& key, const std::string& value, Export* out) {
  if (key.starts_with("annotation.") || key.starts_with("annotation-") ||
      key.starts_with("annotation[")) {
    return ReadAnnotation(key, value, out);
  }
  if (key == "push") out->pushes = value == "true" || value == "1";
  if (key == "push-by-digest") out->by_digest = value == "true" || value == "1";
  if (key == "name-canonical") out->canonical = value.empty() || value == "true" || value == "1";
  if (key == "platform-split") out->platform_split = value == "true" || value == "1";
  if (key == "tar" && value == "false") {
    return Unimplemented("an image layout that is no archive (tar=false) is not supported");
  }
  if (key == "compression" && value != "gzip") {
    return Unimplemented("layers are compressed with gzip, not {}", value);
  }
  if (key != "name") return {};
  for (const std::string& text : SplitWords(value, ",")) {
    formats::Reference name =
        TRY_WITH(formats::ParseReference(text), "invalid image name {}", text);
    out->has_tag |= !name.tag.empty() || !name.digest.empty();
    out->names.push_back(formats::WithDefaultTag(name).ToString());
  }
  return {};
}

Result<> Push(Shared& shared, const Job& job, const std::string& name, Progress& progress,
              const StopToken& stop) {
  return InStep(progress, "pushing " + name, [&](size_t step) -> Result<> {
    engine::PushImageRequest push;
    push.name = TRY(formats::ParseReference(name));
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    push.credentials = TRY(session->FindLogin(push.name.domain, stop));
    auto told = [&](const client::Progress& part) {
      progress.Part(step, part.name, part.progress, part.total, part.event == "complete");
    };
    TRY(engine::PushImage(shared.engine, push, told, stop));
    return {};
  });
}

Result<oci::Platform> PlatformOf(const MadeResult::Part& part) {
  if (part.platform.empty()) return part.made->result().platform;
  return TRY_WITH(oci::ParsePlatform(part.platform), "reading the platform of a result");
}

// Where clients wish by themselves for an image's provenance, it goes with images that leave.
bool WantsProvenance(const Export& wanted) {
  return wanted.provenance && (!wanted.provenance->is_default || wanted.pushes);
}

bool NeedsIndex(const MadeResult& made, const Export& wanted) {
  return made.parts.size() > 1 || !made.parts[0].platform.empty() || WantsProvenance(wanted);
}

Result<build::ImageSet> SetOf(Shared& shared, const Job& job, const MadeResult& made,
                              const Export& wanted) {
  using Place = AnnotationWish::Place;
  build::ImageSetMaker maker;
  for (const MadeResult::Part& part : made.parts) {
    build::StageState state = part.made->result();
    oci::Platform platform = TRY(PlatformOf(part));
    auto image = TRY(build::DocumentsOf(shared.engine, state,
                                        AnnotationsOf(wanted, &platform, Place::kManifest)));
    image.descriptor_annotations = AnnotationsOf(wanted, &platform, Place::kDescriptor);
    std::vector<build::Statement> statements;
    if (WantsProvenance(wanted)) {
      statements.push_back(
          MakeProvenance(*wanted.provenance, part.made->from(), job,
                         {wanted.names, image.manifest_descriptor.digest, platform}));
    }
    maker.Add(std::move(image), platform, statements);
  }
  auto of_index = AnnotationsOf(wanted, nullptr, Place::kIndex);
  auto of_descriptor = AnnotationsOf(wanted, nullptr, Place::kIndexDescriptor);
  if (NeedsIndex(made, wanted)) return std::move(maker).TakeIndex(of_index, of_descriptor);
  if (of_index.empty() && of_descriptor.empty()) return std::move(maker).TakeImage();
  return InvalidArgument("an image for one platform has no index to annotate");
}

void TellSet(const build::ImageSet& set, const Export& wanted,
             std::map<std::string, std::string>* facts) {
  formats::Json descriptor = engine::DescriptorJson(set.root);
  if (!set.root_annotations.empty()) {
    descriptor.Set("annotations", formats::Json(set.root_annotations));
  }
  (*facts)["containerimage.digest"] = set.root.digest;
  (*facts)["containerimage.descriptor"] = formats::EncodeBase64(descriptor.Dump());
  if (set.images.size() == 1) {
    (*facts)["containerimage.config.digest"] = set.images[0].config_descriptor.digest;
  }
  if (!wanted.names.empty()) (*facts)["image.name"] = Join(wanted.names, ",");
}

// In the store, of the image with that digest.
Result<std::vector<std::string>> NamesFor(const Export& wanted, const std::string& digest) {
  std::vector<std::string> out;
  if (!wanted.by_digest) out = wanted.names;
  if (!wanted.by_digest && !wanted.canonical) return out;
  for (const std::string& name : wanted.names) {
    out.push_back(TRY(formats::ParseReference(name)).Repository() + "@" + digest);
  }
  return out;
}

Result<> ExportImage(Shared& shared, Job& job, const MadeResult& made, const Export& wanted,
                     Told* told, const StopToken& stop) {
  Progress& progress = job.progress();
  std::map<std::string, std::string> facts;
  std::vector<std::string> names;
  TRY(InStep(progress, "exporting to image", [&](size_t step) -> Result<> {
    build::ImageSet set = TRY(SetOf(shared, job, made, wanted));
    names = TRY(NamesFor(wanted, set.root.digest));
    // What is pushed is what is told; one that stays here keeps its base's index, if it is its
    // base.
    if (NeedsIndex(made, wanted) || wanted.pushes || wanted.by_digest || wanted.canonical) {
      TRY(build::StoreImageSet(shared.engine, set, names));
    } else {
      oci::Platform platform = TRY(PlatformOf(made.parts[0]));
      TRY(made.parts[0].made->Store(
          {names, AnnotationsOf(wanted, &platform, AnnotationWish::Place::kManifest)}));
    }
    TellSet(set, wanted, &facts);
    // Clients write it where users look for the name of an image that is here: its id.
    bool stays = !wanted.pushes && !wanted.by_digest && !wanted.canonical;
    if (stays && set.images.size() == 1) {
      facts["containerimage.digest"] = set.images[0].config_descriptor.digest;
    }
    progress.Part(step, "writing image " + facts["containerimage.digest"], 0, 0, true);
    for (const std::string& name : names) progress.Part(step, "naming to " + name, 0, 0, true);
    return {};
  }));
  told->insert(facts.begin(), facts.end());
  for (const std::string& name : wanted.by_digest ? names : wanted.names) {
    if (wanted.pushes) TRY(Push(shared, job, name, progress, stop));
  }
  return {};
}

Result<> ExportArchive(Shared& shared, Job& job, const MadeResult& made, const Export& wanted,
                       Told* told, const StopToken& stop) {
  bool docker = wanted.kind == Kind::kDocker;
  if (docker && made.parts.size() > 1) {
    return Unimplemented("docker's archives hold no image for several platforms: use type=oci");
  }
  const char* what = docker ? "exporting to docker image format" : "exporting to oci image format";
  return InStep(job.progress(), what, [&](size_t step) -> Result<> {
    build::ImageSet set = TRY(SetOf(shared, job, made, wanted));
    std::map<std::string, std::string> facts;
    TellSet(set, wanted, &facts);
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    auto write = [&](ByteSink& sink) {
      return build::WriteImageArchive(
          shared.engine, set, docker ? build::ArchiveKind::kDocker : build::ArchiveKind::kOci,
          wanted.names, sink);
    };
    int64_t bytes = TRY(session->SendFile(wanted.number, facts, write, stop));
    job.progress().Part(step, "sending tarball", bytes, bytes, true);
    told->insert(facts.begin(), facts.end());
    return {};
  });
}

// The directory of a platform's files among those of several.
std::string DirectoryOf(const std::string& platform) {
  std::string out = platform;
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

Result<> ExportFiles(Shared& shared, Job& job, const MadeResult& made, const Export& wanted,
                     const StopToken& stop) {
  bool tar = wanted.kind == Kind::kTar;
  const char* what = tar ? "exporting to client tarball" : "exporting to client directory";
  return InStep(job.progress(), what, [&](size_t step) -> Result<> {
    std::vector<SentTree> sent;
    for (const MadeResult::Part& part : made.parts) {
      bool splits = !part.platform.empty() && wanted.platform_split;
      sent.push_back({splits ? DirectoryOf(part.platform) : "", TRY(part.made->OpenFiles())});
    }
    if (sent.size() > 1 && (tar || !wanted.platform_split)) {
      return Unimplemented("files of several platforms need directories of their own: type=local");
    }
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    auto write = [&](ByteSink& sink) {
      trees::ArchiveRequest archive;
      archive.stop = stop;
      return trees::ArchiveDirectory(sent[0].root, archive, sink);
    };
    int64_t bytes = tar ? TRY(session->SendFile(wanted.number, {}, write, stop))
                        : TRY(session->SendTrees(wanted.number, sent, stop));
    job.progress().Part(step, tar ? "sending tarball" : "copying files", bytes, bytes, true);
    return {};
  });
}

}  // namespace

Result<std::vector<Export>> ReadExports(const Wanted& wanted) {
  std::vector<Export> out;
  int number = 0;
  for (const auto& exporter : wanted.exporters) {
    Export& one = out.emplace_back();
    one.kind = TRY(ParseKind(exporter.type()));
    one.number = number++;
    for (const auto& [key, value] : exporter.attrs()) TRY(ReadAttribute(key, value, &one));
    one.provenance = wanted.provenance;
    if (one.by_digest && one.has_tag) {
      return InvalidArgument("can't push tagged ref {} by digest", Join(one.names, ","));
    }
  }
  return out;
}

Result<> RunExport(Shared& shared, Job& job, const MadeResult& made, const Export& wanted,
                   Told* told, const StopToken& stop) {
  switch (wanted.kind) {
    case Kind::kImage:
      return ExportImage(shared, job, made, wanted, told, stop);
    case Kind::kOci:
    case Kind::kDocker:
      return ExportArchive(shared, job, made, wanted, told, stop);
    case Kind::kLocal:
    case Kind::kTar:
      return ExportFiles(shared, job, made, wanted, stop);
  }
  return {};
}

}  // namespace gantry::buildkit
