// SPDX-License-Identifier: Apache-2.0
//
// Manifests, their tags and referrers.
#include "distribution/manifest.h"
#include "distribution/service.h"
#include "formats/json.h"
#include "formats/reference.h"

namespace gantry::distribution {
namespace {

using formats::Digest;
using formats::Json;

bool IsDigest(std::string_view reference) { return reference.find(':') != reference.npos; }

Result<> CheckReference(const std::string& reference) {
  if (IsDigest(reference)) {
    TRY(Digest::Parse(reference));
  } else if (!formats::IsValidTag(reference)) {
    return InvalidArgument("'{}' is no tag", reference);
  }
  return {};
}

Json DescriptorOf(const Referrer& referrer) {
  Json annotations = Json::MakeObject({});
  for (const auto& [key, value] : referrer.annotations) annotations.Set(key, value);
  Json descriptor = Json::MakeObject({{"mediaType", referrer.media_type},
                                      {"digest", referrer.digest.text()},
                                      {"size", static_cast<int64_t>(referrer.size)}});
  if (!referrer.artifact_type.empty()) descriptor.Set("artifactType", referrer.artifact_type);
  if (!referrer.annotations.empty()) descriptor.Set("annotations", std::move(annotations));
  return descriptor;
}

}  // namespace

Result<> Service::GetManifest(wire::Exchange& exchange, const Route& route) {
  // What can't be a tag is the tag of no manifest.
  if (!CheckReference(route.reference).ok()) {
    return NotFound("manifest {} is not in {}", route.reference, route.repository);
  }
  StoredManifest manifest = TRY(store_->GetManifest(route.repository, route.reference));
  auto& headers = exchange.headers();
  headers.Set("Content-Type", manifest.media_type);
  headers.Set("Docker-Content-Digest", manifest.digest.text());
  std::string tag = "\"" + manifest.digest.text() + "\"";
  headers.Set("ETag", tag);
  if (exchange.request().headers.Get("If-None-Match") == tag) return exchange.Respond(304);
  return exchange.Respond(200, manifest.content);
}

Result<> Service::PutManifest(wire::Exchange& exchange, const Route& route) {
  TRY(CheckReference(route.reference));
  std::vector<std::string> tags = exchange.query().GetAll("tag");
  for (const std::string& tag : tags) {
    if (!formats::IsValidTag(tag)) return InvalidArgument("'{}' is no tag", tag);
  }
  StoredManifest manifest;
  manifest.media_type = exchange.request().headers.Get("Content-Type");
  manifest.content = TRY(exchange.ReadBody(kMaxManifestBytes));
  if (IsDigest(route.reference)) {
    Digest wanted = TRY(Digest::Parse(route.reference));
    manifest.digest = Digest::Of(manifest.content, wanted.algorithm());
    if (manifest.digest != wanted) {
      return RespondError(exchange, 400, "DIGEST_INVALID",
                          "the manifest's digest is " + manifest.digest.text());
    }
  } else {
    manifest.digest = Digest::Of(manifest.content);
    tags.push_back(route.reference);
  }
  Digest subject = TRY(store_->PutManifest(route.repository, manifest, tags));
  auto& headers = exchange.headers();
  headers.Set("Location",
              fmt::format("/v2/{}/manifests/{}", route.repository, manifest.digest.text()));
  headers.Set("Docker-Content-Digest", manifest.digest.text());
  if (!subject.empty()) headers.Set("OCI-Subject", subject.text());
  if (IsDigest(route.reference)) {
    for (const std::string& tag : tags) headers.Add("OCI-Tag", tag);
  }
  return exchange.Respond(201);
}

Result<> Service::DeleteManifest(wire::Exchange& exchange, const Route& route) {
  TRY(CheckReference(route.reference));
  if (IsDigest(route.reference)) {
    TRY(store_->DeleteManifest(route.repository, TRY(Digest::Parse(route.reference))));
  } else {
    TRY(store_->DeleteTag(route.repository, route.reference));
  }
  return exchange.Respond(202);
}

Result<> Service::ListReferrers(wire::Exchange& exchange, const Route& route) {
  Digest subject = TRY(Digest::Parse(route.reference));
  const std::string* type = exchange.query().Find("artifactType");
  Json manifests = Json::MakeArray();
  for (const Referrer& referrer : TRY(store_->Referrers(route.repository, subject))) {
    if (type == nullptr || referrer.artifact_type == *type) {
      manifests.Append(DescriptorOf(referrer));
    }
  }
  static constexpr const char* kIndex = "application/vnd.oci.image.index.v1+json";
  Json index = Json::MakeObject(
      {{"schemaVersion", 2}, {"mediaType", kIndex}, {"manifests", std::move(manifests)}});
  exchange.headers().Set("Content-Type", kIndex);
  if (type != nullptr) exchange.headers().Set("OCI-Filters-Applied", "artifactType");
  return exchange.Respond(200, index.Dump());
}

}  // namespace gantry::distribution
