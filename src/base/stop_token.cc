// SPDX-License-Identifier: Apache-2.0
#include "base/stop_token.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

#include "base/clock.h"
#include "base/io.h"

namespace gantry {

bool StopToken::stop_requested() const {
  if (!fd_) return false;
  pollfd entry{fd_->get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0;
}

Result<StopSource> StopSource::Create() {
  int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return ErrnoError("making a stop event");
  return StopSource(std::make_shared<UniqueFd>(fd));
}

void StopSource::RequestStop() {
  uint64_t one = 1;
  // Nobody reads the counter, so the only way to fail is that it is already set.
  (void)WriteAll(*fd_, std::string_view(reinterpret_cast<const char*>(&one), sizeof one));
}

Result<> WaitFor(BorrowedFd fd, short events, std::chrono::milliseconds timeout,
                 const StopToken& stop) {
  auto deadline = SteadyClock::now() + timeout;
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
    if (left.count() < 0) left = std::chrono::milliseconds(0);
    pollfd entries[2] = {{fd.get(), events, 0}, {stop.fd().get(), POLLIN, 0}};
    int ready = ::poll(entries, stop.fd().valid() ? 2 : 1, static_cast<int>(left.count()));
    if (ready < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("waiting for descriptor {}", fd.get());
    }
    if (entries[1].revents != 0) return MakeError(ErrorKind::kCancelled, "waiting: stopped");
    if (entries[0].revents != 0) return {};
    if (ready == 0) {
      return MakeError(ErrorKind::kDeadlineExceeded, "waiting: nothing after {} ms",
                       timeout.count());
    }
  }
}

}  // namespace gantry
