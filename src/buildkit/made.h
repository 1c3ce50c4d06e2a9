// SPDX-License-Identifier: Apache-2.0
//
// A result that was made and has no name in the store yet: who made it holds its layers. Any
// thread: a client may look at one result in many calls.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "build/builder.h"
#include "build/cache_transfer.h"
#include "build/finish.h"
#include "build/materials.h"
#include "build/stage_state.h"

namespace gantry::buildkit {

// What a result was made from, for its provenance.
struct MadeFrom {
  std::string frontend;                        // "": a definition
  std::map<std::string, std::string> options;  // of the front end
  std::vector<build::Material> materials;
  std::vector<std::string> directories;  // of the client's, by its names
  std::vector<std::string> secrets, agents;
  bool uses_network = false;  // commands had one
  std::string file, text;     // the Dockerfile; "": there is none
};

class Made {
 public:
  virtual ~Made() = default;
  virtual MadeFrom from() = 0;
  // The front end that has asked for the definition, and its options.
  void SetRequest(const std::string& frontend, const std::map<std::string, std::string>& options) {
    MutexLock lock(request_mutex_);
    frontend_ = frontend;
    options_ = options;
  }
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

 protected:
  void FillRequest(MadeFrom* out) {
    MutexLock lock(request_mutex_);
    out->frontend = frontend_;
    out->options = options_;
  }
  const std::vector<std::unique_ptr<Made>>& inputs() const { return inputs_; }

 private:
  std::vector<std::unique_ptr<Made>> inputs_;
  Mutex request_mutex_;
  std::string frontend_ GUARDED_BY(request_mutex_);
  std::map<std::string, std::string> options_ GUARDED_BY(request_mutex_);
};

// Of a Dockerfile.
class BuiltMade : public Made {
 public:
  // Set before anybody else knows it.
  build::BuildOutput output;  // the builder refers to it
  std::unique_ptr<build::Builder> builder;
  MadeFrom made_from;  // but for the materials of its steps

  MadeFrom from() override {
    MadeFrom out = made_from;
    FillRequest(&out);
    std::vector<build::Material> own = builder->materials();
    out.materials.insert(out.materials.end(), own.begin(), own.end());
    for (const std::unique_ptr<Made>& input : inputs()) {
      std::vector<build::Material> of_input = input->from().materials;
      out.materials.insert(out.materials.end(), of_input.begin(), of_input.end());
    }
    return out;
  }
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
