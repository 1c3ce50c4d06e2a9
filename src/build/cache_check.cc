// SPDX-License-Identifier: Apache-2.0
//
// What fsck says of the build cache. A step that is lost is built again, so none is worth keeping
// when something of it is missing.
#include <fcntl.h>

#include <map>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "build/cache.h"
#include "kernel/paths.h"

namespace gantry::build {
namespace {

records::Fault LostStep(records::Database& database, const std::string& key, std::string text) {
  return {std::move(text), "its record is removed", [&database, key]() -> Result<> {
            auto transaction = TRY(database.Begin());
            TRY(transaction.Execute("DELETE FROM build_steps WHERE key = ?", key));
            return transaction.Commit();
          }};
}

}  // namespace

Result<> CheckCache(records::Database& database, const std::string& root,
                    const std::optional<std::set<std::string>>& leases,
                    std::vector<records::Fault>* faults) {
  const std::string mounts = root + "/engine/build-caches";
  std::map<std::string, std::string> owners;  // directory: key
  auto transaction = TRY(database.Read());
  auto rows = TRY(transaction.Query("SELECT key, record FROM build_steps"));
  while (TRY(rows.Next())) {
    std::string key = rows.Text(0);
    std::string what = fmt::format("build step {}", ShortId(key));
    auto lose = [&](const std::string& why) {
      faults->push_back(LostStep(database, key, what + ": " + why));
    };
    auto step = ParseCachedStep(key, rows.Bytes(1));
    if (!step.ok()) {
      lose("its record is damaged: " + step.error().message());
      continue;
    }
    if (!step->directory.empty()) {
      owners[step->directory] = key;
      if (!PathExists(mounts + "/" + step->directory)) {
        lose(fmt::format("its directory '{}/{}' is missing", mounts, step->directory));
      }
    }
    if (leases && !step->lease.empty() && !leases->contains(step->lease)) {
      lose(fmt::format("its layer's lease '{}' is missing", step->lease));
    }
  }
  for (const std::string& name : TRY(ListDirectoryIfThere(mounts))) {
    if (owners.contains(name)) continue;
    faults->push_back({fmt::format("build cache '{}/{}': no record names it", mounts, name),
                       "it is removed", [mounts, name]() -> Result<> {
                         UniqueFd parent = TRY(OpenFile(mounts, O_RDONLY | O_DIRECTORY));
                         return kernel::RemoveTreeAt(parent, name);
                       }});
  }
  return {};
}

}  // namespace gantry::build
