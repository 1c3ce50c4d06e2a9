// SPDX-License-Identifier: Apache-2.0
//
// Tar archives as streams: POSIX ustar with PAX extended headers (path, linkpath, size, uid, gid,
// mtime, SCHILY.xattr.*), GNU long names and base-256 numbers (POSIX.1-2017 pax, "ustar Interchange
// Format"; GNU tar manual, "Basic Tar Format"). Sparse files are refused. Names come as they are in
// the archive: whoever writes to disk decides what they may be. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/byte_stream.h"
#include "base/error.h"

namespace gantry::formats {

enum class TarType {
  kFile,
  kHardLink,
  kSymlink,
  kCharDevice,
  kBlockDevice,
  kDirectory,
  kFifo,
  kUnknown,  // a type that POSIX does not define; its contents can be read
};

struct TarEntry {
  TarType type = TarType::kFile;
  std::string name;
  std::string link_name;  // of hard and symbolic links
  uint64_t size = 0;      // of kFile and kUnknown; otherwise 0
  uint32_t mode = 0644;   // permissions with setuid, setgid, sticky
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_seconds = 0;
  uint32_t mtime_nanos = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  std::map<std::string, std::string> xattrs;

  bool operator==(const TarEntry&) const = default;
};

class TarReader {
 public:
  explicit TarReader(ByteSource& source) : source_(source) {}

  // Moves to the next entry, past contents that were not read; false at the end of the archive.
  Result<bool> NextEntry(TarEntry* entry);
  // The next piece of the entry's contents; empty at their end. Valid until the next call.
  Result<std::string_view> NextData();
  // All contents of the entry; more than `limit` bytes is kResourceExhausted.
  Result<std::string> ReadData(size_t limit);
  // After the last entry: reads on to the end of the source, so that a hash of it is complete.
  Result<> Drain();

 private:
  Result<bool> ReadBlock(char* block);
  Result<> Skip(uint64_t bytes);
  Result<std::string> ReadSmall(uint64_t size, std::string_view what);
  Result<std::string_view> Chunk();

  ByteSource& source_;
  std::string_view chunk_;
  uint64_t data_left_ = 0;
  uint64_t padding_ = 0;
  bool first_ = true;
  bool ended_ = false;
  std::map<std::string, std::string> global_;
};

// The contents of the current entry as a source.
class TarDataSource : public ByteSource {
 public:
  explicit TarDataSource(TarReader& reader) : reader_(reader) {}
  Result<std::string_view> Next() override { return reader_.NextData(); }

 private:
  TarReader& reader_;
};

class TarWriter {
 public:
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}

  // Exactly entry.size bytes of contents follow by WriteData. PAX headers are written only for what
  // ustar cannot say.
  Result<> WriteHeader(const TarEntry& entry);
  Result<> WriteData(std::string_view data);
  // Header and contents at once; entry.size is set here.
  Result<> WriteFile(TarEntry entry, std::string_view data);
  // The end of the archive.
  Result<> Finish();

 private:
  Result<> FinishEntry();

  ByteSink& sink_;
  uint64_t data_left_ = 0;
  uint64_t padding_ = 0;
};

}  // namespace gantry::formats
