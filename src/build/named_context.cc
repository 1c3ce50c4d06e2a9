// SPDX-License-Identifier: Apache-2.0
//
// Contexts that a client names (--build-context NAME=…): an image, an image in a layout of the
// client's (layout_context.cc), a directory of the client's, or something from the web.
#include <fcntl.h>

#include <utility>

#include "build/builder.h"
#include "build/git_url.h"
#include "build/remote_context.h"
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

bool Builder::IsFiles(const NamedContext* context) {
  using Kind = NamedContext::Kind;
  return context != nullptr &&
         (context->kind == Kind::kDirectory || context->kind == Kind::kRemote);
}

Result<Builder::Directory*> Builder::FilesOf(const NamedContext& context) {
  auto get = [&]() -> Result<Directory> {
    std::string beside = fmt::format("beside-{}", ++beside_);
    if (context.kind == NamedContext::Kind::kRemote) {
      RemoteTree tree = TRY_WITH(FetchNamed(request_, context.value, context_, beside, stop_),
                                 "fetching the context {}", WithoutCredentials(context.value));
      return Directory{std::move(tree.files), std::move(tree.path), tree.time};
    }
    UniqueFd files = TRY(context_.MakeDirectory(beside));
    TRY_WITH(request_.receive_directory(context.value, files), "receiving the context {}",
             context.value);
    return Directory{std::move(files), context_.PathOf(beside), {}};
  };
  return common_->directories.Get(context.value, stop_, get);
}

Result<SourceTree> Builder::TreeOfFiles(const NamedContext& context) {
  Directory* directory = TRY(FilesOf(context));
  return SourceTree{directory->files, "", directory->path};
}

Result<> Builder::BeginWithFiles(const NamedContext& context) {
  SourceTree tree = TRY(TreeOfFiles(context));
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
