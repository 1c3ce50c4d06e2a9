// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "formats/tar.h"
#include "formats/tar_block.h"

namespace gantry::formats {
namespace {

using namespace tar_block;

constexpr uint64_t kMaxExtendedBytes = uint64_t{1} << 20;
constexpr size_t kMaxTarNameBytes = size_t{64} << 10;
constexpr uint64_t kMaxEntryBytes = uint64_t{1} << 53;
constexpr int kMaxExtendedInARow = 16;

template <typename... Args>
Error Malformed(fmt::format_string<Args...> format, Args&&... args) {
  Error error = InvalidArgument(format, std::forward<Args>(args)...);
  error.AddContext("reading tar");
  return error;
}

std::string_view Text(const char* block, Field field) {
  const char* begin = block + field.offset;
  return {begin, ::strnlen(begin, field.size)};
}

// Octal digits between spaces and NULs, or GNU's base-256: a first byte of 0x80, or 0xff for
// negative numbers.
Result<int64_t> Number(const char* block, Field field, const char* what) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(block + field.offset);
  if ((bytes[0] & 0x80) != 0) {
    bool negative = (bytes[0] & 0x40) != 0;
    uint64_t value = negative ? std::numeric_limits<uint64_t>::max() : 0;
    for (size_t i = 0; i < field.size; ++i) {
      unsigned byte = bytes[i];
      if (i == 0) byte = negative ? byte | 0x80u : byte & 0x7fu;
      // What is shifted out must be sign only.
      if ((value >> 56) != (negative ? 0xffu : 0u)) return Malformed("{} is too large", what);
      value = (value << 8) | byte;
    }
    if ((value >> 63) != (negative ? 1u : 0u)) return Malformed("{} is too large", what);
    return static_cast<int64_t>(value);
  }
  std::string_view text(block + field.offset, field.size);
  size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return 0;
  text.remove_prefix(begin);
  text = text.substr(0, text.find_first_of(std::string_view(" \0", 2)));
  if (text.empty()) return 0;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return Malformed("{} is no octal number", what);
  }
  return value;
}

bool ChecksumMatches(const char* block) {
  auto stored = Number(block, kChecksum, "checksum");
  if (!stored.ok()) return false;
  int64_t as_unsigned = 0;
  int64_t as_signed = 0;  // some old archivers summed signed characters
  for (size_t i = 0; i < kBlock; ++i) {
    bool blank = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    as_unsigned += blank ? ' ' : static_cast<unsigned char>(block[i]);
    as_signed += blank ? ' ' : static_cast<signed char>(block[i]);
  }
  return *stored == as_unsigned || *stored == as_signed;
}

// "LENGTH KEY=VALUE\n", where LENGTH counts the whole record (POSIX pax, "pax Extended Header").
Result<> ParsePax(std::string_view text, std::map<std::string, std::string>* records) {
  while (!text.empty()) {
    size_t length = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    auto digits = static_cast<size_t>(end - text.data());
    if (error != std::errc() || digits == text.size() || text[digits] != ' ' ||
        length <= digits + 1 || length > text.size() || text[length - 1] != '\n') {
      return Malformed("broken extended header");
    }
    std::string_view record = text.substr(digits + 1, length - digits - 2);
    text.remove_prefix(length);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return Malformed("broken extended header: no key");
    }
    (*records)[std::string(record.substr(0, equals))] = record.substr(equals + 1);
  }
  return {};
}

template <typename T>
Result<> PaxNumber(const std::string& key, const std::string& text, T* out) {
  T value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Malformed("extended header '{}' is no number", key);
  }
  *out = value;
  return {};
}

// "[-]SECONDS[.FRACTION]"
Result<> PaxTime(const std::string& text, TarEntry* entry) {
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc()) return Malformed("extended header 'mtime' is no time");
  uint32_t nanos = 0;
  const char* last = text.data() + text.size();
  if (end != last) {
    if (*end != '.') return Malformed("extended header 'mtime' is no time");
    uint32_t scale = 100'000'000;
    for (const char* digit = end + 1; digit != last; ++digit, scale /= 10) {
      if (*digit < '0' || *digit > '9') return Malformed("extended header 'mtime' is no time");
      nanos += static_cast<uint32_t>(*digit - '0') * scale;
    }
  }
  // -1.25 is 0.75 after -2.
  if (text[0] == '-' && nanos != 0) {
    --seconds;
    nanos = 1'000'000'000 - nanos;
  }
  entry->mtime_seconds = seconds;
  entry->mtime_nanos = nanos;
  return {};
}

Result<> ApplyPax(const std::map<std::string, std::string>& records, TarEntry* entry,
                  uint64_t* size) {
  constexpr std::string_view kXattr = "SCHILY.xattr.";
  for (const auto& [key, value] : records) {
    if (std::string_view(key).substr(0, kXattr.size()) == kXattr) {
      entry->xattrs[key.substr(kXattr.size())] = value;
    } else if (key.rfind("GNU.sparse.", 0) == 0) {
      return Unimplemented("reading tar: '{}' is a sparse file, which is not supported",
                           entry->name);
    } else if (value.empty()) {
      continue;  // takes a global record back
    } else if (key == "path") {
      entry->name = value;
    } else if (key == "linkpath") {
      entry->link_name = value;
    } else if (key == "size") {
      TRY(PaxNumber(key, value, size));
    } else if (key == "uid") {
      TRY(PaxNumber(key, value, &entry->uid));
    } else if (key == "gid") {
      TRY(PaxNumber(key, value, &entry->gid));
    } else if (key == "mtime") {
      TRY(PaxTime(value, entry));
    }
  }
  return {};
}

// The type, or nothing when POSIX does not know it.
std::optional<TarType> TypeOf(char flag, const std::string& name) {
  switch (flag) {
    case '\0':
      // Before POSIX a directory was a file whose name ended in a slash.
      return !name.empty() && name.back() == '/' ? TarType::kDirectory : TarType::kFile;
    case '0':
    case '7':
      return TarType::kFile;
    case '1':
      return TarType::kHardLink;
    case '2':
      return TarType::kSymlink;
    case '3':
      return TarType::kCharDevice;
    case '4':
      return TarType::kBlockDevice;
    case '5':
      return TarType::kDirectory;
    case '6':
      return TarType::kFifo;
    default:
      return {};
  }
}

Result<uint32_t> Id(const char* block, Field field, const char* what) {
  int64_t value = TRY(Number(block, field, what));
  if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
    return Malformed("{} {} is out of range", what, value);
  }
  return static_cast<uint32_t>(value);
}

Result<> ParseBlock(const char* block, TarEntry* entry, uint64_t* size) {
  entry->name = Text(block, kName);
  // Only POSIX archives have a prefix; GNU's keep times there.
  if (std::memcmp(block + kMagic.offset, "ustar\0", 6) == 0) {
    std::string_view prefix = Text(block, kPrefix);
    if (!prefix.empty()) entry->name = fmt::format("{}/{}", prefix, entry->name);
  }
  entry->link_name = Text(block, kLinkName);
  entry->mode = static_cast<uint32_t>(TRY(Number(block, kMode, "mode")) & 07777);
  entry->uid = TRY(Id(block, kUid, "uid"));
  entry->gid = TRY(Id(block, kGid, "gid"));
  entry->mtime_seconds = TRY(Number(block, kMtime, "mtime"));
  entry->device_major = TRY(Id(block, kDeviceMajor, "device number"));
  entry->device_minor = TRY(Id(block, kDeviceMinor, "device number"));
  int64_t length = TRY(Number(block, kSize, "size"));
  if (length < 0) return Malformed("a negative size");
  *size = static_cast<uint64_t>(length);
  return {};
}

}  // namespace

Result<std::string_view> TarReader::Chunk() {
  if (chunk_.empty()) chunk_ = TRY(source_.Next());
  return chunk_;
}

// False at the end of the source.
Result<bool> TarReader::ReadBlock(char* block) {
  size_t have = 0;
  while (have < kBlock) {
    std::string_view chunk = TRY(Chunk());
    if (chunk.empty()) {
      if (have == 0) return false;
      return Malformed("unexpected end of the archive");
    }
    size_t take = std::min(chunk.size(), kBlock - have);
    std::memcpy(block + have, chunk.data(), take);
    chunk_.remove_prefix(take);
    have += take;
  }
  return true;
}

Result<> TarReader::Skip(uint64_t bytes) {
  while (bytes > 0) {
    std::string_view chunk = TRY(Chunk());
    if (chunk.empty()) return Malformed("unexpected end of the archive");
    size_t take = std::min<uint64_t>(chunk.size(), bytes);
    chunk_.remove_prefix(take);
    bytes -= take;
  }
  return {};
}

// The contents of an extended header with its padding.
Result<std::string> TarReader::ReadSmall(uint64_t size, std::string_view what) {
  if (size > kMaxExtendedBytes) {
    return Malformed("{} of {} bytes is larger than {}", what, size, kMaxExtendedBytes);
  }
  std::string text;
  text.reserve(size);
  while (text.size() < size) {
    std::string_view chunk = TRY(Chunk());
    if (chunk.empty()) return Malformed("unexpected end of the archive");
    size_t take = std::min<size_t>(chunk.size(), size - text.size());
    text.append(chunk.substr(0, take));
    chunk_.remove_prefix(take);
  }
  TRY(Skip((kBlock - size % kBlock) % kBlock));
  return text;
}

Result<bool> TarReader::NextEntry(TarEntry* entry) {
  if (ended_) return false;
  TRY(Skip(data_left_));
  data_left_ = 0;
  // umoci 0.4 writes layers that end with the contents of their last file; Go's reader takes them.
  while (padding_ > 0) {
    std::string_view chunk = TRY(Chunk());
    if (chunk.empty()) {
      ended_ = true;
      return false;
    }
    size_t take = std::min<size_t>(chunk.size(), padding_);
    chunk_.remove_prefix(take);
    padding_ -= take;
  }
  std::map<std::string, std::string> pax = global_;
  std::string long_name;
  std::string long_link;
  for (int extended = 0; extended <= kMaxExtendedInARow; ++extended) {
    char block[kBlock];
    if (!TRY(ReadBlock(block))) {
      if (extended != 0) return Malformed("unexpected end of the archive");
      ended_ = true;
      return false;
    }
    static constexpr char kZeros[kBlock] = {};
    if (std::memcmp(block, kZeros, kBlock) == 0) {
      // Two blocks of zeros end an archive, and some archivers leave the second one out. One that
      // is not whole was cut off.
      if (extended != 0) return Malformed("unexpected end of the archive");
      bool second = TRY(ReadBlock(block));
      if (second && std::memcmp(block, kZeros, kBlock) != 0) {
        return Malformed("a block of zeros between entries");
      }
      ended_ = true;
      return false;
    }
    if (!ChecksumMatches(block)) {
      return Malformed("{}", first_ ? "this is no tar archive" : "wrong checksum of a header");
    }
    first_ = false;
    *entry = TarEntry();
    uint64_t size = 0;
    TRY(ParseBlock(block, entry, &size));
    char flag = block[kType];
    if (flag == 'x' || flag == 'g') {
      TRY(ParsePax(TRY(ReadSmall(size, "extended header")), flag == 'x' ? &pax : &global_));
      if (flag == 'g') {
        for (const auto& [key, value] : global_) pax[key] = value;
      }
      continue;
    }
    if (flag == 'L' || flag == 'K') {
      std::string text = TRY(ReadSmall(size, "long name"));
      text.resize(::strnlen(text.data(), text.size()));
      (flag == 'L' ? long_name : long_link) = std::move(text);
      continue;
    }
    if (!long_name.empty()) entry->name = std::move(long_name);
    if (!long_link.empty()) entry->link_name = std::move(long_link);
    TRY(ApplyPax(pax, entry, &size));
    if (flag == 'S') {
      return Unimplemented("reading tar: '{}' is a sparse file, which is not supported",
                           entry->name);
    }
    entry->type = TypeOf(flag, entry->name).value_or(TarType::kUnknown);
    bool has_data = entry->type == TarType::kFile || entry->type == TarType::kUnknown;
    entry->size = has_data ? size : 0;
    for (const std::string* name : {&entry->name, &entry->link_name}) {
      if (name->size() > kMaxTarNameBytes) return Malformed("a name of {} bytes", name->size());
      if (name->find('\0') != std::string::npos) return Malformed("a name with a NUL byte");
    }
    if (entry->size > kMaxEntryBytes) return Malformed("'{}' has {} bytes", entry->name, size);
    data_left_ = entry->size;
    padding_ = (kBlock - entry->size % kBlock) % kBlock;
    return true;
  }
  return Malformed("more than {} extended headers in a row", kMaxExtendedInARow);
}

Result<std::string_view> TarReader::NextData() {
  if (data_left_ == 0) return std::string_view();
  std::string_view chunk = TRY(Chunk());
  if (chunk.empty()) return Malformed("unexpected end of the archive");
  std::string_view data = chunk.substr(0, std::min<uint64_t>(chunk.size(), data_left_));
  chunk_.remove_prefix(data.size());
  data_left_ -= data.size();
  return data;
}

Result<std::string> TarReader::ReadData(size_t limit) {
  TarDataSource source(*this);
  return ReadAll(source, limit);
}

Result<> TarReader::Drain() {
  for (;;) {
    chunk_ = {};
    if (TRY(source_.Next()).empty()) return {};
  }
}

}  // namespace gantry::formats
