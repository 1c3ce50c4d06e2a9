// SPDX-License-Identifier: Apache-2.0
#include "distribution/daemon/daemon_store.h"

#include <set>

#include "distribution/manifest.h"
#include "formats/reference.h"

namespace gantry::distribution {
namespace {

using formats::Digest;
using formats::Reference;

// Repository and tag of an image's name; nothing for one that has no tag.
std::optional<Reference> TaggedName(const client::Image& image) {
  auto reference = formats::ParseReference(image.name);
  if (!reference.ok() || reference->tag.empty()) return std::nullopt;
  return *std::move(reference);
}

// Sorted; those after `after`, at most `limit`.
std::vector<std::string> Page(const std::set<std::string>& all, const std::string& after,
                              size_t limit) {
  std::vector<std::string> page;
  for (auto one = all.upper_bound(after); one != all.end() && page.size() < limit; ++one) {
    page.push_back(*one);
  }
  return page;
}

// No image can have what is no name.
Result<std::string> KnownPrefix(const std::string& repository) {
  auto prefix = ImagePrefix(repository);
  if (!prefix.ok()) return NotFound("repository {} is not here", repository);
  return prefix;
}

}  // namespace

Result<std::string> ImagePrefix(const std::string& repository) {
  auto reference = TRY(formats::ParseReference(repository));
  if (!reference.tag.empty() || !reference.digest.empty()) {
    return InvalidArgument("'{}' is no repository", repository);
  }
  return reference.Repository();
}

Result<std::unique_ptr<DaemonStore>> DaemonStore::Open(const std::string& address,
                                                       const std::string& name_space) {
  auto daemon = client::Containerd::Create(address, name_space);
  TRY_WITH(daemon->Version(), "opening the store of '{}'", address);
  return std::unique_ptr<DaemonStore>(new DaemonStore(std::move(daemon)));
}

Result<std::vector<std::string>> DaemonStore::Repositories(const std::string& after, size_t limit) {
  std::set<std::string> names;
  for (const client::Image& image : TRY(daemon_->ListImages())) {
    auto reference = TaggedName(image);
    if (reference && reference->domain.find(':') == std::string::npos) {
      names.insert(reference->FamiliarRepository());
    }
  }
  return Page(names, after, limit);
}

Result<std::vector<std::string>> DaemonStore::Tags(const std::string& repository,
                                                   const std::string& after, size_t limit) {
  std::string prefix = TRY(KnownPrefix(repository));
  std::set<std::string> tags;
  for (const client::Image& image : TRY(daemon_->ListImages())) {
    auto reference = TaggedName(image);
    if (reference && reference->Repository() == prefix) tags.insert(reference->tag);
  }
  if (tags.empty()) return NotFound("repository {} is not here", repository);
  return Page(tags, after, limit);
}

Result<uint64_t> DaemonStore::BlobSize(const std::string&, const Digest& digest) {
  return static_cast<uint64_t>(TRY(daemon_->GetBlob(digest.text())).size);
}

Result<> DaemonStore::ReadBlob(const std::string&, const Digest& digest, uint64_t offset,
                               uint64_t length, const Take& take) {
  if (length == 0) return {};
  return daemon_->ReadBlobPart(digest.text(), offset, length, take);
}

Result<StoredManifest> DaemonStore::GetManifest(const std::string& repository,
                                                const std::string& reference) {
  StoredManifest manifest;
  std::string digest = reference;
  if (reference.find(':') == std::string::npos) {
    auto image = daemon_->GetImage(TRY(KnownPrefix(repository)) + ":" + reference);
    if (!image.ok() && image.error().kind() == ErrorKind::kNotFound) {
      return NotFound("manifest {} is not in {}", reference, repository);
    }
    digest = TRY(std::move(image)).target.digest;
    manifest.media_type = image->target.media_type;
  }
  manifest.digest = TRY(Digest::Parse(digest));
  manifest.content = TRY(daemon_->ReadBlob(digest, kMaxManifestBytes));
  if (manifest.media_type.empty()) manifest.media_type = OwnMediaType(manifest.content);
  return manifest;
}

}  // namespace gantry::distribution
