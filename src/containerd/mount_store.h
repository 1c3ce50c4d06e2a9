// SPDX-License-Identifier: Apache-2.0
//
// Mounts that the daemon makes and keeps for its clients under a name (the Mounts service), below
// STATE/mounts/NUMBER/INDEX. The record is written before the first mount and says "active" after
// the last, so that what a crash leaves is taken away at the next start. A mount that belongs to a
// lease goes with it, one with a containerd.io/gc.bref label goes with what that names. Blocks; any
// thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "containerd/filters.h"
#include "containerd/rpc.h"
#include "containerd/types/mount.pb.h"
#include "records/database.h"

namespace gantry::containerd {

using ::containerd::types::ActivationInfo;

struct Activation {
  std::string name;
  std::vector<::containerd::types::Mount> mounts;
  Labels labels;
  // Mounts everything and yields a bind of the last mount: for who cannot mount by itself.
  bool temporary = false;
};

class MountStore {
 public:
  // `directory`: of the mounts, in the run state. `roots`: where transforms may work.
  static Result<std::unique_ptr<MountStore>> Open(records::Database* database,
                                                  const std::string& directory,
                                                  std::vector<std::string> roots);

  // kUnimplemented when nothing in it needs the store: then the client mounts by itself.
  // kAlreadyExists: the name is active.
  Result<ActivationInfo> Activate(const Caller& caller, const Activation& activation);
  // kNotFound; kFailedPrecondition while one of the mounts is in use: then it stays.
  Result<> Deactivate(const std::string& ns, const std::string& name);
  Result<ActivationInfo> Info(const std::string& ns, const std::string& name);
  // Replaces the labels: `change` gets those that are there.
  Result<ActivationInfo> SetLabels(const std::string& ns, const std::string& name,
                                   const std::function<Result<>(Labels*)>& change);
  // By "name" and "labels".
  Result<std::vector<ActivationInfo>> List(const std::string& ns, const Filters& filters);
  // Deactivates what nothing keeps any more. What is in use stays for the next time.
  void Collect();

 private:
  class Busy;
  struct Record {
    int64_t number = 0;
    bool active = false;
    ActivationInfo info;
  };
  MountStore(records::Database* database, std::string directory, std::vector<std::string> roots)
      : database_(database), directory_(std::move(directory)), roots_(std::move(roots)) {}

  Result<Record> Read(records::Transaction& tx, const std::string& ns, const std::string& name);
  Result<int64_t> Begin(const Caller& caller, const ActivationInfo& info);
  Result<> MakeMounts(int64_t number, size_t count, std::vector<::containerd::types::Mount>* mounts,
                      ActivationInfo* info);
  Result<> Save(const std::string& ns, const ActivationInfo& info, bool active);
  Result<> Erase(const std::string& ns, const std::string& name);
  // Takes away whatever is at the number's directory, the last mount first.
  Result<> Clear(int64_t number);
  Result<> Recover();
  std::string DirectoryOf(int64_t number) const;

  records::Database* database_;
  const std::string directory_;
  const std::vector<std::string> roots_;
  Mutex mutex_;
  CondVar changed_;
  // Names that somebody works on; others wait.
  std::set<std::pair<std::string, std::string>> busy_ GUARDED_BY(mutex_);
};

}  // namespace gantry::containerd
