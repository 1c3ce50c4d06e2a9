// SPDX-License-Identifier: Apache-2.0
//
//   page     id:8 flags:2 count:2 overflow:4, then `count` elements, then keys and values
//   meta     (pages 0 and 1, behind the page's head) magic:4 version:4 page size:4 flags:4
//            root page:8 root sequence:8 free list:8 pages:8 transaction:8 checksum:8
//   branch   element: pos:4 key size:4 page:8
//   leaf     element: flags:4 pos:4 key size:4 value size:4; flags 1: the value is a bucket
//   bucket   root page:8 sequence:8, and a page of its own behind it when the root page is 0
//
// `pos` counts from the element's own beginning.
#include "formats/bolt_file.h"

#include <cstdint>
#include <cstring>
#include <optional>

namespace gantry::formats {
namespace {

constexpr uint32_t kMagic = 0xED0CDAED;
constexpr uint32_t kFileVersion = 2;
constexpr size_t kPageHead = 16;
constexpr size_t kElement = 16;
constexpr size_t kMeta = 64;
constexpr uint16_t kBranch = 1, kLeaf = 2;
constexpr uint32_t kIsBucket = 1;
// A tree of more levels than a file of any size has; a page that leads to itself ends here.
constexpr int kMaxTreeDepth = 32;
// Pages that may be looked at: no page is in a tree twice.
constexpr size_t kMaxElements = size_t{1} << 22;

Error Broken() { return InvalidArgument("a broken bolt file"); }

template <typename Number>
std::optional<Number> At(std::string_view data, size_t offset) {
  if (offset > data.size() || data.size() - offset < sizeof(Number)) return std::nullopt;
  Number number;
  std::memcpy(&number, data.data() + offset, sizeof number);
  return number;
}

std::optional<std::string_view> PartOf(std::string_view data, size_t offset, size_t size) {
  if (offset > data.size() || data.size() - offset < size) return std::nullopt;
  return data.substr(offset, size);
}

// FNV-1a of 64 bits.
uint64_t Checksum(std::string_view data) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : data) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

class BoltReader {
 public:
  explicit BoltReader(std::string_view file) : file_(file) {}

  Result<> ReadMeta();
  // Calls `take(flags, key, value)` for each pair of the tree below a page.
  template <typename Take>
  Result<> Walk(uint64_t page, const Take& take, int depth = 0) {
    if (page_size_ == 0 || page > file_.size() / page_size_) return Broken();
    return WalkPage(file_.substr(static_cast<size_t>(page) * page_size_), take, depth);
  }
  template <typename Take>
  Result<> WalkPage(std::string_view page, const Take& take, int depth);

  uint64_t root() const { return root_; }

 private:
  std::string_view file_;
  size_t page_size_ = 0;
  uint64_t root_ = 0;
  uint64_t transaction_ = 0;
  size_t elements_ = 0;
};

// The newer of the two that is whole counts: the other one is of the transaction before.
Result<> BoltReader::ReadMeta() {
  // The second one is a page further, whose size only the first one tells; that one may be broken.
  bool found = false;
  for (size_t size : {size_t{0}, size_t{4096}, size_t{8192}, size_t{16384}, size_t{65536}}) {
    std::optional<std::string_view> meta = PartOf(file_, size + kPageHead, kMeta);
    if (!meta || At<uint32_t>(*meta, 0) != kMagic || At<uint32_t>(*meta, 4) != kFileVersion)
      continue;
    if (At<uint64_t>(*meta, 56) != Checksum(meta->substr(0, 56))) continue;
    uint64_t transaction = *At<uint64_t>(*meta, 48);
    if (found && transaction < transaction_) continue;
    found = true;
    transaction_ = transaction;
    page_size_ = *At<uint32_t>(*meta, 8);
    root_ = *At<uint64_t>(*meta, 16);
  }
  if (!found || page_size_ < 512) return InvalidArgument("this is no bolt file");
  return {};
}

template <typename Take>
Result<> BoltReader::WalkPage(std::string_view page, const Take& take, int depth) {
  if (depth > kMaxTreeDepth) return Broken();
  std::optional<uint16_t> flags = At<uint16_t>(page, 8);
  std::optional<uint16_t> count = At<uint16_t>(page, 10);
  if (!flags || !count) return Broken();
  for (size_t i = 0; i < *count; ++i) {
    if (++elements_ > kMaxElements) return Broken();
    size_t begin = kPageHead + i * kElement;
    if (!PartOf(page, begin, kElement)) return Broken();
    if ((*flags & kBranch) != 0) {
      TRY(Walk(*At<uint64_t>(page, begin + 8), take, depth + 1));
      continue;
    }
    if ((*flags & kLeaf) == 0) return Broken();
    uint32_t key_size = *At<uint32_t>(page, begin + 8);
    uint32_t value_size = *At<uint32_t>(page, begin + 12);
    size_t key_at = begin + *At<uint32_t>(page, begin + 4);
    std::optional<std::string_view> key = PartOf(page, key_at, key_size);
    std::optional<std::string_view> value = PartOf(page, key_at + key_size, value_size);
    if (!key || !value) return Broken();
    TRY(take(*At<uint32_t>(page, begin), *key, *value));
  }
  return {};
}

}  // namespace

Result<std::map<std::string, std::string>> ReadBoltBucket(std::string_view file,
                                                          std::string_view bucket) {
  BoltReader reader(file);
  TRY(reader.ReadMeta());
  std::optional<std::string> found;
  TRY(reader.Walk(reader.root(), [&](uint32_t flags, std::string_view key, std::string_view value) {
    if ((flags & kIsBucket) != 0 && key == bucket) found = std::string(value);
    return Result<>();
  }));
  if (!found) return NotFound("no bucket '{}'", bucket);
  std::map<std::string, std::string> pairs;
  auto take = [&](uint32_t flags, std::string_view key, std::string_view value) {
    if ((flags & kIsBucket) == 0) pairs.emplace(key, value);
    return Result<>();
  };
  std::optional<uint64_t> root = At<uint64_t>(*found, 0);
  if (!root || found->size() < kPageHead) return Broken();
  if (*root != 0) {
    TRY(reader.Walk(*root, take));
  } else {
    TRY(reader.WalkPage(std::string_view(*found).substr(kPageHead), take, 0));
  }
  return pairs;
}

}  // namespace gantry::formats
