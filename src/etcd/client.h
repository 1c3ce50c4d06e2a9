// SPDX-License-Identifier: Apache-2.0
//
// A client of etcd's API v3 (protos/etcd): plain structs in, Result out, no protobuf type in sight.
// One object a cluster; any thread may call any method. A member that can't be reached is passed
// over for the next one: kUnavailable means that none answered within a call's bound.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stop_token.h"

namespace gantry::etcd {

struct Options {
  std::vector<std::string> members;  // "HOST:PORT", at least one
  // Paths of PEM files; `ca` "" with the others "": no TLS.
  std::string ca;
  std::string certificate;
  std::string key;
  std::string user;  // "": nobody in particular
  std::string password;
};

struct KeyValue {
  std::string key;
  std::string value;
  int64_t lease = 0;
};

// What was there at one revision of the store.
struct Listing {
  std::vector<KeyValue> items;  // by key
  int64_t revision = 0;
};

// What has to hold for a transaction to happen.
struct Guard {
  enum class Kind { kAbsent, kPresent, kNothingBelow, kValue };
  Kind kind = Kind::kAbsent;
  std::string key;    // of kNothingBelow a prefix
  std::string value;  // of kValue
};

struct Change {
  bool put = true;  // else it is deleted
  std::string key;
  std::string value;
  int64_t lease = 0;  // 0: it stays until somebody deletes it
};

// One key that was written or deleted.
struct Event {
  bool deleted = false;
  KeyValue item;
};

class Client {
 public:
  virtual ~Client() = default;
  // Looks at nothing but the files; members are asked with the first call.
  static Result<std::unique_ptr<Client>> Create(const Options& options);

  virtual Result<Listing> List(std::string_view prefix) = 0;
  // All changes or none: false when a guard did not hold. kFailedPrecondition: a lease of theirs
  // has ended.
  virtual Result<bool> Commit(const std::vector<Guard>& guards,
                              const std::vector<Change>& changes) = 0;

  // A lease ends, and the keys that were put with it go, when it was not renewed for that long.
  virtual Result<int64_t> Grant(std::chrono::seconds life) = 0;
  // False: it has ended.
  virtual Result<bool> Renew(int64_t lease) = 0;
  virtual Result<> Revoke(int64_t lease) = 0;

  using Changed = std::function<void(const std::vector<Event>&)>;
  // Tells of all changes below `prefix` after `revision`, until the token stops (no error) or the
  // stream breaks. kOutOfRange: the store has forgotten what happened after that revision.
  virtual Result<> Watch(const std::string& prefix, int64_t revision, const StopToken& stop,
                         const Changed& changed) = 0;
};

}  // namespace gantry::etcd
