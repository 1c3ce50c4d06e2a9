// SPDX-License-Identifier: Apache-2.0
#include "build/context.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "dockerfile/patterns.h"
#include "formats/compression/compression.h"
#include "kernel/paths.h"
#include "trees/extract_tree.h"

namespace gantry::build {
namespace {

std::string ContextsOf(engine::Engine& engine) { return engine.options().root + "/engine/builds"; }

// A regular file's text; nothing that is waited for.
Result<std::string> ReadIn(BorrowedFd root, const std::string& path, size_t limit) {
  UniqueFd file = TRY(kernel::OpenIn(root, path, O_RDONLY | O_NONBLOCK));
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return ErrnoError("reading '{}'", path);
  if (!S_ISREG(status.st_mode)) return InvalidArgument("{} is not a regular file", path);
  return ReadToEnd(file, limit);
}

}  // namespace

Result<Context> Context::Create(engine::Engine& engine) {
  Context context(engine, ContextsOf(engine) + "/" + RandomHex(8));
  TRY(MakeDirectories(context.path_, 0700));
  context.TakeFiles(TRY(context.MakeDirectory("files")), context.PathOf("files"));
  return context;
}

Context::Context(Context&& other) noexcept
    : engine_(other.engine_),
      path_(std::exchange(other.path_, {})),
      files_(std::move(other.files_)),
      files_path_(std::move(other.files_path_)),
      owner_(std::move(other.owner_)) {}

void Context::TakeFiles(UniqueFd files, std::string path, std::shared_ptr<void> owner) {
  files_ = std::move(files);
  files_path_ = std::move(path);
  owner_ = std::move(owner);
}

Context::~Context() {
  if (path_.empty()) return;
  Result<> discarded = engine_->Discard(path_);
  if (!discarded.ok()) log::Warning("{}", discarded.error().message());
}

Result<UniqueFd> Context::MakeDirectory(const std::string& name) {
  std::string path = path_ + "/" + name;
  TRY(MakeDirectories(path, 0755));
  return OpenFile(path, O_RDONLY | O_DIRECTORY);
}

Result<> Context::Receive(ByteSource& archive, const StopToken& stop) {
  auto plain = TRY(formats::compression::Decompress(archive));
  trees::EntryMaker::Options options;
  options.root = files_;
  options.owner = std::pair(uid_t{0}, gid_t{0});
  return trees::ExtractTree(std::move(options), *plain, stop);
}

Result<> Context::TakeDockerfile(const std::string& text) {
  return CreateFile(path_ + "/files/Dockerfile", text, 0644);
}

Result<std::string> Context::ReadDockerfile(const std::string& path) {
  std::string clean = dockerfile::CleanRelative(path);
  if (clean.starts_with("../") || clean == "..") {
    return InvalidArgument("Forbidden path outside the build context: {}", path);
  }
  Result<std::string> text = ReadIn(files_, clean, dockerfile::kMaxBytes);
  if (!text.ok() && text.error().error_number() == ENOENT) {
    return Internal("Cannot locate specified Dockerfile: {}", path);
  }
  if (!text.ok()) return std::move(text).error().AddContext("reading the Dockerfile");
  if (text->empty()) return InvalidArgument("the Dockerfile ({}) cannot be empty", path);
  return text;
}

Result<> Context::DropIgnored(const std::string& dockerfile_path) {
  Result<std::string> text = ReadIn(files_, ".dockerignore", dockerfile::kMaxBytes);
  if (!text.ok() && text.error().error_number() == ENOENT) return {};
  if (!text.ok()) return std::move(text).error().AddContext("reading .dockerignore");
  auto ignored = TRY_WITH(dockerfile::IgnoreList::Parse(*text), "reading .dockerignore");
  for (const std::string& path :
       {std::string(".dockerignore"), dockerfile::CleanRelative(dockerfile_path)}) {
    if (!ignored.Ignores(path)) continue;
    auto place = TRY(kernel::OpenParentIn(files_, path));
    TRY(kernel::RemoveTreeAt(place.parent, place.name));
  }
  return {};
}

Result<> DiscardContexts(engine::Engine& engine) {
  for (const std::string& name : TRY(ListDirectoryIfThere(ContextsOf(engine)))) {
    TRY(engine.Discard(ContextsOf(engine) + "/" + name));
  }
  return {};
}

}  // namespace gantry::build
