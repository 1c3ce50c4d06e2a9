// SPDX-License-Identifier: Apache-2.0
#include "distribution/passwords.h"

#include <crypt.h>
#include <string.h>

#include "base/io.h"
#include "base/random.h"
#include "base/text.h"
#include "formats/base64.h"
#include "formats/digest.h"
#include "wire/http_message.h"

namespace gantry::distribution {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;
constexpr size_t kMaxKnown = 4096;

bool Matches(const std::string& password, const std::string& hash) {
  auto data = std::make_unique<crypt_data>();
  const char* got = ::crypt_r(password.c_str(), hash.c_str(), data.get());
  return got != nullptr && got[0] != '*' && hash == got;
}

}  // namespace

std::string Passwords::MakeKey() { return RandomHex(32); }

Result<std::unique_ptr<Passwords>> Passwords::Read(const std::string& path) {
  std::string text = TRY_WITH(ReadFile(path, kMaxFileBytes), "reading passwords '{}'", path);
  std::map<std::string, std::string> hashes;
  size_t number = 0;
  for (const std::string& raw : Split(text, '\n')) {
    ++number;
    std::string_view line = Trim(raw);
    if (line.empty() || line.front() == '#') continue;
    size_t colon = line.find(':');
    std::string_view hash = colon == line.npos ? "" : line.substr(colon + 1);
    if (colon == 0 || hash.empty()) {
      return InvalidArgument("reading passwords '{}': line {} is not like NAME:HASH", path, number);
    }
    if (hash.front() != '$' || hash.starts_with("$apr1$")) {
      return InvalidArgument("reading passwords '{}': line {}: only hashes of bcrypt (htpasswd -B)",
                             path, number);
    }
    hashes[std::string(line.substr(0, colon))] = hash;
  }
  return std::unique_ptr<Passwords>(new Passwords(std::move(hashes)));
}

bool Passwords::Allows(std::string_view authorization) {
  size_t blank = authorization.find(' ');
  if (blank == authorization.npos ||
      !wire::EqualsIgnoreCase(authorization.substr(0, blank), "basic")) {
    return false;
  }
  auto pair = formats::DecodeBase64(Trim(authorization.substr(blank)));
  size_t colon = pair.ok() ? pair->find(':') : std::string::npos;
  // crypt(3) reads to the first NUL.
  if (colon == std::string::npos || pair->find('\0') != std::string::npos) return false;
  auto user = hashes_.find(pair->substr(0, colon));
  if (user == hashes_.end()) return false;
  std::string known = formats::Digest::Of(key_ + *pair).text();
  {
    MutexLock lock(mutex_);
    if (known_.contains(known)) return true;
  }
  if (!Matches(pair->substr(colon + 1), user->second)) return false;
  MutexLock lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.insert(std::move(known));
  return true;
}

}  // namespace gantry::distribution
