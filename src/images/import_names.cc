// SPDX-License-Identifier: Apache-2.0
#include "images/import_names.h"

#include <string_view>

namespace gantry::images {
namespace {

bool IsBelow(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  // "a/b" is below "a", "ab" is not.
  return name.size() == prefix.size() ||
         std::string_view("/:@").find(name[prefix.size()]) != std::string_view::npos;
}

bool IsTagAlone(std::string_view ref) { return ref.find_first_of("/:@") == std::string_view::npos; }

// What a prefix rule makes of a reference; empty: nothing.
std::string Translated(const NameRule& rule, const std::string& ref) {
  if (rule.name.empty()) return "";
  if (IsTagAlone(ref)) return rule.name + ":" + ref;
  return rule.allow_overwrite || IsBelow(ref, rule.name) ? ref : "";
}

std::string NameBy(const NameRule& rule, const NamesInArchive& archive) {
  if (!archive.full.empty()) {
    // A whole name is taken as it is or not at all.
    return Translated(rule, archive.full) == archive.full ? archive.full : "";
  }
  return archive.ref.empty() ? "" : Translated(rule, archive.ref);
}

}  // namespace

std::vector<std::string> ManifestNames(const std::vector<NameRule>& rules,
                                       const NamesInArchive& archive,
                                       const formats::Digest& digest) {
  std::vector<std::string> names;
  for (const NameRule& rule : rules) {
    if (!rule.is_prefix) continue;
    std::string name = NameBy(rule, archive);
    if (!name.empty()) names.push_back(name);
    if (rule.add_digest && (name.empty() || !rule.skip_named_digest)) {
      names.push_back(rule.name + "@" + digest.text());
    }
  }
  return names;
}

std::vector<std::string> IndexNames(const std::string& name, const std::vector<NameRule>& rules,
                                    const formats::Digest& digest) {
  std::vector<std::string> names;
  if (!name.empty()) names.push_back(name);
  for (const NameRule& rule : rules) {
    if (rule.is_prefix && !rule.add_digest) continue;
    names.push_back(rule.add_digest ? rule.name + "@" + digest.text() : rule.name);
  }
  return names;
}

}  // namespace gantry::images
