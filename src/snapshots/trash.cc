// SPDX-License-Identifier: Apache-2.0
#include "snapshots/trash.h"

#include <fcntl.h>
#include <stdio.h>

#include <vector>

#include "base/clock.h"
#include "base/directory.h"
#include "base/io.h"
#include "base/log.h"
#include "base/random.h"
#include "kernel/paths.h"

namespace gantry::snapshots {
namespace {

constexpr std::chrono::seconds kRetryDelay(1);

}  // namespace

Result<std::unique_ptr<Trash>> Trash::Open(const std::string& directory) {
  TRY_WITH(MakeDirectories(directory, 0700), "opening trash");
  std::unique_ptr<Trash> trash(new Trash(directory));
  trash->thread_ = std::thread([trash = trash.get()] { trash->Run(); });
  return trash;
}

Trash::~Trash() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

Result<> Trash::Take(const std::string& path) {
  std::string target = directory_ + "/" + RandomHex(16);
  if (::rename(path.c_str(), target.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return ErrnoError("moving '{}' into the trash", path);
  }
  MutexLock lock(mutex_);
  dirty_ = true;
  changed_.NotifyAll();
  return {};
}

void Trash::WaitUntilEmpty() {
  MutexLock lock(mutex_);
  while ((dirty_ || busy_) && !stop_) changed_.Wait(mutex_);
}

void Trash::Run() {
  bool empty = true;
  for (;;) {
    {
      MutexLock lock(mutex_);
      busy_ = false;
      changed_.NotifyAll();
      auto again = SteadyClock::now() + kRetryDelay;
      while (!dirty_ && !stop_) {
        if (empty) {
          changed_.Wait(mutex_);
        } else if (!changed_.WaitFor(mutex_, again - SteadyClock::now()) && !stop_) {
          dirty_ = true;
        }
      }
      if (stop_) return;
      dirty_ = false;
      busy_ = true;
    }
    empty = EmptyOnce();
  }
}

bool Trash::EmptyOnce() {
  auto directory = OpenFile(directory_, O_RDONLY | O_DIRECTORY);
  auto names = ListDirectory(directory_);
  if (!directory.ok() || !names.ok()) {
    const Error& error = directory.ok() ? names.error() : directory.error();
    log::Failure("emptying trash '{}': {}", directory_, error.message());
    return false;
  }
  bool empty = true;
  for (const std::string& name : *names) {
    {
      MutexLock lock(mutex_);
      if (stop_) return false;
    }
    auto removed = kernel::RemoveTreeAt(*directory, name);
    if (removed.ok()) continue;
    empty = false;
    log::Failure("emptying trash: {}", removed.error().message());
  }
  return empty;
}

}  // namespace gantry::snapshots
