// SPDX-License-Identifier: Apache-2.0
//
// The typed client of the containerd API, for the engine: plain structs in, Result out, no protobuf
// type in sight. One object a daemon; any thread may call any method. A call returns when the
// daemon has answered, or fails with kDeadlineExceeded after its bound; kUnavailable means that
// nobody answers at the address. The kinds of errors are the daemon's gRPC status codes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/stop_token.h"
#include "oci/platform.h"

namespace gantry::client {

using Labels = std::map<std::string, std::string>;

// Of PrepareSnapshot: the most that may be written into the snapshot, decimal bytes; heeded by
// snapshotters with the capability "quota".
inline constexpr const char* kQuotaLabel = "containerd.io/snapshot/gantry.quota-bytes";

struct Descriptor {
  std::string media_type;
  std::string digest;  // "sha256:…"
  int64_t size = 0;    // bytes
};

struct Image {
  std::string name;
  Descriptor target;
  Labels labels;
  WallTime created_at{};
  WallTime updated_at{};
};

struct Blob {
  std::string digest;
  int64_t size = 0;  // bytes
  Labels labels;
};

struct Mount {
  std::string type;
  std::string source;
  std::string target;
  std::vector<std::string> options;
};

struct SnapshotUsage {
  int64_t size = 0;  // bytes
  int64_t inodes = 0;
};

struct Container {
  std::string id;
  std::string image;
  Labels labels;
  std::string runtime;         // "io.containerd.runc.v2", or the absolute path of a shim
  std::string runtime_binary;  // for runc.v1.Options.binary_name; "" for the shim's default
  // Who owns the pipes of its processes' output, by the host's ids.
  uint32_t io_uid = 0;
  uint32_t io_gid = 0;
  std::string snapshotter;
  std::string snapshot_key;
  std::string spec;  // config.json
};

enum class TaskStatus { kUnknown, kCreated, kRunning, kStopped, kPaused, kPausing };

struct TaskState {
  std::string container_id;
  std::string exec_id;  // "" for the init process
  uint32_t pid = 0;
  TaskStatus status = TaskStatus::kUnknown;
  uint32_t exit_status = 0;
  WallTime exited_at{};
};

struct Exit {
  uint32_t pid = 0;  // 0 from Wait
  uint32_t exit_status = 0;
  WallTime exited_at{};
};

struct CreateTask {
  std::string container_id;
  std::vector<Mount> rootfs;
  std::string stdin_path;  // as shim-io.md or containerd have it
  std::string stdout_uri;
  std::string stderr_uri;
  bool terminal = false;
};

struct ExecTask {
  std::string container_id;
  std::string exec_id;
  std::string process;  // the "process" object of config.json
  std::string stdin_path;
  std::string stdout_uri;
  std::string stderr_uri;
  bool terminal = false;
};

struct Metrics {
  std::string type;  // "io.containerd.cgroups.v1.Metrics" or v2
  std::string data;  // its protobuf encoding
  WallTime time{};
};

// A task event of the daemon, in the order in which it was published; only what the engine acts on
// is subscribed to.
struct TaskEvent {
  enum class Kind { kExit, kOom };
  Kind kind = Kind::kExit;
  std::string container_id;
  std::string exec_id;  // "" for the init process
  uint32_t pid = 0;
  uint32_t exit_status = 0;
  WallTime exited_at{};
  WallTime time{};
};

struct Progress {
  std::string event;  // "waiting", "downloading", "extracting", "complete", "saved", …
  std::string name;
  std::vector<std::string> parents;
  int64_t progress = 0;  // bytes
  int64_t total = 0;     // bytes, 0 when unknown
  Descriptor descriptor;
};
using ProgressCallback = std::function<void(const Progress&)>;

struct Credentials {
  std::string username;
  std::string secret;
  std::string identity_token;
};

struct PullRequest {
  std::string reference;   // "docker.io/library/busybox:latest"
  std::string store_name;  // the image's name in the store
  std::string snapshotter;
  oci::Platform platform;
  std::optional<Credentials> credentials;
  std::string hosts_directory;  // with HOST/hosts.toml; "": the daemon's own
};

struct PushRequest {
  std::string reference;                  // "localhost:5000/name:tag"
  std::string store_name;                 // the image's name in the store
  std::optional<oci::Platform> platform;  // of an index this manifest alone
  std::optional<Credentials> credentials;
  std::string hosts_directory;  // as of PullRequest
};

// An open event stream; destroying it ends it and waits for the last callback.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

// The name of the write of a blob under a lease (OpenBlob).
std::string WriteOf(const std::string& lease);

// A blob on its way into the store. One thread.
class BlobWriter {
 public:
  ~BlobWriter();
  // Bytes so far.
  uint64_t offset() const;
  Result<> Write(std::string_view data);
  // Its digest and size; a blob that is there already is success. Of one that began here.
  Result<Descriptor> Commit(const Labels& labels);
  // The same when only the daemon knows all bytes. kFailedPrecondition: they have another digest;
  // the write stays for another ResumeBlob.
  Result<> CommitAs(const std::string& digest, const Labels& labels);

 private:
  friend class Containerd;
  struct Stream;
  Result<> SendCommit(const std::string& digest, const Labels& labels);
  explicit BlobWriter(std::unique_ptr<Stream> stream);
  std::unique_ptr<Stream> stream_;
};

class Containerd {
 public:
  struct Stubs;

  // Connects lazily; `address` is a unix socket's path, `name_space` containerd's namespace.
  static std::unique_ptr<Containerd> Create(const std::string& address,
                                            const std::string& name_space);
  ~Containerd();

  // "containerd", version and revision; also says whether anybody answers.
  Result<std::string> Version(std::chrono::milliseconds timeout = std::chrono::seconds(5));
  // Creates the namespace unless it is there.
  Result<> EnsureNamespace();

  // How often names of images may have changed through this object.
  uint64_t image_changes() const { return image_changes_; }
  Result<Image> GetImage(const std::string& name);
  Result<std::vector<Image>> ListImages();
  // Creates the image or points an existing one at another target.
  Result<> PutImage(const Image& image);
  // `collect`: waits until what nobody needs any more is deleted.
  Result<> DeleteImage(const std::string& name, bool collect);

  Result<Blob> GetBlob(const std::string& digest);
  Result<> DeleteBlob(const std::string& digest);
  // More than `limit` bytes is an error of kind kResourceExhausted.
  Result<std::string> ReadBlob(const std::string& digest, size_t limit = size_t{16} << 20);
  // `size` bytes from `offset` on, piece by piece.
  Result<> ReadBlobPart(const std::string& digest, uint64_t offset, uint64_t size,
                        const std::function<Result<>(std::string_view)>& take);
  // blobs.cc. Those that have this label with this value.
  Result<std::vector<Blob>> FindBlobs(const std::string& label, const std::string& value);
  // Sets these labels and leaves others as they are; an empty value removes one.
  Result<> SetBlobLabels(const std::string& digest, const Labels& labels);
  // Writes a small blob; a blob that is there already is success.
  Result<> WriteBlob(const std::string& digest, const std::string& data, const Labels& labels);

  // What the snapshotter can do that not all can, such as "quota". kNotFound: there is none of this
  // name. kFailedPrecondition: it could not be loaded.
  Result<std::vector<std::string>> SnapshotterCapabilities(const std::string& snapshotter);
  // `lease`: what holds it; "": its labels, such as "containerd.io/gc.root".
  Result<std::vector<Mount>> PrepareSnapshot(const std::string& snapshotter, const std::string& key,
                                             const std::string& parent, const Labels& labels,
                                             const std::string& lease = "");
  // A read-only one.
  Result<std::vector<Mount>> ViewSnapshot(const std::string& snapshotter, const std::string& key,
                                          const std::string& parent, const Labels& labels,
                                          const std::string& lease = "");
  Result<std::vector<Mount>> SnapshotMounts(const std::string& snapshotter, const std::string& key);
  Result<SnapshotUsage> GetSnapshotUsage(const std::string& snapshotter, const std::string& key);
  Result<> RemoveSnapshot(const std::string& snapshotter, const std::string& key);

  // layers.cc. A lease holds what is made under it.
  enum class LeaseLife { kDay, kWeek, kUntilDeleted };
  Result<> CreateLease(const std::string& id, LeaseLife life = LeaseLife::kDay,
                       const Labels& labels = {});
  // What is gone already is no error. `collect`: waits until what nobody needs any more is deleted.
  Result<> DeleteLease(const std::string& id, bool collect = false);
  Result<std::vector<std::string>> ListLeases();
  // Those that have this label with this value.
  Result<std::vector<std::string>> FindLeases(const std::string& label, const std::string& value);
  // Holds something that is there already: type "content" and a digest, or "snapshots/NAME" and a
  // key.
  Result<> AddToLease(const std::string& lease, const std::string& type, const std::string& id);
  // A blob of unknown size.
  Result<std::unique_ptr<BlobWriter>> OpenBlob(const std::string& lease);
  // The same with a name of its own: it goes on where an earlier writer of that name ended, also
  // one of another process. kUnavailable: another writer has it.
  Result<std::unique_ptr<BlobWriter>> ResumeBlob(const std::string& lease, const std::string& ref);
  // Bytes so far of such a write; kNotFound.
  Result<uint64_t> WrittenSize(const std::string& ref);
  Result<> AbortWrite(const std::string& ref);
  // The layer that makes `right` out of `left`, as a blob of that type. No time in it is later than
  // `newest`, seconds since 1970.
  Result<Descriptor> DiffMounts(const std::string& lease, const std::vector<Mount>& left,
                                const std::vector<Mount>& right, const std::string& media_type,
                                std::optional<int64_t> newest = std::nullopt);
  Result<> ApplyLayer(const std::string& lease, const Descriptor& layer,
                      const std::vector<Mount>& mounts);
  Result<> CommitSnapshot(const std::string& snapshotter, const std::string& lease,
                          const std::string& name, const std::string& key);

  Result<> CreateContainer(const Container& container);
  Result<> DeleteContainer(const std::string& id);
  Result<std::vector<std::string>> ListContainers();

  Result<uint32_t> Create(const CreateTask& request);  // the init's pid
  Result<uint32_t> Start(const std::string& id, const std::string& exec_id = "");
  Result<> Kill(const std::string& id, const std::string& exec_id, uint32_t signal, bool all);
  Result<Exit> Delete(const std::string& id);
  Result<Exit> DeleteExec(const std::string& id, const std::string& exec_id);
  Result<> Exec(const ExecTask& request);
  Result<> Resize(const std::string& id, const std::string& exec_id, uint32_t width,
                  uint32_t height);
  Result<> CloseStdin(const std::string& id, const std::string& exec_id);
  Result<> Pause(const std::string& id);
  Result<> Resume(const std::string& id);
  // `resources` is the "resources" object of config.json.
  Result<> Update(const std::string& id, const std::string& resources);
  Result<std::vector<uint32_t>> Pids(const std::string& id);
  Result<Metrics> GetMetrics(const std::string& id);
  Result<TaskState> GetTask(const std::string& id, const std::string& exec_id = "");
  Result<std::vector<TaskState>> ListTasks();
  // Calls back from a thread of the client once the process has exited, or with the call's error.
  void WaitAsync(const std::string& id, const std::string& exec_id,
                 std::function<void(Result<Exit>)> done);

  // Task events of this namespace; returns once the daemon has said that it sends them, so that
  // what is listed afterwards misses nothing. `ended` is called once, when the stream broke; both
  // callbacks come from a thread of the client and must not block.
  std::unique_ptr<Subscription> SubscribeTasks(std::function<void(const TaskEvent&)> event,
                                               std::function<void(Error)> ended);

  // Reads up to `size` bytes into the buffer; 0 at the end.
  using ReadFunction = std::function<Result<size_t>(char* buffer, size_t size)>;
  using WriteFunction = std::function<Result<>(std::string_view data)>;
  // Image archives (Transfer service). Import returns the names that were stored, sorted; an image
  // without one is stored as `unnamed`@DIGEST. Of indexes `platforms` are kept and unpacked; none:
  // all are kept, and the host's unpacked.
  Result<std::vector<std::string>> Import(const ReadFunction& read, const std::string& unnamed,
                                          const std::string& snapshotter,
                                          const std::vector<oci::Platform>& platforms,
                                          const ProgressCallback& progress, const StopToken& stop);
  // Of indexes these platforms; none: all that are here.
  Result<> Export(const std::vector<std::string>& names,
                  const std::vector<oci::Platform>& platforms, const WriteFunction& write,
                  const StopToken& stop);
  // Makes the snapshots of an image of the store whose layers are only there as blobs.
  Result<> UnpackImage(const std::string& name, const std::string& snapshotter,
                       const oci::Platform& platform);
  Result<> Pull(const PullRequest& request, const ProgressCallback& progress,
                const StopToken& stop);
  // Progress: "waiting", "uploading", "already exists", "mounted", "complete" for each blob.
  Result<> Push(const PushRequest& request, const ProgressCallback& progress,
                const StopToken& stop);

 private:
  using SavedImages = std::map<std::string, Descriptor>;  // by name
  // The list of an archive's images is stored like an image without a name.
  Result<> RemoveArchiveIndex(const std::string& unnamed, SavedImages* saved);

  explicit Containerd(std::unique_ptr<Stubs> stubs);
  std::unique_ptr<Stubs> stubs_;
  std::atomic<uint64_t> image_changes_ = 0;
};

}  // namespace gantry::client
