// SPDX-License-Identifier: Apache-2.0
//
// A file that a user has named for a result: it has its name once it is whole, and a result that
// was given up leaves nothing. What is there and no plain file, such as /dev/null or a pipe, is
// written as it is. One thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry {

class OutputFile {
 public:
  static Result<OutputFile> Create(const std::string& path, mode_t mode);
  ~OutputFile();
  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;

  // Of what is written next; invalid after Finish().
  BorrowedFd fd() const { return file_; }
  Result<> Finish();

 private:
  OutputFile(std::string path, std::string beside, UniqueFd file)
      : path_(std::move(path)), beside_(std::move(beside)), file_(std::move(file)) {}

  std::string path_;
  std::string beside_;  // where it is until then; "" is the path itself
  UniqueFd file_;
};

}  // namespace gantry
