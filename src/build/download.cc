// SPDX-License-Identifier: Apache-2.0
#include "build/download.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "formats/digest.h"
#include "kernel/paths.h"
#include "registry/download.h"
#include "registry/http_transfer.h"

namespace gantry::build {
std::string NameOfUrl(std::string_view url) {
  size_t scheme = url.find("://");
  std::string_view rest = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
  rest = rest.substr(0, rest.find_first_of("?#"));
  size_t slash = rest.rfind('/');
  if (slash == std::string_view::npos) return "";
  std::string name(rest.substr(slash + 1));
  return name == "." || name == ".." ? "" : name;
}

Result<std::string> DownloadFile(const std::string& url, BorrowedFd directory,
                                 const std::string& name, const StopToken& stop) {
  UniqueFd file = TRY(kernel::OpenIn(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0600));
  formats::Hasher hash;
  auto write = [&](std::string_view data) -> Result<> {
    hash.Update(data);
    return WriteAll(file, data);
  };
  registry::HttpAnswer answer = TRY(registry::Download(url, write, stop));
  time_t modified = registry::ParseHttpDate(answer.Header("last-modified")).value_or(0);
  timespec times[2] = {{modified, 0}, {modified, 0}};
  if (::futimens(file.get(), times) != 0) return ErrnoError("setting the time of '{}'", name);
  return std::string(hash.Current().hex());
}

Result<std::optional<int64_t>> DownloadTime(BorrowedFd directory, const std::string& name) {
  struct stat status{};
  if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("looking at '{}'", name);
  }
  if (status.st_mtim.tv_sec == 0) return std::optional<int64_t>();
  return std::optional<int64_t>(status.st_mtim.tv_sec);
}

}  // namespace gantry::build
