// SPDX-License-Identifier: Apache-2.0
//
// Users and their passwords, from a file as `htpasswd -B` writes it: NAME:HASH lines, hashes of
// bcrypt or whatever else crypt(3) knows by a "$ID$". Any thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mutex.h"

namespace gantry::distribution {

class Passwords {
 public:
  // kInvalidArgument names the line that is wrong; Apache's own MD5 and SHA-1 are refused.
  static Result<std::unique_ptr<Passwords>> Read(const std::string& path);

  // Of the field Authorization, as "Basic …" (RFC 7617). Slow for a pair that is new: that is what
  // bcrypt is for; later ones are remembered.
  bool Allows(std::string_view authorization);

 private:
  explicit Passwords(std::map<std::string, std::string> hashes) : hashes_(std::move(hashes)) {}

  const std::map<std::string, std::string> hashes_;
  Mutex mutex_;
  // Digests of name and password, with a key that lives as long as the process.
  const std::string key_ = MakeKey();
  std::set<std::string> known_ GUARDED_BY(mutex_);
  static std::string MakeKey();
};

}  // namespace gantry::distribution
