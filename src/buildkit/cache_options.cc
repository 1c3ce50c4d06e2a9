// SPDX-License-Identifier: Apache-2.0
#include "buildkit/cache_options.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "build/cache_place.h"
#include "buildkit/client_cache.h"
#include "buildkit/progress.h"
#include "formats/json.h"
#include "formats/reference.h"

namespace gantry::buildkit {
namespace {

using moby::buildkit::v1::CacheOptionsEntry;
using Told = google::protobuf::Map<std::string, std::string>;

std::string AttributeOf(const CacheOptionsEntry& entry, const std::string& name) {
  auto found = entry.attrs().find(name);
  return found == entry.attrs().end() ? "" : found->second;
}

Result<std::string> NeededAttribute(const CacheOptionsEntry& entry, const std::string& name) {
  std::string value = AttributeOf(entry, name);
  if (!value.empty()) return value;
  return InvalidArgument("a cache of type {} needs {}=…", entry.type(), name);
}

Result<bool> SwitchOf(const CacheOptionsEntry& entry, const std::string& name, bool fallback) {
  std::string value = AttributeOf(entry, name);
  if (value.empty()) return fallback;
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return InvalidArgument("failed to parse {}: invalid value '{}'", name, value);
}

Result<CacheExport> ReadCacheExport(const CacheOptionsEntry& entry) {
  CacheExport out;
  if (entry.type() == "registry") {
    out.kind = CacheExport::Kind::kRegistry;
    out.place = TRY(NeededAttribute(entry, "ref"));
  } else if (entry.type() == "local") {
    out.kind = CacheExport::Kind::kLocal;
    out.place = TRY(NeededAttribute(entry, "dest"));
  } else if (entry.type() != "inline") {
    return Unimplemented("there is no cache of type {}: inline, registry and local are there",
                         entry.type());
  }
  std::string mode = AttributeOf(entry, "mode");
  if (!mode.empty() && mode != "min" && mode != "max") {
    return InvalidArgument("invalid mode of a cache: '{}'", mode);
  }
  out.all = mode == "max" && out.kind != CacheExport::Kind::kInline;
  std::string compression = AttributeOf(entry, "compression");
  if (!compression.empty() && compression != "gzip") {
    return Unimplemented("layers are compressed with gzip, not {}", compression);
  }
  bool manifest = TRY(SwitchOf(entry, "image-manifest", true));
  out.form = manifest ? build::CacheForm::kManifest : build::CacheForm::kIndex;
  out.ignores_errors = TRY(SwitchOf(entry, "ignore-error", false));
  return out;
}

// The domain of a reference, for its login.
Result<client::Credentials> LoginFor(const std::string& reference,
                                     const std::shared_ptr<Session>& session,
                                     const StopToken& stop) {
  if (session == nullptr) return client::Credentials{};
  auto parsed =
      TRY_WITH(formats::ParseReference(reference), "the cache's reference \"{}\"", reference);
  return session->FindLogin(parsed.domain, stop);
}

Result<> ExportCache(Shared& shared, Job& job, const MadeResult& made, const CacheExport& wanted,
                     Told* told, const StopToken& stop) {
  return InStep(job.progress(), "exporting cache to " + wanted.place, [&](size_t step) -> Result<> {
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    std::unique_ptr<build::CachePlace> place;
    if (wanted.kind == CacheExport::Kind::kRegistry) {
      auto login = TRY(LoginFor(wanted.place, session, stop));
      place = TRY(build::OpenRegistryCache(shared.engine, wanted.place, login, stop));
    } else {
      place = OpenClientCache(session, wanted.place, "", stop);
    }
    std::vector<build::StageState> stages;
    for (const MadeResult::Part& part : made.parts) {
      if (!wanted.all) stages.push_back(part.made->result());
      if (!wanted.all) continue;
      for (build::StageState& stage : part.made->Stages()) stages.push_back(std::move(stage));
    }
    auto document = build::DocumentOfStages(shared.builds.cache(), stages);
    auto manifest = TRY(build::WriteCache(shared.engine, document, wanted.form, *place));
    if (!manifest) return {};
    job.progress().Part(step, "writing cache manifest " + manifest->digest, manifest->size,
                        manifest->size, true);
    (*told)["cache.manifest"] = formats::Json::MakeObject({{"mediaType", manifest->media_type},
                                                           {"digest", manifest->digest},
                                                           {"size", manifest->size}})
                                    .Dump();
    return {};
  });
}

Result<std::shared_ptr<const build::CacheImport>> ImportCache(
    engine::Engine& engine, const CacheOptionsEntry& entry, const std::shared_ptr<Session>& session,
    const StopToken& stop) {
  if (entry.type() == "registry") {
    std::string reference = TRY(NeededAttribute(entry, "ref"));
    auto here = engine.images().Resolve(reference);
    if (here.ok() && here->documents->config_json.Find(build::kInlineCache) != nullptr) {
      return build::ReadCache(build::OpenImageCache(engine, *std::move(here), reference));
    }
    auto login = TRY(LoginFor(reference, session, stop));
    return build::ReadCache(TRY(build::OpenRegistryCache(engine, reference, login, stop)));
  }
  // Other machines may have it: a build is not hindered.
  if (entry.type() != "local") {
    return NotFound("there is no cache of type {} to import", entry.type());
  }
  std::string directory = TRY(NeededAttribute(entry, "src"));
  std::string digest = TRY(NeededAttribute(entry, "digest"));
  if (session == nullptr) return NotFound("the build has no session");
  return build::ReadCache(OpenClientCache(session, directory, digest, stop));
}

// What the first build of all meets.
bool IsAbsent(const Error& error) {
  return error.kind() == ErrorKind::kNotFound || error.kind() == ErrorKind::kUnavailable ||
         error.kind() == ErrorKind::kUnauthenticated ||
         error.kind() == ErrorKind::kPermissionDenied;
}

}  // namespace

Result<std::vector<CacheExport>> ReadCacheExports(const Wanted& wanted) {
  std::vector<CacheExport> out;
  for (const CacheOptionsEntry& entry : wanted.cache_exports) {
    out.push_back(TRY(ReadCacheExport(entry)));
  }
  return out;
}

void PutInlineCache(Shared& shared, const MadeResult& made,
                    const std::vector<CacheExport>& exports) {
  bool wanted = std::any_of(exports.begin(), exports.end(), [](const CacheExport& one) {
    return one.kind == CacheExport::Kind::kInline;
  });
  if (!wanted) return;
  for (const MadeResult::Part& part : made.parts) {
    part.made->SetInlineCache(
        build::DocumentOfStages(shared.builds.cache(), {part.made->result()}));
  }
}

Result<> ExportCaches(Shared& shared, Job& job, const MadeResult& made,
                      const std::vector<CacheExport>& exports, Told* told, const StopToken& stop) {
  for (const CacheExport& one : exports) {
    if (one.kind == CacheExport::Kind::kInline) continue;
    Result<> done = ExportCache(shared, job, made, one, told, stop);
    if (!done.ok() && !one.ignores_errors) return done;
    if (!done.ok()) log::Info("exporting a cache: {}", done.error().message());
  }
  return {};
}

Result<CacheImports> ImportCaches(engine::Engine& engine, Job& job,
                                  const std::shared_ptr<Session>& session, const StopToken& stop) {
  if (auto known = job.imports()) return *std::move(known);
  CacheImports out;
  for (const CacheOptionsEntry& entry : job.wanted().cache_imports) {
    std::string place = AttributeOf(entry, entry.type() == "local" ? "src" : "ref");
    if (place.empty()) place = entry.type();
    auto imported = InStep(job.progress(), "importing cache manifest from " + place,
                           [&](size_t) { return ImportCache(engine, entry, session, stop); });
    if (imported.ok()) {
      out.push_back(*std::move(imported));
    } else if (!IsAbsent(imported.error())) {
      return std::move(imported).error().AddContext("importing the cache " + place);
    }
  }
  job.KeepImports(out);
  return out;
}

}  // namespace gantry::buildkit
