// SPDX-License-Identifier: Apache-2.0
//
// A pid file that its owner keeps locked (flock(2)): a second daemon on the same state is refused,
// and a file left by kill -9 stands in nobody's way. Movable; the lock goes with it.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry {

class PidFile {
 public:
  // Makes the directories. kAlreadyExists when a living process has it, and which.
  static Result<PidFile> Lock(const std::string& path);
  PidFile(PidFile&&) = default;
  PidFile& operator=(PidFile&&) = delete;
  ~PidFile();

 private:
  PidFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

}  // namespace gantry
