// SPDX-License-Identifier: Apache-2.0
#include "shim/oom_watch.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <charconv>

#include "base/io.h"

namespace gantry::shim {
namespace {

// The number after "oom_kill " in memory.events.
uint64_t OomKills(const std::string& directory) {
  std::string text = ReadFile(directory + "/memory.events", 4096).value_or("");
  size_t at = text.find("oom_kill ");
  uint64_t kills = 0;
  if (at != std::string::npos) {
    std::from_chars(text.data() + at + 9, text.data() + text.size(), kills);
  }
  return kills;
}

}  // namespace

Result<std::unique_ptr<OomWatch>> OomWatch::Create(EventLoop* loop,
                                                   const kernel::CgroupPaths& paths,
                                                   std::function<void()> on_oom) {
  std::unique_ptr<OomWatch> watch(new OomWatch(loop));
  watch->on_oom_ = std::move(on_oom);
  if (paths.unified) {
    TRY(watch->WatchV2(paths.Main()));
  } else {
    const std::string& memory = paths.Of("memory");
    if (memory.empty()) return NotFound("watching for lack of memory: no memory controller");
    TRY(watch->WatchV1(memory));
  }
  return watch;
}

OomWatch::~OomWatch() { End(); }

void OomWatch::End() {
  if (!fd_.valid()) return;
  loop_->Unwatch(fd_);
  fd_.Reset();
}

// cgroup-v1/memory.txt, section 10: "<event_fd> <fd of memory.oom_control>".
Result<> OomWatch::WatchV1(const std::string& memory) {
  directory_ = memory;
  UniqueFd control = TRY(OpenFile(memory + "/memory.oom_control", O_RDONLY));
  fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd_.valid()) return ErrnoError("making an event descriptor");
  TRY(WriteFile(memory + "/cgroup.event_control", fmt::format("{} {}", fd_.get(), control.get())));
  return loop_->Watch(fd_, EPOLLIN, [this](uint32_t) { ReadV1(); });
}

void OomWatch::ReadV1() {
  uint64_t count = 0;
  (void)!::read(fd_.get(), &count, sizeof count);
  // The descriptor also fires when the cgroup is removed.
  if (!PathExists(directory_ + "/cgroup.event_control")) return End();
  on_oom_();
}

Result<> OomWatch::WatchV2(const std::string& directory) {
  directory_ = directory;
  kills_ = OomKills(directory);
  fd_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd_.valid()) return ErrnoError("making an inotify descriptor");
  std::string file = directory + "/memory.events";
  if (::inotify_add_watch(fd_.get(), file.c_str(), IN_MODIFY) < 0) {
    return ErrnoError("watching '{}'", file);
  }
  return loop_->Watch(fd_, EPOLLIN, [this](uint32_t) { ReadV2(); });
}

void OomWatch::ReadV2() {
  char events[1024];
  while (::read(fd_.get(), events, sizeof events) > 0) {
  }
  uint64_t kills = OomKills(directory_);
  if (kills > kills_) {
    kills_ = kills;
    on_oom_();
  }
}

}  // namespace gantry::shim
