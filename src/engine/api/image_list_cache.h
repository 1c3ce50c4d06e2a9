// SPDX-License-Identifier: Apache-2.0
//
// The answers of GET /images/json without filters as text, kept while what they were made of is the
// same, over restarts of the engine too: thousands of images are thousands of documents to ask the
// container daemon for. What an answer was made of is its state, a digest that the caller reckons.
// Any thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"

namespace gantry::engine::api {

class ImageListCache {
 public:
  // With what a former engine has left at `path`; a file that can't be read counts for nothing.
  explicit ImageListCache(std::string path);

  // `key` is the form of the answer.
  std::shared_ptr<const std::string> Find(const std::string& key, const std::string& state) const;
  void Put(const std::string& key, const std::string& state, std::string text);
  // Nothing that was kept counts any more, not after a kill -9 either.
  void Clear();

 private:
  struct Answer {
    std::string state;
    std::shared_ptr<const std::string> text;
  };
  void Read(const std::string& file) REQUIRES(mutex_);
  std::string Written() const REQUIRES(mutex_);

  const std::string path_;
  mutable Mutex mutex_;
  std::map<std::string, Answer> answers_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine::api
