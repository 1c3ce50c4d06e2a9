// SPDX-License-Identifier: Apache-2.0
#include "build_client/cache_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/directory.h"
#include "base/io.h"
#include "base/random.h"
#include "containerd/services/content/v1/content.plain.h"
#include "formats/digest.h"
#include "formats/protobuf_wire.h"

namespace gantry::build_client {
namespace {

namespace content = plain::containerd::services::content::v1;
using formats::Json;
using wire::GrpcCall;

constexpr const char* kRefName = "org.opencontainers.image.ref.name";
constexpr size_t kBlobPiece = size_t{256} << 10;
constexpr size_t kMostIndexBytes = size_t{4} << 20;

std::string IndexPath(const std::string& directory) { return directory + "/index.json"; }

// Digests are the engine's: only what is one becomes a path.
Result<std::string> BlobPath(const std::string& directory, const std::string& digest) {
  formats::Digest parsed = TRY(formats::Digest::Parse(digest));
  std::string path = directory + "/blobs/" + parsed.text();
  path[path.rfind(':')] = '/';
  return path;
}

Result<Json> ReadIndex(const std::string& directory) {
  std::string text = TRY(ReadFile(IndexPath(directory), kMostIndexBytes));
  return TRY_WITH(Json::Parse(text), "reading '{}'", IndexPath(directory));
}

const std::string& NameOf(const Json& descriptor) {
  return descriptor["annotations"][kRefName].AsString();
}

// Sends a blob piece by piece as long as the call lives.
class BlobSender {
 public:
  BlobSender(GrpcCall& call, std::string directory)
      : call_(call), directory_(std::move(directory)) {}

  void Begin(std::string_view message) {
    Result<> begun = Open(message);
    if (!begun.ok()) return End(begun);
    SendMore();
  }
  void SendMore() {
    if (!file_.valid()) return;
    content::ReadContentResponse piece;
    piece.data.resize(kBlobPiece);
    Result<size_t> got = ReadSome(file_, piece.data.data(), kBlobPiece);
    if (!got.ok() || *got == 0) return End(got.ok() ? Result<>() : Result<>(got.error()));
    piece.data.resize(*got);
    piece.offset = sent_;
    sent_ += static_cast<int64_t>(*got);
    call_.Send(formats::ProtoEncode(piece));
  }

 private:
  Result<> Open(std::string_view message) {
    auto request = TRY(formats::ProtoDecode<content::ReadContentRequest>(message));
    if (request.offset != 0 || request.size != 0) {
      return Unimplemented("a part of a blob is not sent");
    }
    file_ = TRY(OpenFile(TRY(BlobPath(directory_, request.digest)), O_RDONLY | O_NOFOLLOW));
    return {};
  }
  void End(const Result<>& status) {
    file_.Reset();
    call_.Finish(status);
  }

  GrpcCall& call_;
  const std::string directory_;
  UniqueFd file_;
  int64_t sent_ = 0;
};

// Writes a blob beside its place, where it appears when it is whole.
class BlobReceiver {
 public:
  BlobReceiver(GrpcCall& call, std::string directory)
      : call_(call), directory_(std::move(directory)) {}
  ~BlobReceiver() {
    if (!written_.empty()) (void)::unlink(written_.c_str());
  }
  BlobReceiver(const BlobReceiver&) = delete;
  BlobReceiver& operator=(const BlobReceiver&) = delete;

  void Take(std::string_view message) {
    if (done_) return;
    Result<bool> last = TakeRequest(message);
    if (last.ok() && !*last) return;
    done_ = true;
    call_.Finish(last.ok() ? Result<>() : Result<>(last.error()));
  }

 private:
  // True: the blob is there.
  Result<bool> TakeRequest(std::string_view message) {
    auto request = TRY(formats::ProtoDecode<content::WriteContentRequest>(message));
    if (!file_.valid()) TRY(Open(request));
    if (request.offset != size_) {
      return InvalidArgument("a piece at {} does not follow {} bytes", request.offset, size_);
    }
    TRY_WITH(WriteAll(file_, request.data), "writing '{}'", path_);
    size_ += static_cast<int64_t>(request.data.size());
    bool last = request.action == content::WriteAction::kCommit;
    if (last) TRY(Commit());
    content::WriteContentResponse answer;
    answer.action = request.action;
    answer.offset = size_;
    answer.total = total_;
    if (last) answer.digest = digest_;
    call_.Send(formats::ProtoEncode(answer));
    return last;
  }

  Result<> Open(const content::WriteContentRequest& request) {
    digest_ = request.expected;
    total_ = request.total;
    path_ = TRY(BlobPath(directory_, digest_));
    if (::access(path_.c_str(), F_OK) == 0) return AlreadyExists("blob {} exists", digest_);
    TRY(MakeDirectories(path_.substr(0, path_.rfind('/')), 0755));
    std::string beside = path_ + ".tmp-" + RandomHex(8);
    file_ = TRY_WITH(OpenFile(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644),
                     "writing '{}'", path_);
    written_ = std::move(beside);
    return {};
  }

  Result<> Commit() {
    if (size_ != total_) {
      return InvalidArgument("blob {} has {} bytes, not {}", digest_, size_, total_);
    }
    if (::fsync(file_.get()) != 0 || ::rename(written_.c_str(), path_.c_str()) != 0) {
      return ErrnoError("writing '{}'", path_);
    }
    written_.clear();
    return {};
  }

  GrpcCall& call_;
  const std::string directory_;
  std::string digest_, path_;
  std::string written_;  // what is to be removed if nothing comes of it
  UniqueFd file_;
  int64_t size_ = 0, total_ = 0;
  bool done_ = false;
};

}  // namespace

Result<std::string> FindCacheManifest(const std::string& directory, const std::string& tag) {
  Json index = TRY(ReadIndex(directory));
  for (const Json& descriptor : index["manifests"].items()) {
    if (NameOf(descriptor) == tag) return descriptor["digest"].AsString();
  }
  return NotFound("'{}' has no cache called {}", directory, tag);
}

Result<> PrepareCacheDirectory(const std::string& directory) {
  TRY(MakeDirectories(directory + "/blobs/sha256", 0755));
  return ReplaceFile(directory + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})", 0644);
}

Result<> NameCacheManifest(const std::string& directory, const std::string& tag, Json descriptor) {
  Json manifests = Json::MakeArray();
  Result<Json> before = ReadIndex(directory);
  bool absent = !before.ok() && before.error().error_number() == ENOENT;
  if (!before.ok() && !absent) return std::move(before).error();
  if (before.ok()) {
    for (const Json& one : (*before)["manifests"].items()) {
      if (NameOf(one) != tag) manifests.Append(one);
    }
  }
  descriptor.Set("annotations", Json::MakeObject({{kRefName, tag}}));
  manifests.Append(std::move(descriptor));
  Json index = Json::MakeObject({{"schemaVersion", 2},
                                 {"mediaType", "application/vnd.oci.image.index.v1+json"},
                                 {"manifests", std::move(manifests)}});
  return ReplaceFile(IndexPath(directory), index.Dump(), 0644);
}

void ServeCacheRead(const std::shared_ptr<GrpcCall>& call, const std::string& directory) {
  auto sender = std::make_shared<BlobSender>(*call, directory);
  call->on_message = [sender](std::string_view message) { sender->Begin(message); };
  call->on_writable = [sender] { sender->SendMore(); };
}

void ServeCacheWrite(const std::shared_ptr<GrpcCall>& call, const std::string& directory) {
  auto receiver = std::make_shared<BlobReceiver>(*call, directory);
  call->on_message = [receiver](std::string_view message) { receiver->Take(message); };
}

}  // namespace gantry::build_client
