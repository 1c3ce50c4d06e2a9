// SPDX-License-Identifier: Apache-2.0
#include "engine/api/image_list_cache.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "base/io.h"
#include "base/log.h"
#include "base/number.h"
#include "base/text.h"

namespace gantry::engine::api {
namespace {

// API versions and forms of it that are asked for at the same time.
constexpr size_t kMaxAnswers = 4;
constexpr size_t kMaxFileBytes = size_t{64} << 20;

}  // namespace

// The file: for each answer a line "KEY STATE BYTES", then so many bytes and a line's end.
ImageListCache::ImageListCache(std::string path) : path_(std::move(path)) {
  auto file = ReadFile(path_, kMaxFileBytes);
  MutexLock lock(mutex_);
  if (file.ok()) Read(*file);
}

void ImageListCache::Read(const std::string& file) {
  for (size_t at = 0; at < file.size();) {
    size_t end = file.find('\n', at);
    if (end == std::string::npos) return;
    std::vector<std::string> words = Split(file.substr(at, end - at), ' ');
    auto bytes = words.size() == 3 ? ParseNumber<size_t>(words[2]) : std::nullopt;
    if (!bytes || *bytes > file.size() - end - 1) return;
    answers_[words[0]] = {words[1],
                          std::make_shared<const std::string>(file.substr(end + 1, *bytes))};
    at = end + 1 + *bytes + 1;
  }
}

std::string ImageListCache::Written() const {
  std::string file;
  for (const auto& [key, answer] : answers_) {
    file += fmt::format("{} {} {}\n{}\n", key, answer.state, answer.text->size(), *answer.text);
  }
  return file;
}

std::shared_ptr<const std::string> ImageListCache::Find(const std::string& key,
                                                        const std::string& state) const {
  MutexLock lock(mutex_);
  auto found = answers_.find(key);
  if (found == answers_.end() || found->second.state != state) return nullptr;
  return found->second.text;
}

void ImageListCache::Put(const std::string& key, const std::string& state, std::string text) {
  MutexLock lock(mutex_);
  if (answers_.size() >= kMaxAnswers && !answers_.contains(key)) answers_.clear();
  answers_[key] = {state, std::make_shared<const std::string>(std::move(text))};
  auto written = ReplaceFile(path_, Written(), 0600);
  if (!written.ok()) log::Warning("keeping the list of images: {}", written.error().message());
}

void ImageListCache::Clear() {
  MutexLock lock(mutex_);
  answers_.clear();
  ::unlink(path_.c_str());
}

}  // namespace gantry::engine::api
