// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/manifest_store.h"

#include <unistd.h>

#include <algorithm>

#include "base/directory.h"
#include "base/io.h"

namespace gantry::cli {
namespace {

using formats::Json;

std::string FileName(const formats::Reference& reference) {
  std::string name = reference.ToString();
  for (char& c : name) c = c == ':' ? '-' : c == '/' ? '_' : c;
  return name;
}

}  // namespace

std::string ManifestStore::PathOf(const formats::Reference& list) const {
  return directory_ + "/" + FileName(list);
}

Result<std::vector<ManifestEntry>> ManifestStore::List(const formats::Reference& list) const {
  std::string path = PathOf(list);
  Result<std::vector<std::string>> names = ListDirectoryIfThere(path);
  if (!names.ok()) return std::move(names).error();
  if (names->empty()) return NotFound("No such manifest: {}", list.ToString());
  std::sort(names->begin(), names->end());
  std::vector<ManifestEntry> entries;
  for (const std::string& name : *names) {
    std::string text = TRY(ReadFile(path + "/" + name));
    entries.push_back(TRY_WITH(Json::Parse(text), "reading '{}/{}'", path, name));
  }
  return entries;
}

Result<ManifestEntry> ManifestStore::Get(const formats::Reference& list,
                                         const formats::Reference& image) const {
  std::string path = PathOf(list) + "/" + FileName(image);
  Result<std::string> text = ReadFile(path);
  if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) {
    return NotFound("No such manifest: {}", image.ToString());
  }
  return TRY_WITH(Json::Parse(TRY(std::move(text))), "reading '{}'", path);
}

Result<> ManifestStore::Put(const formats::Reference& list, const formats::Reference& image,
                            const ManifestEntry& entry) const {
  TRY(MakeDirectories(PathOf(list), 0755));
  return ReplaceFile(PathOf(list) + "/" + FileName(image), entry.Dump(), 0600,
                     Durability::kPowerCut);
}

Result<> ManifestStore::Remove(const formats::Reference& list) const {
  std::string path = PathOf(list);
  for (const std::string& name : TRY(ListDirectoryIfThere(path))) {
    std::string file = path + "/" + name;
    if (::unlink(file.c_str()) < 0) return ErrnoError("removing '{}'", file);
  }
  if (::rmdir(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  return {};
}

}  // namespace gantry::cli
