// SPDX-License-Identifier: Apache-2.0
#include "engine/host_info.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "base/io.h"
#include "kernel/cgroups.h"
#include "oci/image_spec.h"

namespace gantry::engine {
namespace {

// The value of NAME= in os-release(5), without quotes.
std::string OsReleaseValue(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != '=') continue;
    line.remove_prefix(name.size() + 1);
    if (line.size() >= 2 && line.front() == line.back() &&
        (line.front() == '"' || line.front() == '\'')) {
      line = line.substr(1, line.size() - 2);
    }
    return std::string(line);
  }
  return "";
}

int64_t CountEntries(const char* directory) {
  std::error_code error;
  int64_t count = 0;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

HostInfo ReadHostInfo() {
  HostInfo info;
  utsname names{};
  if (::uname(&names) == 0) {
    info.hostname = names.nodename;
    info.kernel_version = names.release;
    info.machine = names.machine;
  }
  info.go_architecture = oci::HostPlatform().architecture;
  Result<std::string> release = ReadFile("/etc/os-release");
  if (!release.ok()) release = ReadFile("/usr/lib/os-release");
  if (release.ok()) {
    info.operating_system = OsReleaseValue(*release, "PRETTY_NAME");
    info.os_version = OsReleaseValue(*release, "VERSION_ID");
  }
  info.cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  struct sysinfo memory{};
  if (::sysinfo(&memory) == 0) {
    info.memory_bytes = static_cast<int64_t>(memory.totalram) * memory.mem_unit;
  }
  info.unified_cgroups = kernel::CgroupIsUnified();
  info.open_descriptors = CountEntries("/proc/self/fd");
  info.threads = CountEntries("/proc/self/task");
  return info;
}

}  // namespace gantry::engine
