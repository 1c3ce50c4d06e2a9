// SPDX-License-Identifier: Apache-2.0
//
// The manifests of a DaemonStore that are pushed and deleted, and who refers to whom.
#include <algorithm>
#include <vector>

#include "base/log.h"
#include "base/undo.h"
#include "distribution/daemon/daemon_store.h"
#include "distribution/manifest.h"

namespace gantry::distribution {
namespace {

using client::Containerd;
using formats::Digest;

// Keeps whoever has it while the subject is kept (docs/garbage-collection.md).
constexpr const char* kSubjectLabel = "containerd.io/gc.bref.content.subject";
// Of a name that was made for a manifest without a tag, not by the daemon's own pull.
constexpr const char* kPushedLabel = "org.gantry.registry.pushed";

std::string DigestName(const std::string& prefix, const Digest& digest) {
  return prefix + "@" + digest.text();
}

// What the manifest keeps.
client::Labels KeepingLabels(const ManifestFacts& facts) {
  client::Labels labels;
  std::vector<Digest> all = facts.blobs;
  all.insert(all.end(), facts.manifests.begin(), facts.manifests.end());
  for (size_t i = 0; i < all.size(); ++i) {
    labels[fmt::format("containerd.io/gc.ref.content.{}", i)] = all[i].text();
  }
  if (!facts.subject.empty()) labels[kSubjectLabel] = facts.subject.text();
  return labels;
}

}  // namespace

Result<Digest> DaemonStore::PutManifest(const std::string& repository,
                                        const StoredManifest& manifest,
                                        const std::vector<std::string>& tags) {
  ManifestFacts facts = TRY(ReadManifest(manifest.content, manifest.media_type));
  std::string prefix = TRY(ImagePrefix(repository));
  // Holds everything until the images' records do.
  std::string lease = "registry/put/" + MakeUploadId();
  TRY(daemon_->CreateLease(lease));
  Undo undo;
  undo.Push([&] {
    Result<> deleted = daemon_->DeleteLease(lease);
    if (!deleted.ok()) log::Warning("ending lease {}: {}", lease, deleted.error().message());
  });
  for (const Digest& blob : facts.blobs) {
    TRY(daemon_->AddToLease(lease, "content", blob.text()));
    auto there = daemon_->GetBlob(blob.text());
    if (!there.ok() && there.error().kind() == ErrorKind::kNotFound) {
      return FailedPrecondition("blob {} is not in {}", blob.text(), repository);
    }
    TRY(std::move(there));
  }
  for (const Digest& child : facts.manifests) {
    TRY(daemon_->AddToLease(lease, "content", child.text()));
  }
  bool has_subject = !facts.subject.empty() && daemon_->GetBlob(facts.subject.text()).ok();
  auto writer = TRY(daemon_->ResumeBlob(lease, lease));
  TRY(writer->Write(manifest.content));
  TRY(writer->CommitAs(manifest.digest.text(), {}));
  // Afterwards, since it may have been there without them, as a blob.
  TRY(daemon_->SetBlobLabels(manifest.digest.text(), KeepingLabels(facts)));
  StoredManifest typed = manifest;
  typed.media_type = facts.media_type;
  TRY(NameManifest(prefix, typed, tags, has_subject));
  TRY(DropChildNames(prefix, facts.manifests));
  for (const Digest& blob : facts.blobs) {
    for (const std::string& holder : TRY(HoldersOf(repository, blob))) {
      TRY(daemon_->DeleteLease(holder));
    }
  }
  return facts.subject;
}

Result<> DaemonStore::NameManifest(const std::string& prefix, const StoredManifest& manifest,
                                   const std::vector<std::string>& tags, bool kept_otherwise) {
  client::Image image;
  image.target = {manifest.media_type, manifest.digest.text(),
                  static_cast<int64_t>(manifest.content.size())};
  for (const std::string& tag : tags) {
    image.name = prefix + ":" + tag;
    auto former = daemon_->GetImage(image.name);
    if (former.ok() && former->target.digest != image.target.digest) {
      former->name = prefix + "@" + former->target.digest;
      former->labels[kPushedLabel] = "1";
      TRY(daemon_->PutImage(*former));
    }
    TRY(daemon_->PutImage(image));
  }
  if (!tags.empty() || kept_otherwise) return {};
  image.name = DigestName(prefix, manifest.digest);
  image.labels[kPushedLabel] = "1";
  return daemon_->PutImage(image);
}

// The index keeps them from now on, and users need not see them beside it.
Result<> DaemonStore::DropChildNames(const std::string& prefix,
                                     const std::vector<Digest>& children) {
  for (const Digest& child : children) {
    auto image = daemon_->GetImage(DigestName(prefix, child));
    if (!image.ok() && image.error().kind() == ErrorKind::kNotFound) continue;
    if (!TRY(std::move(image)).labels.contains(kPushedLabel)) continue;
    TRY(daemon_->DeleteImage(DigestName(prefix, child), /*collect=*/false));
  }
  return {};
}

Result<std::vector<client::Image>> DaemonStore::ImagesOf(const std::string& prefix,
                                                         const Digest& digest) {
  auto images = TRY(daemon_->ListImages());
  std::erase_if(images, [&](const client::Image& image) {
    return image.target.digest != digest.text() ||
           !(image.name.starts_with(prefix + ":") || image.name.starts_with(prefix + "@"));
  });
  return images;
}

Result<> DaemonStore::DeleteManifest(const std::string& repository, const Digest& digest) {
  std::string prefix = TRY(ImagePrefix(repository));
  client::Blob blob = TRY(daemon_->GetBlob(digest.text()));
  auto images = TRY(ImagesOf(prefix, digest));
  bool refers = blob.labels.contains(kSubjectLabel);
  if (images.empty() && !refers) {
    return Unimplemented("manifest {} is a part of another one, or of another repository",
                         digest.text());
  }
  for (const client::Image& image : images) {
    Result<> deleted = daemon_->DeleteImage(image.name, /*collect=*/false);
    if (!deleted.ok() && deleted.error().kind() != ErrorKind::kNotFound) return deleted;
  }
  if (refers) {
    Result<> freed = daemon_->SetBlobLabels(digest.text(), {{kSubjectLabel, ""}});
    if (!freed.ok() && freed.error().kind() != ErrorKind::kNotFound) return freed;
  }
  // The end of a lease is how a client waits for the collector.
  std::string lease = "registry/delete/" + MakeUploadId();
  TRY(daemon_->CreateLease(lease));
  return daemon_->DeleteLease(lease, /*collect=*/true);
}

Result<> DaemonStore::DeleteTag(const std::string& repository, const std::string& tag) {
  std::string prefix = TRY(ImagePrefix(repository));
  auto image = daemon_->GetImage(prefix + ":" + tag);
  if (!image.ok() && image.error().kind() == ErrorKind::kNotFound) {
    return NotFound("manifest {} is not in {}", tag, repository);
  }
  client::Image untagged = TRY(std::move(image));
  auto others = TRY(ImagesOf(prefix, TRY(Digest::Parse(untagged.target.digest))));
  if (others.size() < 2) {
    untagged.name = prefix + "@" + untagged.target.digest;
    untagged.labels[kPushedLabel] = "1";
    TRY(daemon_->PutImage(untagged));
  }
  return daemon_->DeleteImage(prefix + ":" + tag, /*collect=*/false);
}

Result<std::vector<Referrer>> DaemonStore::Referrers(const std::string&, const Digest& subject) {
  std::vector<Referrer> referrers;
  for (const client::Blob& blob : TRY(daemon_->FindBlobs(kSubjectLabel, subject.text()))) {
    auto text = daemon_->ReadBlob(blob.digest, kMaxManifestBytes);
    if (!text.ok() && text.error().kind() == ErrorKind::kNotFound) continue;  // gone meanwhile
    std::string content = TRY(std::move(text));
    auto facts = ReadManifest(content, OwnMediaType(content));
    if (!facts.ok()) continue;  // a label of somebody else
    Referrer& referrer = referrers.emplace_back();
    referrer.digest = TRY(Digest::Parse(blob.digest));
    referrer.media_type = facts->media_type;
    referrer.size = content.size();
    referrer.artifact_type = facts->artifact_type;
    referrer.annotations = std::move(facts->annotations);
  }
  return referrers;
}

}  // namespace gantry::distribution
