// SPDX-License-Identifier: Apache-2.0
#include "base/io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace gantry {

Result<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoError("opening '{}'", path);
  return UniqueFd(fd);
}

Result<size_t> ReadSome(BorrowedFd fd, void* buffer, size_t size) {
  for (;;) {
    ssize_t got = ::read(fd.get(), buffer, size);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return ErrnoError("reading from descriptor {}", fd.get());
  }
}

Result<> ReadExactly(BorrowedFd fd, void* buffer, size_t size) {
  char* at = static_cast<char*>(buffer);
  while (size > 0) {
    size_t got = TRY(ReadSome(fd, at, size));
    if (got == 0) {
      return MakeError(ErrorKind::kOutOfRange, "reading: end of file with {} bytes missing", size);
    }
    at += got;
    size -= got;
  }
  return {};
}

Result<> WriteAll(BorrowedFd fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t put = ::write(fd.get(), data.data(), data.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("writing to descriptor {}", fd.get());
    }
    data.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

Result<std::string> ReadToEnd(BorrowedFd fd, size_t limit) {
  std::string out;
  struct stat info{};
  size_t chunk = 4096;
  if (::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    chunk = static_cast<size_t>(info.st_size) + 1;
  }
  for (;;) {
    size_t have = out.size();
    size_t want = std::min(chunk, limit + 1 - have);
    out.resize(have + want);
    Result<size_t> got = ReadSome(fd, out.data() + have, want);
    if (!got.ok()) return std::move(got).error();
    out.resize(have + *got);
    if (*got == 0) return out;
    if (out.size() > limit) {
      return MakeError(ErrorKind::kResourceExhausted, "reading: more than {} bytes", limit);
    }
    if (chunk < 65536) chunk *= 2;
  }
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY));
  return TRY_WITH(ReadToEnd(fd, limit), "file '{}'", path);
}

Result<> WriteFile(const std::string& path, std::string_view data) {
  UniqueFd fd = TRY(OpenFile(path, O_WRONLY));
  TRY_WITH(WriteAll(fd, data), "file '{}'", path);
  return {};
}

Result<> CreateFile(const std::string& path, std::string_view data, mode_t mode) {
  UniqueFd fd = TRY(OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  TRY_WITH(WriteAll(fd, data), "file '{}'", path);
  return {};
}

namespace {

Result<> SyncDirectoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd fd = TRY(OpenFile(directory, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) < 0) return ErrnoError("syncing directory '{}'", directory);
  return {};
}

}  // namespace

Result<> ReplaceFile(const std::string& path, std::string_view data, mode_t mode,
                     Durability durability) {
  std::string temporary = fmt::format("{}.tmp-{}", path, ::getpid());
  UniqueFd fd = TRY(OpenFile(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
  Result<> written = WriteAll(fd, data);
  if (written.ok() && durability == Durability::kPowerCut && ::fsync(fd.get()) < 0) {
    written = ErrnoError("syncing");
  }
  if (written.ok() && ::rename(temporary.c_str(), path.c_str()) < 0) {
    written = ErrnoError("renaming to '{}'", path);
  }
  if (!written.ok()) {
    ::unlink(temporary.c_str());
    return std::move(written).error().AddContext(fmt::format("file '{}'", temporary));
  }
  if (durability == Durability::kPowerCut) TRY(SyncDirectoryOf(path));
  return {};
}

Result<> MakeDirectories(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
  if (errno != ENOENT) return ErrnoError("making directory '{}'", path);
  size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return ErrnoError("making directory '{}'", path);
  TRY(MakeDirectories(path.substr(0, slash), mode));
  if (::mkdir(path.c_str(), mode) < 0 && errno != EEXIST) {
    return ErrnoError("making directory '{}'", path);
  }
  return {};
}

bool PathExists(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0;
}

}  // namespace gantry
