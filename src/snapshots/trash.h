// SPDX-License-Identifier: Apache-2.0
//
// Removes directories in two steps: Take() renames one into the trash directory, which is atomic
// and takes microseconds; one background thread then deletes what is there, and tries again what
// somebody was still writing into. Anything found in the
// trash at start is deleted as well. The trash must be on the same file system as what it takes.
// Any thread.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/mutex.h"

namespace gantry::snapshots {

class Trash {
 public:
  // Makes the directory when it is missing and starts on what lies in it.
  static Result<std::unique_ptr<Trash>> Open(const std::string& directory);
  ~Trash();  // stops soon; what is left is deleted at the next start

  // A path that does not exist is no error.
  Result<> Take(const std::string& path);
  // Waits until the trash was empty once. For tests and orderly ends.
  void WaitUntilEmpty();

 private:
  explicit Trash(std::string directory) : directory_(std::move(directory)) {}
  void Run();
  bool EmptyOnce();  // whether nothing of what was there is left

  const std::string directory_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ GUARDED_BY(mutex_) = false;
  bool dirty_ GUARDED_BY(mutex_) = true;
  bool busy_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace gantry::snapshots
