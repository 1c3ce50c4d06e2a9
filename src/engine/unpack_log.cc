// SPDX-License-Identifier: Apache-2.0
#include "engine/unpack_log.h"

#include <utility>

#include "formats/compression/compression.h"

namespace gantry::engine {
namespace {

namespace compression = formats::compression;

class UnpackedLog : public ByteSource {
 public:
  explicit UnpackedLog(BorrowedFd file) : packed_(file) {}
  Result<> Begin() {
    plain_ = TRY(compression::Decompress(packed_, compression::Kind::kGzip));
    return {};
  }
  Result<std::string_view> Next() override { return plain_->Next(); }

 private:
  FdSource packed_;
  std::unique_ptr<ByteSource> plain_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> UnpackLog(BorrowedFd file) {
  auto log = std::make_unique<UnpackedLog>(file);
  TRY(log->Begin());
  return std::unique_ptr<ByteSource>(std::move(log));
}

}  // namespace gantry::engine
