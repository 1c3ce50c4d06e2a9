// SPDX-License-Identifier: Apache-2.0
//
// A result that was made and has no name in the store yet: who made it holds its layers. Any
// thread: a client may look at one result in many calls.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "build/builder.h"
#include "build/cache_transfer.h"
#include "build/finish.h"
#include "build/stage_state.h"

namespace gantry::buildkit {

class Made {
 public:
  virtual ~Made() = default;
  virtual build::StageState result() = 0;
  // All that was made on the way to it.
  virtual std::vector<build::StageState> Stages() = 0;
  // The image; its id. One thread.
  virtual Result<std::string> Store(const build::StoreAs& as) = 0;
  // The image's configuration, as the front end that made the definition says.
  virtual Result<> SetConfig(const std::string& json) = 0;
  // A part of the image's configuration from now on.
  virtual void SetInlineCache(const build::CacheDocument& document) = 0;
  // Its files, read only, as long as the object lives.
  virtual Result<BorrowedFd> OpenFiles() = 0;

  // Lives as long as this one. Before anybody else knows it.
  void HoldInput(std::unique_ptr<Made> input) { inputs_.push_back(std::move(input)); }

 private:
  std::vector<std::unique_ptr<Made>> inputs_;
};

// Of a Dockerfile.
class BuiltMade : public Made {
 public:
  // Set before anybody else knows it.
  build::BuildOutput output;  // the builder refers to it
  std::unique_ptr<build::Builder> builder;

  build::StageState result() override {
    MutexLock lock(mutex_);
    return builder->result();
  }
  std::vector<build::StageState> Stages() override {
    MutexLock lock(mutex_);
    return builder->Stages();
  }
  Result<std::string> Store(const build::StoreAs& as) override { return builder->Store(as); }
  // The Dockerfile says it.
  Result<> SetConfig(const std::string&) override { return {}; }
  void SetInlineCache(const build::CacheDocument& document) override {
    MutexLock lock(mutex_);
    build::SetInlineCache(document, &builder->mutable_result());
  }
  Result<BorrowedFd> OpenFiles() override {
    MutexLock lock(mutex_);
    return builder->OpenResult();
  }

 private:
  Mutex mutex_;  // of what the builder has come to
};

}  // namespace gantry::buildkit
