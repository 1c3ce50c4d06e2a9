// SPDX-License-Identifier: Apache-2.0
#include "buildkit/exporters.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "build/image_archive.h"
#include "buildkit/progress.h"
#include "engine/images.h"
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
  wish.of_descriptor = type == "manifest-descriptor";
  if (type == "index" || type == "index-descriptor") {
    return Unimplemented("an image for one platform has no index to annotate ({})", wish.name);
  }
  if (!wish.of_descriptor && type != "manifest") {
    return InvalidArgument("unknown kind of annotation: {}", type);
  }
  out->annotations.push_back(std::move(wish));
  return {};
}

engine::Annotations AnnotationsOf(const Export& wanted, const build::StageState& state,
                                  bool of_descriptor) {
  engine::Annotations out;
  for (const AnnotationWish& wish : wanted.annotations) {
    bool fits = !wish.platform || oci::MatchPlatform(*wish.platform, state.platform) > 0;
    if (fits && wish.of_descriptor == of_descriptor) out[wish.name] = wish.value;
  }
  return out;
}

Result<> ReadAttribute(const std::string& key, const std::string& value, Export* out) {
  if (key.starts_with("annotation.") || key.starts_with("annotation-") ||
      key.starts_with("annotation[")) {
    return ReadAnnotation(key, value, out);
  }
  if (key == "push") out->pushes = value == "true" || value == "1";
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

Result<> ExportImage(Shared& shared, Job& job, Made& made, const Export& wanted, Told* told,
                     const StopToken& stop) {
  Progress& progress = job.progress();
  std::string id =
      TRY(InStep(progress, "exporting to image", [&](size_t step) -> Result<std::string> {
        std::string stored =
            TRY(made.Store({wanted.names, AnnotationsOf(wanted, made.result(), false)}));
        progress.Part(step, "writing image " + stored, 0, 0, true);
        for (const std::string& name : wanted.names) {
          progress.Part(step, "naming to " + name, 0, 0, true);
        }
        return stored;
      }));
  (*told)["containerimage.config.digest"] = id;
  (*told)["containerimage.digest"] = id;
  if (!wanted.names.empty()) (*told)["image.name"] = Join(wanted.names, ",");
  for (const std::string& name : wanted.names) {
    if (wanted.pushes) TRY(Push(shared, job, name, progress, stop));
  }
  return {};
}

Result<> ExportArchive(Shared& shared, Job& job, Made& made, const Export& wanted, Told* told,
                       const StopToken& stop) {
  bool docker = wanted.kind == Kind::kDocker;
  const char* what = docker ? "exporting to docker image format" : "exporting to oci image format";
  return InStep(job.progress(), what, [&](size_t step) -> Result<> {
    build::StageState state = made.result();
    auto image = TRY(build::DocumentsOf(shared.engine, state, AnnotationsOf(wanted, state, false)));
    image.descriptor_annotations = AnnotationsOf(wanted, state, true);
    formats::Json descriptor =
        formats::Json::MakeObject({{"mediaType", image.manifest_descriptor.media_type},
                                   {"digest", image.manifest_descriptor.digest},
                                   {"size", image.manifest_descriptor.size}});
    if (!image.descriptor_annotations.empty()) {
      descriptor.Set("annotations", formats::Json(image.descriptor_annotations));
    }
    std::map<std::string, std::string> facts = {
        {"containerimage.digest", image.manifest_descriptor.digest},
        {"containerimage.config.digest", image.config_descriptor.digest},
        {"containerimage.descriptor", formats::EncodeBase64(descriptor.Dump())}};
    if (!wanted.names.empty()) facts["image.name"] = Join(wanted.names, ",");
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    auto write = [&](ByteSink& sink) {
      return build::WriteImageArchive(
          shared.engine, image, docker ? build::ArchiveKind::kDocker : build::ArchiveKind::kOci,
          wanted.names, sink);
    };
    int64_t bytes = TRY(session->SendFile(wanted.number, facts, write, stop));
    job.progress().Part(step, "sending tarball", bytes, bytes, true);
    told->insert(facts.begin(), facts.end());
    return {};
  });
}

Result<> ExportFiles(Shared& shared, Job& job, Made& made, const Export& wanted,
                     const StopToken& stop) {
  bool tar = wanted.kind == Kind::kTar;
  const char* what = tar ? "exporting to client tarball" : "exporting to client directory";
  return InStep(job.progress(), what, [&](size_t step) -> Result<> {
    BorrowedFd root = TRY(made.OpenFiles());
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    auto write = [&](ByteSink& sink) {
      trees::ArchiveRequest archive;
      archive.stop = stop;
      return trees::ArchiveDirectory(root, archive, sink);
    };
    int64_t bytes = tar ? TRY(session->SendFile(wanted.number, {}, write, stop))
                        : TRY(session->SendTree(wanted.number, root, stop));
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
  }
  return out;
}

Result<> RunExport(Shared& shared, Job& job, Made& made, const Export& wanted, Told* told,
                   const StopToken& stop) {
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
