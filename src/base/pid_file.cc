// SPDX-License-Identifier: Apache-2.0
#include "base/pid_file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "base/io.h"
#include "base/stop_token.h"

namespace gantry {
namespace {

constexpr auto kDyingTime = std::chrono::seconds(1);

// A process that was killed keeps its locks until it is torn down, which takes some ms. False when
// it does not end in this time.
bool EndsSoon(const std::string& owner) {
  auto pid = static_cast<pid_t>(std::atoi(owner.c_str()));
  if (pid <= 0) return false;
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return errno == ESRCH;
  return WaitFor(process, POLLIN, kDyingTime).ok();
}

// A child that the dead owner had made and that has not executed its program yet shares the lock
// for some ms more. SIGALRM bounds the wait: daemons lock before they have threads.
bool LocksSoon(BorrowedFd fd) {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  struct sigaction old{};
  ::sigaction(SIGALRM, &action, &old);
  ::alarm(static_cast<unsigned>(kDyingTime.count()));
  bool locked = ::flock(fd.get(), LOCK_EX) == 0;
  ::alarm(0);
  ::sigaction(SIGALRM, &old, nullptr);
  return locked;
}

}  // namespace

Result<PidFile> PidFile::Lock(const std::string& path) {
  TRY(MakeDirectories(path.substr(0, path.rfind('/')), 0700));
  bool waited = false;
  while (true) {
    UniqueFd fd = TRY(OpenFile(path, O_RDWR | O_CREAT, 0644));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return ErrnoError("locking '{}'", path);
      std::string owner = ReadToEnd(fd, 64).value_or("");
      while (!owner.empty() && owner.back() == '\n') owner.pop_back();
      if (std::exchange(waited, true) || !EndsSoon(owner) || !LocksSoon(fd)) {
        return AlreadyExists("locking '{}': process {} has it", path, owner);
      }
    }
    // The owner before us removes its file at the end: the lock must be on the file that the path
    // names now.
    struct stat ours;
    struct stat named;
    if (::fstat(fd.get(), &ours) != 0) return ErrnoError("reading '{}'", path);
    if (::stat(path.c_str(), &named) != 0 || ours.st_ino != named.st_ino) continue;
    if (::ftruncate(fd.get(), 0) != 0 || ::lseek(fd.get(), 0, SEEK_SET) < 0) {
      return ErrnoError("writing '{}'", path);
    }
    TRY_WITH(WriteAll(fd, fmt::format("{}\n", ::getpid())), "writing '{}'", path);
    return PidFile(path, std::move(fd));
  }
}

PidFile::~PidFile() {
  if (fd_.valid()) ::unlink(path_.c_str());
}

}  // namespace gantry
