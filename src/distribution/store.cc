// SPDX-License-Identifier: Apache-2.0
#include "distribution/store.h"

namespace gantry::distribution {
namespace {

Error ReadOnly() { return Unimplemented("this registry is read-only"); }

}  // namespace

using formats::Digest;

Result<> Store::DeleteBlob(const std::string&, const Digest&) { return ReadOnly(); }
Result<bool> Store::MountBlob(const std::string&, const std::string&, const Digest&) {
  return ReadOnly();
}
Result<std::string> Store::BeginUpload(const std::string&, formats::DigestAlgorithm) {
  return ReadOnly();
}
Result<uint64_t> Store::UploadSize(const std::string&, const std::string&) { return ReadOnly(); }
Result<uint64_t> Store::AppendUpload(const std::string&, const std::string&,
                                     std::optional<uint64_t>, ByteSource&) {
  return ReadOnly();
}
Result<> Store::FinishUpload(const std::string&, const std::string&, const Digest&) {
  return ReadOnly();
}
Result<> Store::CancelUpload(const std::string&, const std::string&) { return ReadOnly(); }
Result<Digest> Store::PutManifest(const std::string&, const StoredManifest&,
                                  const std::vector<std::string>&) {
  return ReadOnly();
}
Result<> Store::DeleteManifest(const std::string&, const Digest&) { return ReadOnly(); }
Result<> Store::DeleteTag(const std::string&, const std::string&) { return ReadOnly(); }

}  // namespace gantry::distribution
