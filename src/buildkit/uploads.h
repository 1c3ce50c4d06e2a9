// SPDX-License-Identifier: Apache-2.0
//
// Contexts that come with a request of their own: the build is another request, which names the
// first one's body. Whichever comes first waits for the other. Any thread; calls block.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/undo.h"

namespace gantry::buildkit {

class Uploads {
 public:
  struct Taken {
    ByteSource* body = nullptr;
    Undo done;  // lets go of it
  };

  // Returns when the build that took the body is done with it. kNotFound: none has come within
  // `bound`. kAlreadyExists: the id is in use.
  Result<> Offer(const std::string& id, ByteSource& body, std::chrono::milliseconds bound);
  // kNotFound: nobody has offered it within `bound`.
  Result<Taken> Take(const std::string& id, std::chrono::milliseconds bound);

 private:
  enum class Step : uint8_t { kOffered, kTaken, kDone };
  struct Upload {
    ByteSource* body = nullptr;
    Step step = Step::kOffered;
  };

  void Done(const std::string& id);

  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, Upload> uploads_ GUARDED_BY(mutex_);
};

}  // namespace gantry::buildkit
