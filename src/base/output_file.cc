// SPDX-License-Identifier: Apache-2.0
#include "base/output_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/io.h"
#include "base/random.h"

namespace gantry {

Result<OutputFile> OutputFile::Create(const std::string& path, mode_t mode) {
  struct stat info{};
  bool special = ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  if (special) return OutputFile(path, "", TRY(OpenFile(path, O_WRONLY)));
  std::string beside = path + ".tmp-" + RandomHex(6);
  UniqueFd file = TRY(OpenFile(beside, O_WRONLY | O_CREAT | O_EXCL, mode));
  return OutputFile(path, std::move(beside), std::move(file));
}

OutputFile::~OutputFile() {
  if (file_.valid() && !beside_.empty()) (void)::unlink(beside_.c_str());
}

Result<> OutputFile::Finish() {
  bool renamed = beside_.empty() || ::rename(beside_.c_str(), path_.c_str()) == 0;
  if (!renamed) return ErrnoError("renaming to '{}'", path_);
  file_.Reset();
  return {};
}

}  // namespace gantry
