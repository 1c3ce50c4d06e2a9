// SPDX-License-Identifier: Apache-2.0
//
// The files that a client sends for a build: a tar archive, compressed or not, extracted into a
// directory that nobody else reads. What is in it is hostile: it is only ever opened below its
// root. One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"
#include "dockerfile/instruction.h"
#include "engine/engine.h"

namespace gantry::build {

class Context {
 public:
  // ROOT/engine/builds/ID; discarded with the object.
  static Result<Context> Create(engine::Engine& engine);
  Context(Context&& other) noexcept;
  Context& operator=(Context&&) = delete;
  ~Context();

  // Everything becomes root's, as docker has it.
  Result<> Receive(ByteSource& archive, const StopToken& stop);
  // The Dockerfile alone.
  Result<> TakeDockerfile(const std::string& text);

  // In docker's words when it is not there, or empty.
  Result<std::string> ReadDockerfile(const std::string& path);
  // Clients send .dockerignore and the Dockerfile even where .dockerignore leaves them out.
  Result<> DropIgnored(const std::string& dockerfile);

  // Those that are elsewhere from now on; `owner` is let go of with the context.
  void TakeFiles(UniqueFd files, std::string path, std::shared_ptr<void> owner = nullptr);

  BorrowedFd files() const { return files_; }
  const std::string& files_path() const { return files_path_; }
  // Of a directory beside them.
  std::string PathOf(const std::string& name) const { return path_ + "/" + name; }
  // A new directory beside them, for downloads.
  Result<UniqueFd> MakeDirectory(const std::string& name);

 private:
  Context(engine::Engine& engine, std::string path) : engine_(&engine), path_(std::move(path)) {}

  engine::Engine* engine_;
  std::string path_;
  UniqueFd files_;
  std::string files_path_;
  std::shared_ptr<void> owner_;
};

// What a crash has left.
Result<> DiscardContexts(engine::Engine& engine);

}  // namespace gantry::build
