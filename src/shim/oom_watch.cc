// SPDX-License-Identifier: Apache-2.0
#include "shim/oom_watch.h"

#include <sys/epoll.h>

namespace gantry::shim {

Result<std::unique_ptr<OomWatch>> OomWatch::Create(EventLoop* loop,
                                                   const kernel::CgroupPaths& paths,
                                                   std::function<void()> on_oom) {
  std::unique_ptr<OomWatch> watch(
      new OomWatch(loop, TRY(kernel::OomEvents::Open(paths)), std::move(on_oom)));
  TRY(loop->Watch(watch->events_.fd(), EPOLLIN, [raw = watch.get()](uint32_t) { raw->Read(); }));
  return watch;
}

OomWatch::~OomWatch() {
  if (events_.fd().valid()) loop_->Unwatch(events_.fd());
}

void OomWatch::Read() {
  if (events_.Read()) return on_oom_();
  if (!events_.CgroupExists()) {
    loop_->Unwatch(events_.fd());
    events_.Close();
  }
}

}  // namespace gantry::shim
