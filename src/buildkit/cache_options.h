// SPDX-License-Identifier: Apache-2.0
//
// What a client wants of caches elsewhere (--cache-to, --cache-from): type=inline, registry, local.
// Any thread; calls block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "build/cache_transfer.h"
#include "buildkit/job.h"
#include "buildkit/made.h"
#include "buildkit/shared.h"

namespace gantry::buildkit {

struct CacheExport {
  enum class Kind : uint8_t { kInline, kRegistry, kLocal };
  Kind kind = Kind::kInline;
  std::string place;  // a reference, or a store of the client's
  bool all = false;   // mode=max: steps of other stages, too
  build::CacheForm form = build::CacheForm::kManifest;
  bool ignores_errors = false;
};

// kUnimplemented for a kind that there is not; kInvalidArgument.
Result<std::vector<CacheExport>> ReadCacheExports(const Wanted& wanted);

// Before the result is exported: an inline cache is a part of it.
void PutInlineCache(Shared& shared, const MadeResult& made,
                    const std::vector<CacheExport>& exports);
// The others. `told`: what the client hears of it.
Result<> ExportCaches(Shared& shared, Job& job, const MadeResult& made,
                      const std::vector<CacheExport>& exports,
                      google::protobuf::Map<std::string, std::string>* told, const StopToken& stop);

using CacheImports = std::vector<std::shared_ptr<const build::CacheImport>>;
// One that is not there, or whose registry does not answer, is told and left out; one that is none
// is an error. `session` may be nullptr.
Result<CacheImports> ImportCaches(engine::Engine& engine, Job& job,
                                  const std::shared_ptr<Session>& session, const StopToken& stop);

}  // namespace gantry::buildkit
