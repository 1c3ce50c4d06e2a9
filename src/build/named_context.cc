// SPDX-License-Identifier: Apache-2.0
//
// Contexts that a client names (--build-context NAME=…): an image, an image in a layout of the
// client's (layout_context.cc), or a directory of the client's.
#include <fcntl.h>

#include <utility>

#include "build/builder.h"
#include "formats/reference.h"

namespace gantry::build {

const NamedContext* Builder::FindContext(const std::string& name) const {
  if (request_.contexts.empty()) return nullptr;
  std::string wanted = name;
  auto reference = formats::ParseReference(name);
  if (reference.ok()) wanted = reference->Familiar();
  constexpr std::string_view kLatest = ":latest";
  if (wanted.ends_with(kLatest)) wanted.resize(wanted.size() - kLatest.size());
  auto found = request_.contexts.find(wanted);
  return found == request_.contexts.end() ? nullptr : &found->second;
}

Result<engine::NamedImage> Builder::ImageOfContext(const NamedContext& context,
                                                   const std::string& platform) {
  if (context.kind == NamedContext::Kind::kLayout) return ImageOfLayout(context.value);
  return BaseImage(context.value, platform);
}

Result<SourceTree> Builder::TreeOfDirectory(const std::string& name) {
  auto receive = [&]() -> Result<Common::Directory> {
    std::string beside = fmt::format("beside-{}", ++beside_);
    UniqueFd files = TRY(context_.MakeDirectory(beside));
    TRY_WITH(request_.receive_directory(name, files), "receiving the context {}", name);
    return Common::Directory{std::move(files), context_.PathOf(beside)};
  };
  Common::Directory* directory = TRY(common_->directories.Get(name, stop_, receive));
  return SourceTree{directory->files, "", directory->path};
}

Result<> Builder::BeginWithDirectory(const std::string& name) {
  SourceTree tree = TRY(TreeOfDirectory(name));
  FindRequest find;
  find.root = tree.root;
  find.missing = "FROM failed";
  find.stop = stop_;
  std::vector<CopySource> sources;
  sources.push_back(TRY(FindSource(find, "")));
  *state_ = StateOfScratch();
  MixEpoch(state_);
  std::string created_by = "/bin/sh -c #(nop) COPY dir:" + sources[0].hash + " in / ";
  std::string key = HexDigest(state_->cache_key + "\n" + created_by);
  if (TRY(TakeCached(key, created_by))) return {};
  return ChangeFiles(key, created_by, [&](BorrowedFd root) {
    CopyRequest request;
    request.root = root;
    request.destination = "/";
    request.stop = stop_;
    request.workers = &engine_.workers();
    return CopyInto(request, sources);
  });
}

}  // namespace gantry::build
