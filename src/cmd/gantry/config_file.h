// SPDX-License-Identifier: Apache-2.0
//
// The user's config.json. What we don't know in it is kept when it is written. One thread.
#pragma once

#include <string>

#include "base/error.h"
#include "formats/json.h"

namespace gantry::cli {

class ConfigFile {
 public:
  // A missing file is an empty one.
  static Result<ConfigFile> Load(std::string path);

  const formats::Json& json() const { return json_; }
  formats::Json& mutable_json() { return json_; }
  const std::string& path() const { return path_; }
  // Replaces the file at once: readers see the old or the new one. A new one is its owner's alone
  // (0600), a present one keeps its mode; behind a link the file itself is replaced.
  Result<> Save() const;

 private:
  std::string path_;
  formats::Json json_ = formats::Json::MakeObject();
};

}  // namespace gantry::cli
