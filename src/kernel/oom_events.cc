// SPDX-License-Identifier: Apache-2.0
#include "kernel/oom_events.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <charconv>

#include "base/io.h"

namespace gantry::kernel {
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

Result<OomEvents> OomEvents::Open(const CgroupPaths& paths) {
  OomEvents events;
  events.unified_ = paths.unified;
  const std::string& memory = paths.unified ? paths.Main() : paths.Of("memory");
  if (memory.empty()) return NotFound("watching for lack of memory: no memory controller");
  events.directory_ = memory;
  TRY(paths.unified ? events.OpenV2(memory) : events.OpenV1(memory));
  return events;
}

bool OomEvents::Read() {
  if (!fd_.valid()) return false;
  return unified_ ? ReadV2() : ReadV1();
}

// cgroup-v1/memory.txt, section 10: "<event_fd> <fd of memory.oom_control>".
Result<> OomEvents::OpenV1(const std::string& memory) {
  UniqueFd control = TRY(OpenFile(memory + "/memory.oom_control", O_RDONLY));
  fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd_.valid()) return ErrnoError("making an event descriptor");
  return WriteFile(memory + "/cgroup.event_control",
                   fmt::format("{} {}", fd_.get(), control.get()));
}

bool OomEvents::ReadV1() {
  uint64_t count = 0;
  return ::read(fd_.get(), &count, sizeof count) > 0 && CgroupExists();
}

bool OomEvents::CgroupExists() const { return PathExists(directory_); }

Result<> OomEvents::OpenV2(const std::string& directory) {
  kills_ = OomKills(directory);
  fd_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd_.valid()) return ErrnoError("making an inotify descriptor");
  std::string file = directory + "/memory.events";
  if (::inotify_add_watch(fd_.get(), file.c_str(), IN_MODIFY) < 0) {
    return ErrnoError("watching '{}'", file);
  }
  return {};
}

bool OomEvents::ReadV2() {
  char events[1024];
  while (::read(fd_.get(), events, sizeof events) > 0) {
  }
  uint64_t kills = OomKills(directory_);
  bool more = kills > kills_;
  kills_ = kills;
  return more;
}

}  // namespace gantry::kernel
