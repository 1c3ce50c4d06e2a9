// SPDX-License-Identifier: Apache-2.0
#include "build/materials.h"

#include <algorithm>
#include <utility>

#include "build/stage_state.h"
#include "formats/reference.h"

namespace gantry::build {
namespace {

// What a package URL has as it is (purl-spec, "Character encoding").
bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_' || c == '~' || c == ':';
}

std::string Escaped(std::string_view text, std::string_view plain = "") {
  std::string out;
  for (char c : text) {
    if (IsPlain(c) || plain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace

std::string ImagePackageUrl(const std::string& name, const oci::Platform& platform) {
  auto parsed = formats::ParseReference(name);
  if (!parsed.ok()) return name;
  const formats::Reference named = formats::WithDefaultTag(*parsed);
  std::string out = "pkg:docker/" + Escaped(named.FamiliarRepository(), "/");
  if (!named.tag.empty()) out += "@" + Escaped(named.tag);
  out += "?";
  if (!named.digest.empty()) out += "digest=" + Escaped(named.digest.text()) + "&";
  return out + "platform=" + Escaped(platform.ToString());
}

Material MaterialOf(const GitUrl& url, const GitTree& tree) {
  std::string uri = WithoutCredentials(url.repository);
  if (!url.reference.empty()) uri += "#" + url.reference;
  return {std::move(uri), tree.commit.size() == 64 ? "sha256" : "sha1", tree.commit};
}

void Materials::Add(Material material) {
  MutexLock lock(mutex_);
  if (std::find(all_.begin(), all_.end(), material) == all_.end()) {
    all_.push_back(std::move(material));
  }
}

void Materials::AddImage(const std::string& name, const engine::NamedImage& image) {
  const std::string& digest = image.image.target.digest;
  size_t colon = digest.find(':');
  Add({ImagePackageUrl(name, StateOfImage(image).platform), digest.substr(0, colon),
       digest.substr(std::min(digest.size(), colon + 1))});
}

std::vector<Material> Materials::List() const {
  std::vector<Material> out;
  {
    MutexLock lock(mutex_);
    out = all_;
  }
  std::sort(out.begin(), out.end(),
            [](const Material& a, const Material& b) { return a.uri < b.uri; });
  return out;
}

}  // namespace gantry::build
