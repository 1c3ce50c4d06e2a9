// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "formats/tar.h"
#include "formats/tar_block.h"

namespace gantry::formats {
namespace {

using namespace tar_block;

constexpr char kZeros[2 * kBlock] = {};

void PutText(char* block, Field field, std::string_view text) {
  text.copy(block + field.offset, field.size);  // unlike memcpy it may be empty
}

uint64_t MaxOctal(Field field) { return (uint64_t{1} << (3 * (field.size - 1))) - 1; }

// Octal with leading zeros and a NUL; the caller knows that it fits.
void PutNumber(char* block, Field field, uint64_t value) {
  for (size_t i = field.size - 1; i-- > 0; value >>= 3) {
    block[field.offset + i] = static_cast<char>('0' + (value & 7));
  }
}

bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

// Splits a long name at a slash into ustar's prefix and name.
bool SplitName(std::string_view name, std::string_view* prefix, std::string_view* rest) {
  if (name.size() <= kName.size) {
    *prefix = {};
    *rest = name;
    return true;
  }
  size_t from = std::min(name.size() - 1, kPrefix.size + 1);
  size_t slash = name.rfind('/', from - 1);
  if (slash == std::string_view::npos || slash == 0 || name.size() - slash - 1 > kName.size ||
      slash + 1 == name.size()) {
    return false;
  }
  *prefix = name.substr(0, slash);
  *rest = name.substr(slash + 1);
  return true;
}

char Flag(TarType type) {
  switch (type) {
    case TarType::kFile:
    case TarType::kUnknown:
      return '0';
    case TarType::kHardLink:
      return '1';
    case TarType::kSymlink:
      return '2';
    case TarType::kCharDevice:
      return '3';
    case TarType::kBlockDevice:
      return '4';
    case TarType::kDirectory:
      return '5';
    case TarType::kFifo:
      return '6';
  }
  return '0';
}

void AddPax(std::string* records, std::string_view key, std::string_view value) {
  // The length counts its own digits.
  size_t body = key.size() + value.size() + 3;
  size_t length = body + fmt::formatted_size("{}", body);
  length = body + fmt::formatted_size("{}", length);
  records->append(fmt::format("{} {}={}\n", length, key, value));
}

void Seal(char* block) {
  std::memset(block + kChecksum.offset, ' ', kChecksum.size);
  unsigned sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += static_cast<unsigned char>(block[i]);
  PutNumber(block, {kChecksum.offset, 7}, sum);
  block[kChecksum.offset + 6] = '\0';
}

std::string PaxRecords(const TarEntry& entry, bool name_fits) {
  std::string pax;
  if (!name_fits) AddPax(&pax, "path", entry.name);
  if (entry.link_name.size() > kLinkName.size || !IsPlain(entry.link_name)) {
    AddPax(&pax, "linkpath", entry.link_name);
  }
  if (entry.size > MaxOctal(kSize)) AddPax(&pax, "size", fmt::format("{}", entry.size));
  if (entry.uid > MaxOctal(kUid)) AddPax(&pax, "uid", fmt::format("{}", entry.uid));
  if (entry.gid > MaxOctal(kGid)) AddPax(&pax, "gid", fmt::format("{}", entry.gid));
  bool time_fits = entry.mtime_nanos == 0 && entry.mtime_seconds >= 0 &&
                   static_cast<uint64_t>(entry.mtime_seconds) <= MaxOctal(kMtime);
  if (!time_fits) {
    // POSIX writes a sign and a fraction: half a second after -2 is -1.5.
    int64_t seconds = entry.mtime_seconds;
    uint32_t nanos = entry.mtime_nanos;
    bool negative = seconds < 0;
    if (negative && nanos != 0) {
      ++seconds;
      nanos = 1'000'000'000 - nanos;
    }
    std::string text = fmt::format("{}{}", negative && seconds == 0 ? "-" : "", seconds);
    if (nanos != 0) text += fmt::format(".{:09}", nanos);
    AddPax(&pax, "mtime", text);
  }
  for (const auto& [name, value] : entry.xattrs) AddPax(&pax, "SCHILY.xattr." + name, value);
  return pax;
}

void PutClamped(char* block, Field field, uint64_t value) {
  PutNumber(block, field, value > MaxOctal(field) ? 0 : value);
}

}  // namespace

Result<> TarWriter::WriteHeader(const TarEntry& entry) {
  TRY(FinishEntry());
  if (entry.name.empty()) return InvalidArgument("writing tar: an entry without a name");
  std::string_view prefix;
  std::string_view name;
  bool fits = IsPlain(entry.name) && SplitName(entry.name, &prefix, &name);
  std::string pax = PaxRecords(entry, fits);
  if (!pax.empty()) {
    TarEntry header;
    header.name = "PaxHeaders/entry";
    header.size = pax.size();
    char block[kBlock] = {};
    PutText(block, kName, header.name);
    PutNumber(block, kMode, 0644);
    PutNumber(block, kUid, 0);
    PutNumber(block, kGid, 0);
    PutNumber(block, kSize, pax.size());
    PutNumber(block, kMtime, 0);
    block[kType] = 'x';
    std::memcpy(block + kMagic.offset,
                "ustar\0"
                "00",
                8);
    Seal(block);
    pax.resize((pax.size() + kBlock - 1) / kBlock * kBlock, '\0');
    TRY(sink_.Write({block, kBlock}));
    TRY(sink_.Write(pax));
  }
  if (!fits) {
    prefix = {};
    name = std::string_view(entry.name).substr(0, kName.size);
  }
  char block[kBlock] = {};
  PutText(block, kName, name);
  PutText(block, kPrefix, prefix);
  PutNumber(block, kMode, entry.mode & 07777);
  PutClamped(block, kUid, entry.uid);
  PutClamped(block, kGid, entry.gid);
  bool has_data = entry.type == TarType::kFile || entry.type == TarType::kUnknown;
  uint64_t size = has_data ? entry.size : 0;
  PutClamped(block, kSize, size);
  PutClamped(block, kMtime,
             entry.mtime_seconds < 0 ? 0 : static_cast<uint64_t>(entry.mtime_seconds));
  block[kType] = Flag(entry.type);
  PutText(block, kLinkName, entry.link_name);
  std::memcpy(block + kMagic.offset,
              "ustar\0"
              "00",
              8);
  if (entry.type == TarType::kCharDevice || entry.type == TarType::kBlockDevice) {
    if (entry.device_major > MaxOctal(kDeviceMajor) ||
        entry.device_minor > MaxOctal(kDeviceMinor)) {
      return InvalidArgument("writing tar: device numbers of '{}' are too large", entry.name);
    }
    PutNumber(block, kDeviceMajor, entry.device_major);
    PutNumber(block, kDeviceMinor, entry.device_minor);
  }
  Seal(block);
  TRY(sink_.Write({block, kBlock}));
  data_left_ = size;
  padding_ = (kBlock - size % kBlock) % kBlock;
  return {};
}

Result<> TarWriter::WriteData(std::string_view data) {
  if (data.size() > data_left_) {
    return Internal("writing tar: {} bytes more than the entry's size", data.size() - data_left_);
  }
  data_left_ -= data.size();
  return sink_.Write(data);
}

Result<> TarWriter::WriteFile(TarEntry entry, std::string_view data) {
  entry.size = data.size();
  TRY(WriteHeader(entry));
  return WriteData(data);
}

Result<> TarWriter::FinishEntry() {
  if (data_left_ != 0) {
    return Internal("writing tar: {} bytes less than the entry's size", data_left_);
  }
  if (padding_ == 0) return {};
  return sink_.Write({kZeros, std::exchange(padding_, 0)});
}

Result<> TarWriter::Finish() {
  TRY(FinishEntry());
  return sink_.Write({kZeros, sizeof kZeros});
}

}  // namespace gantry::formats
