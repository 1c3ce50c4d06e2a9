// SPDX-License-Identifier: Apache-2.0
//
// A client's session (POST /session): on that connection the roles are turned, the client serves
// gRPC: its directories, logins, secrets. Any thread; calls block.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/stop_token.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "buildkit/tree_sender.h"
#include "client/containerd.h"

namespace grpc {
class Channel;
}

namespace gantry::buildkit {

// A part of one of the client's directories, in the patterns of .dockerignore.
struct Directory {
  std::string name;  // "context", "dockerfile"
  std::vector<std::string> excludes;
  std::vector<std::string> followed;       // only these paths, and what they link to; empty: all
  std::vector<std::string> includes = {};  // only what fits; empty: all
  // The root has an earlier state of it: only what has changed comes.
  bool updates = false;
  // Hears how many bytes have come so far; may be empty.
  std::function<void(int64_t bytes)> told = {};
};

struct Received {
  int64_t bytes = 0;  // that came
  int64_t size = 0;   // of all files
};

// What a client says of its session.
struct SessionHead {
  std::string id;
  // Sessions of one key have the same directories, in different states; "": nobody's.
  std::string shared_key;
  std::set<std::string> methods;  // that it serves, "/moby.filesync.v1.Auth/…"
};

class Session {
 public:
  // `connection`: another descriptor of the channel's own.
  Session(SessionHead head, std::shared_ptr<grpc::Channel> channel, UniqueFd connection)
      : id_(std::move(head.id)),
        shared_key_(std::move(head.shared_key)),
        channel_(std::move(channel)),
        connection_(std::move(connection)) {
    for (const std::string& method : head.methods) methods_.insert(Lower(method));
  }

  const std::string& id() const { return id_; }
  const std::string& shared_key() const { return shared_key_; }
  // The client has not hung up.
  bool alive() const;

  // Receives the directory into `root`, which is empty but for an update; all becomes root's.
  Result<Received> Receive(const Directory& directory, BorrowedFd root, const StopToken& stop);
  // Of a registry ("docker.io", "localhost:5000"); empty when the client knows none.
  Result<client::Credentials> FindLogin(const std::string& registry, const StopToken& stop);
  // kNotFound when the client has none of that name.
  Result<std::string> Secret(const std::string& name, const StopToken& stop);
  // kNotFound when the client forwards no ssh agent of that name.
  Result<> FindAgent(const std::string& name, const StopToken& stop);
  // Hands connections to the listener on to the client's agent (agent_forward.h).
  std::shared_ptr<void> ServeAgent(const std::string& name, UniqueFd listener);

  // Of one of the client's content stores, piece by piece.
  struct StoredBlob {
    std::string store;
    std::string digest;
  };
  Result<> ReadBlob(const StoredBlob& blob,
                    const std::function<Result<>(std::string_view piece)>& take,
                    const StopToken& stop);
  // Into one of them; `read` hands the blob's bytes from an offset on. A blob that is there already
  // is success.
  using ReadPart = std::function<Result<>(
      uint64_t offset, uint64_t size, const std::function<Result<>(std::string_view piece)>& take)>;
  Result<> WriteBlob(const StoredBlob& blob, int64_t size, const ReadPart& read,
                     const StopToken& stop);
  // What the client hands over under a path, once. kNotFound: it does no such thing.
  Result<> PullUpload(const std::string& path,
                      const std::function<Result<>(std::string_view piece)>& take,
                      const StopToken& stop);
  // What the client takes for one of its exporters, by their number: a file, with what is told of
  // it, or directories. Bytes sent.
  Result<int64_t> SendFile(int exporter, const std::map<std::string, std::string>& told,
                           const std::function<Result<>(ByteSink& sink)>& write,
                           const StopToken& stop);
  Result<int64_t> SendTrees(int exporter, std::vector<SentTree> trees, const StopToken& stop);

 private:
  Result<> CheckTakesFiles() const;
  // Some clients tell methods in small letters.
  bool Serves(std::string_view method) const { return methods_.contains(Lower(method)); }

  const std::string id_;
  const std::string shared_key_;
  const std::shared_ptr<grpc::Channel> channel_;
  const UniqueFd connection_;
  std::set<std::string> methods_;
};

class Sessions {
 public:
  // The connection is the session's from now on. One of the same id is replaced.
  Result<> Add(SessionHead head, UniqueFd connection);
  // Builds may begin before their session: waits up to `bound` for it. kNotFound.
  Result<std::shared_ptr<Session>> Find(const std::string& id, std::chrono::milliseconds bound);

 private:
  // Forgets those whose client has gone.
  void Sweep() REQUIRES(mutex_);

  Mutex mutex_;
  CondVar added_;
  std::map<std::string, std::shared_ptr<Session>> sessions_ GUARDED_BY(mutex_);
};

}  // namespace gantry::buildkit
