// SPDX-License-Identifier: Apache-2.0
//
// FindProgram of identity.h: which file `args[0]` means. Callers (docker, containerd, kubelet)
// match these texts to tell exit code 127 from 126.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/child/identity.h"

namespace gantry::runtime::child {
namespace {

constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// 0, or the errno that tells why this file cannot be executed.
int WhyNot(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) < 0) return errno;
  // runc and docker say "permission denied", and old clients read their exit code from it.
  if (S_ISDIR(info.st_mode)) return EACCES;
  // Not access(2): the process will be another user with other capabilities. execve decides in the
  // end; this catches a file that nobody may execute.
  return (info.st_mode & 0111) != 0 ? 0 : EACCES;
}

Error CannotRun(const std::string& name, int error_number) {
  Error error = ErrnoErrorOf(error_number, fmt::format("exec: \"{}\"", name));
  return error;
}

}  // namespace

Result<std::string> FindProgram(const oci::Process& process,
                                const std::vector<std::string>& environment) {
  const std::string& name = process.args[0];
  if (name.empty())
    return Error(ErrorKind::kNotFound, "exec: \"\": executable file not found in $PATH");
  if (name.find('/') != std::string::npos) {
    std::string path = name.starts_with('/') ? name : process.cwd + "/" + name;
    if (int error_number = WhyNot(path)) {
      if (error_number == ENOENT) {
        return Error(ErrorKind::kNotFound,
                     fmt::format("exec: \"{}\": stat {}: no such file or directory", name, name),
                     ENOENT);
      }
      return CannotRun(name, error_number);
    }
    return path;
  }
  std::string_view search = Variable(environment, "PATH");
  if (search.empty()) search = kDefaultPath;
  int denied = 0;
  for (;;) {
    size_t colon = std::min(search.find(':'), search.size());
    std::string_view directory = search.substr(0, colon);
    // An empty or relative entry means the current directory, which is the process's own.
    std::string path;
    if (!directory.starts_with('/')) path = process.cwd + "/";
    path += std::string(directory) + "/" + name;
    int error_number = WhyNot(path);
    if (error_number == 0) return path;
    if (error_number == EACCES) denied = EACCES;
    if (colon == search.size()) break;
    search.remove_prefix(colon + 1);
  }
  if (denied != 0) return CannotRun(name, denied);
  return Error(ErrorKind::kNotFound,
               fmt::format("exec: \"{}\": executable file not found in $PATH", name), ENOENT);
}

}  // namespace gantry::runtime::child
