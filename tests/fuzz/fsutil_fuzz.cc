// SPDX-License-Identifier: Apache-2.0
//
// Any packets as what a client sends of a directory, each behind its length of two bytes: whatever
// they say, nothing is made, changed or removed outside of the directory that receives them.
// link: protobuf
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/io.h"
#include "buildkit/tree_receiver.h"

namespace {

namespace fs = std::filesystem;
using gantry::buildkit::PacketStream;

class Bytes : public PacketStream {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  bool Read(Packet* packet) override {
    if (bytes_.size() < 2) return false;
    size_t size =
        static_cast<unsigned char>(bytes_[0]) + 256u * static_cast<unsigned char>(bytes_[1]);
    bytes_.remove_prefix(2);
    size = std::min(size, bytes_.size());
    bool read = packet->ParseFromArray(bytes_.data(), static_cast<int>(size));
    bytes_.remove_prefix(size);
    return read;
  }
  bool Write(const Packet&) override { return true; }
  void EndWrites() override {}

 private:
  std::string_view bytes_;
};

constexpr std::string_view kCanary = "nobody changes this";

// OUTER has the directory, a file and another directory.
std::string MakeOuter() {
  std::string path = (fs::temp_directory_path() / "fuzz-fsutil-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) abort();
  fs::create_directory(path + "/other");
  if (!gantry::CreateFile(path + "/canary", kCanary, 0644).ok()) abort();
  return path;
}

void CheckOuter(const std::string& path) {
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(path)) ++entries;
  auto text = gantry::ReadFile(path + "/canary");
  struct stat status;
  bool same = entries == 3 && text.ok() && *text == kCanary && fs::is_empty(path + "/other") &&
              ::lstat((path + "/canary").c_str(), &status) == 0 && status.st_nlink == 1 &&
              (status.st_mode & 07777) == 0644;
  if (!same) abort();
}

// Also what its owner may not look into.
void RemoveInner(const std::string& path) {
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(path, error); !error && at != fs::end(at);
       at.increment(error)) {
    if (at->is_symlink() || !at->is_directory()) continue;
    fs::permissions(at->path(), fs::perms::owner_all, fs::perm_options::add);
  }
  fs::remove_all(path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string kOuter = MakeOuter();
  std::string inner = kOuter + "/in";
  fs::create_directory(inner);
  auto root = gantry::OpenFile(inner, O_RDONLY | O_DIRECTORY);
  if (!root.ok()) abort();
  Bytes bytes({reinterpret_cast<const char*>(data), size});
  gantry::buildkit::TreeReceiver receiver(*root, gantry::buildkit::TreeReceiver::Root::kHasEarlier);
  (void)receiver.Run(bytes);
  CheckOuter(kOuter);
  RemoveInner(inner);
  return 0;
}
