// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/image_tree.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/table.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

using formats::Json;

constexpr size_t kColumns = 5;
using TreeRow = std::array<std::string, kColumns>;

std::string SizeText(const Json& bytes) { return formats::HumanSize(bytes.AsDouble(), 3); }

std::string PlatformOf(const Json& manifest) {
  const Json& platform = manifest["ImageData"]["Platform"];
  std::string text =
      fmt::format("{}/{}", platform["os"].AsString(), platform["architecture"].AsString());
  const std::string& variant = platform["variant"].AsString();
  return variant.empty() ? text : text + "/" + variant;
}

void AddImage(const Json& image, std::vector<TreeRow>* rows) {
  std::vector<const Json*> platforms;
  bool used = false;
  for (const Json& manifest : image["Manifests"].items()) {
    if (manifest["Kind"].AsString() != "image") continue;
    platforms.push_back(&manifest);
    used = used || manifest["ImageData"]["Containers"].size() > 0;
  }
  std::vector<std::string> names;
  for (const Json& tag : image["RepoTags"].items()) names.push_back(tag.AsString());
  if (names.empty()) names.emplace_back("<untagged>");
  for (size_t i = 0; i + 1 < names.size(); ++i) rows->push_back({names[i], "", "", "", ""});
  double content = 0;
  for (const Json* manifest : platforms) content += (*manifest)["Size"]["Content"].AsDouble();
  rows->push_back({names.back(), ShortId(image["Id"].AsString()), SizeText(image["Size"]),
                   formats::HumanSize(content, 3), used ? "U" : ""});
  for (size_t i = 0; i < platforms.size(); ++i) {
    const Json& manifest = *platforms[i];
    bool last = i + 1 == platforms.size();
    rows->push_back({(last ? "└─ " : "├─ ") + PlatformOf(manifest),
                     ShortId(manifest["ID"].AsString()), SizeText(manifest["Size"]["Total"]),
                     SizeText(manifest["Size"]["Content"]),
                     manifest["ImageData"]["Containers"].size() > 0 ? "U" : ""});
  }
  rows->push_back({});
}

}  // namespace

std::string ImageTree(const Json& images) {
  std::vector<const Json*> sorted;
  for (const Json& image : images.items()) sorted.push_back(&image);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Json* a, const Json* b) {
    return (*a)["Created"].AsInt() > (*b)["Created"].AsInt();
  });
  std::vector<TreeRow> rows = {{"IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"}};
  for (const Json* image : sorted) AddImage(*image, &rows);
  std::array<size_t, kColumns> widths{};
  for (const TreeRow& row : rows) {
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], CountCharacters(row[i]));
  }
  std::string out;
  for (const TreeRow& row : rows) {
    std::string line;
    for (size_t i = 0; i < kColumns; ++i) {
      std::string pad(widths[i] - CountCharacters(row[i]), ' ');
      bool number = i == 2 || i == 3;
      line += (i == 0 ? "" : "   ") + (number ? pad + row[i] : row[i] + pad);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace gantry::cli
