// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/config_file.h"

#include <sys/stat.h>

#include <climits>
#include <cstdlib>

#include "base/io.h"

namespace gantry::cli {

Result<ConfigFile> ConfigFile::Load(std::string path) {
  ConfigFile config;
  config.path_ = std::move(path);
  Result<std::string> text = ReadFile(config.path_);
  if (!text.ok()) {
    if (text.error().kind() != ErrorKind::kNotFound) return std::move(text).error();
    return config;
  }
  if (text->find_first_not_of(" \t\r\n") == std::string::npos) return config;
  config.json_ = TRY_WITH(formats::Json::Parse(*text), "loading config file '{}'", config.path_);
  if (!config.json_.is_object()) {
    return InvalidArgument("loading config file '{}': expected an object", config.path_);
  }
  return config;
}

Result<> ConfigFile::Save() const {
  std::string target = path_;
  char real[PATH_MAX];
  if (::realpath(path_.c_str(), real) != nullptr) target = real;
  struct stat info{};
  mode_t mode = ::stat(target.c_str(), &info) == 0 ? info.st_mode & 07777 : 0600;
  size_t slash = target.rfind('/');
  if (slash != std::string::npos && slash > 0) TRY(MakeDirectories(target.substr(0, slash), 0700));
  return ReplaceFile(target, json_.Dump(4) + "\n", mode, Durability::kPowerCut);
}

}  // namespace gantry::cli
