// SPDX-License-Identifier: Apache-2.0
#include "engine/image_index.h"

#include <utility>

#include "formats/digest.h"
#include "formats/reference.h"

namespace gantry::engine {
namespace {

// Docker's ids may be cut; fewer digits than this are a name.
constexpr size_t kMinIdDigits = 4;

bool IsHex(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The digits of "sha256:abc…" or "abc…", or "" for what can't be an id.
std::string_view IdPrefix(std::string_view reference) {
  if (reference.starts_with("sha256:")) reference.remove_prefix(7);
  bool fits = reference.size() >= kMinIdDigits && reference.size() <= 64 && IsHex(reference);
  return fits ? reference : std::string_view();
}

bool IsFor(const oci::Platform& wanted, const oci::Platform& has) {
  return oci::MatchPlatform(wanted, has) >= oci::kSameArchitecture;
}

}  // namespace

const formats::Json& ImageDocuments::container_config() const {
  static const formats::Json kNone = formats::Json::MakeObject();
  const formats::Json& config = config_json["config"];
  return config.is_null() ? kNone : config;
}

Result<std::string> StoreName(std::string_view reference) {
  return formats::WithDefaultTag(TRY(formats::ParseReference(reference))).ToString();
}

std::shared_ptr<const ImageDocuments> ImageIndex::Known(const std::string& key) {
  MutexLock lock(mutex_);
  auto found = known_.find(key);
  return found == known_.end() ? nullptr : found->second;
}

Result<std::shared_ptr<const ImageDocuments>> ImageIndex::Documents(
    const client::Descriptor& target, const oci::Platform* platform) {
  if (!oci::IsIndex(target.media_type)) {
    auto documents = TRY(ReadManifest(target));
    if (platform == nullptr || IsFor(*platform, documents->config.platform)) return documents;
    return NotFound("no manifest for platform {}", platform->ToString());
  }
  if (platform == nullptr) {
    if (auto known = Known(target.digest)) return known;
  }
  std::string text = TRY(containerd_.ReadBlob(target.digest, oci::kMaxDocumentBytes));
  oci::Index index = TRY(oci::ParseIndex(text, target.media_type));
  oci::Platform wanted = platform != nullptr ? *platform : oci::HostPlatform();
  Kept kept = TRY(KeptBy(target.digest));
  bool best = true;
  for (const oci::Descriptor& item : oci::RankPlatforms(index, wanted)) {
    if (platform != nullptr && item.platform && !IsFor(wanted, *item.platform)) continue;
    if (!kept.Contains(item.digest.text())) {
      best = false;
      continue;
    }
    auto documents = ReadManifest({item.media_type, item.digest.text(), item.size});
    bool absent = !documents.ok() && documents.error().kind() == ErrorKind::kNotFound;
    bool other = documents.ok() && platform != nullptr && !item.platform &&
                 !IsFor(wanted, (*documents)->config.platform);
    if (absent || other) {
      best = false;
      continue;
    }
    auto found = TRY(std::move(documents));
    MutexLock lock(mutex_);
    // A better one may come with the next pull.
    if (best && platform == nullptr) known_.emplace(target.digest, found);
    return found;
  }
  return NotFound("no manifest for platform {} is here", wanted.ToString());
}

Result<std::shared_ptr<const ImageDocuments>> ImageIndex::ReadManifest(
    const client::Descriptor& manifest) {
  if (auto known = Known(manifest.digest)) return known;
  auto documents = std::make_shared<ImageDocuments>();
  documents->manifest_descriptor = manifest;
  std::string text = TRY(containerd_.ReadBlob(manifest.digest, oci::kMaxDocumentBytes));
  documents->manifest = TRY(oci::ParseManifest(text, manifest.media_type));
  const oci::Descriptor& config = documents->manifest.config;
  if (!oci::IsConfig(config.media_type)) {
    return InvalidArgument("it is an artifact of type '{}', not an image", config.media_type);
  }
  std::string config_text = TRY(containerd_.ReadBlob(config.digest.text(), oci::kMaxDocumentBytes));
  documents->id = config.digest.text();
  documents->config = TRY(oci::ParseImageConfig(config_text));
  documents->config_json = TRY(formats::Json::Parse(config_text));
  std::vector<formats::Digest> chain = oci::ChainIds(documents->config.diff_ids);
  if (!chain.empty()) documents->top_chain_id = chain.back().text();

  MutexLock lock(mutex_);
  return known_.emplace(manifest.digest, std::move(documents)).first->second;
}

ImageIndex::Kept::Kept(const client::Labels& labels) {
  constexpr std::string_view kReference = "containerd.io/gc.ref.content.";
  for (const auto& [key, value] : labels) {
    if (!key.starts_with(kReference)) continue;
    all_ = false;
    digests_.insert(value);
  }
}

Result<ImageIndex::Kept> ImageIndex::KeptBy(const std::string& index) {
  return Kept(TRY(containerd_.GetBlob(index)).labels);
}

void ImageIndex::Forget(const std::string& index, const std::string& manifest) {
  MutexLock lock(mutex_);
  known_.erase(index);
  known_.erase(manifest);
}

Result<std::vector<NamedImage>> ImageIndex::List() {
  std::vector<NamedImage> out;
  for (client::Image& image : TRY(containerd_.ListImages())) {
    Result<std::shared_ptr<const ImageDocuments>> documents = Documents(image.target);
    if (!documents.ok()) {
      // Of one whose platforms are all gone there is nothing to tell, nor of what has no form of an
      // image; anything else is a fault.
      ErrorKind kind = documents.error().kind();
      if (kind == ErrorKind::kNotFound || kind == ErrorKind::kInvalidArgument) continue;
      return std::move(documents).error().AddContext(fmt::format("image '{}'", image.name));
    }
    out.push_back({std::move(image), *std::move(documents)});
  }
  return out;
}

Result<NamedImage> ImageIndex::Resolve(std::string_view reference, const oci::Platform* platform) {
  NamedImage image = TRY(Find(reference));
  if (platform == nullptr) return image;
  auto documents = Documents(image.image.target, platform);
  if (!documents.ok() && documents.error().kind() == ErrorKind::kNotFound) {
    return NotFound(
        "image with reference {} was found but does not provide the specified platform ({})",
        reference, platform->ToString());
  }
  image.documents = TRY(std::move(documents));
  return image;
}

Result<bool> ImageIndex::HasConfig(const client::Descriptor& target, const std::string& id) {
  Result<std::shared_ptr<const ImageDocuments>> best = Documents(target);
  if (best.ok() && (*best)->id == id) return true;
  if (!oci::IsIndex(target.media_type)) {
    if (!best.ok()) return std::move(best).error();
    return false;
  }
  std::string text = TRY(containerd_.ReadBlob(target.digest, oci::kMaxDocumentBytes));
  for (const oci::Descriptor& item : TRY(oci::ParseIndex(text, target.media_type)).manifests) {
    auto documents = ReadManifest({item.media_type, item.digest.text(), item.size});
    if (documents.ok() && (*documents)->id == id) return true;
  }
  return false;
}

bool ImageIndex::StandsFor(const std::string& store_name, const std::string& id) {
  constexpr std::chrono::seconds kKept(1);
  std::pair<std::string, std::string> key(store_name, id);
  uint64_t changes = containerd_.image_changes();
  {
    MutexLock lock(mutex_);
    auto now = SteadyClock::now();
    if (standing_changes_ != changes || now - standing_since_ >= kKept) {
      standing_.clear();
      standing_changes_ = changes;
      standing_since_ = now;
    }
    auto known = standing_.find(key);
    if (known != standing_.end()) return known->second;
  }
  Result<client::Image> image = containerd_.GetImage(store_name);
  Result<bool> has =
      image.ok() ? HasConfig(image->target, id) : Result<bool>(std::move(image).error());
  bool stands = has.ok() ? *has : has.error().kind() != ErrorKind::kNotFound;
  MutexLock lock(mutex_);
  if (standing_changes_ == changes) standing_[std::move(key)] = stands;
  return stands;
}

Result<NamedImage> ImageIndex::Find(std::string_view reference) {
  // A name comes first, as in docker: "busybox" may look like hexadecimal digits to nobody, "cafe"
  // does.
  Result<std::string> name = StoreName(reference);
  if (name.ok() && !reference.starts_with("sha256:")) {
    Result<client::Image> image = containerd_.GetImage(*name);
    if (image.ok()) {
      auto documents = TRY(Documents(image->target));
      return NamedImage{*std::move(image), std::move(documents)};
    }
    if (image.error().kind() != ErrorKind::kNotFound) return std::move(image).error();
  }
  Result<formats::Reference> parsed = formats::ParseReference(reference);
  if (parsed.ok() && !parsed->digest.empty()) {
    // A tag of that repository which stands for that digest.
    for (NamedImage& candidate : TRY(List())) {
      if (candidate.image.target.digest != parsed->digest.text()) continue;
      Result<formats::Reference> known = formats::ParseReference(candidate.image.name);
      if (known.ok() && known->Repository() == parsed->Repository()) return std::move(candidate);
    }
  }
  std::string_view digits = IdPrefix(reference);
  if (!digits.empty()) {
    std::optional<NamedImage> match;
    for (NamedImage& candidate : TRY(List())) {
      std::string_view id = candidate.documents->id;
      std::string_view target = candidate.image.target.digest;
      bool fits = id.substr(id.find(':') + 1).starts_with(digits) ||
                  target.substr(target.find(':') + 1).starts_with(digits);
      if (!fits) continue;
      if (match && match->documents->id != candidate.documents->id) {
        return InvalidArgument("multiple IDs found with provided prefix: {}", reference);
      }
      match = std::move(candidate);
    }
    if (match) return *std::move(match);
  }
  if (!name.ok() && digits.empty()) {
    return InvalidArgument("invalid reference format");
  }
  Result<formats::Reference> asked = formats::ParseReference(reference);
  if (!asked.ok() || reference.starts_with("sha256:")) {
    return NotFound("No such image: {}", reference);
  }
  return NotFound("No such image: {}", formats::WithDefaultTag(*std::move(asked)).Familiar());
}

}  // namespace gantry::engine
