// SPDX-License-Identifier: Apache-2.0
//
// The engine: docker's behaviour over the containerd API. One object a daemon, a verb a file
// (create.cc, start.cc, …). It owns the containers' records, names and endpoints; tasks, images and
// snapshots are the container daemon's, which it reaches through `client` only. Any thread may call
// any method. Errors speak docker's words; their kinds become HTTP statuses in engine/api.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "engine/accounts.h"
#include "engine/action_times.h"
#include "engine/config.h"
#include "engine/config_checks.h"
#include "engine/container.h"
#include "engine/event.h"
#include "engine/host_files.h"
#include "engine/image_holds.h"
#include "engine/image_index.h"
#include "engine/image_sizes.h"
#include "engine/plugins.h"
#include "engine/settings.h"
#include "engine/start_traces.h"
#include "engine/user_remap.h"
#include "networks/networks.h"
#include "oci/runtime_spec.h"
#include "volumes/volumes.h"
#include "wire/loop_thread.h"
#include "wire/worker_pool.h"

namespace gantry::engine {

class Store;
struct ContainerFiles;
struct PathStat;
struct SpecRequest;
struct Untold;

// How long the kernel may take to end a killed container.
constexpr std::chrono::seconds kKillBound(30);

struct EngineOptions {
  std::string root;                // ROOT, /var/lib/gantry
  std::string state;               // RUN, /run/gantry
  std::string programs_directory;  // where gantry-init, the shim, … are
  std::string containerd_address;
  std::string containerd_namespace = "gantry";
  std::string snapshotter = "overlayfs";
  // The most that may be written into the layer of a container that asks for no other limit; 0: any
  // amount.
  int64_t layer_bytes = 0;
  // Asked for under a foreign containerd: the absolute path of our shim.
  std::string runtime = "io.containerd.runc.v2";
  std::string cgroup_parent = "/gantry";
  // Of the networks; the engine sets where their records and programs are.
  networks::Options networks;
  std::string engine_id;
  std::optional<UserRemap> remap;  // --userns-remap
  // What holds until SetSettings.
  Settings settings;
  // Called for each event, in order for each container; must not call the engine.
  std::function<void(const Event&)> publish;
  // Whether an event of this type, action and actor was published at its time or later: what a
  // killed gantryd has still told is not told again.
  std::function<bool(const Event&)> told;
  // `told` does not see what is older.
  std::function<WallTime()> told_since;
  // Task events of exec'ed processes (exec_id is not empty) go here.
  std::function<void(const client::TaskEvent&)> exec_event;
  // Its execs are nobody's any more. Must not block.
  std::function<void(const std::string& id)> removed;
  // A container with a health check has begun to run, or does not run (or is paused). Must not
  // block.
  std::function<void(const std::string& id, bool runs)> probe;
  // The log of a container with such a driver is to be sent to its server; or the container is
  // removed, then this may take as long as LogForwarder::Remove.
  std::function<void(const std::string& id, bool exists)> forward_log;
};

class Engine {
 public:
  // Opens the store and the networks. Connect() must follow before any verb.
  static Result<std::unique_ptr<Engine>> Create(EngineOptions options, wire::WorkerPool& workers);
  ~Engine();

  // Waits for the container daemon, subscribes to its events, compares records with tasks and
  // networks with the kernel, finishes what a crash has left half done. Later breaks of the
  // connection are repaired in the background, each with a comparison.
  Result<> Connect(std::chrono::milliseconds bound);
  // No new work; what runs is left running.
  void Shutdown();

  // By id, unique prefix of an id, or name, with or without a slash; PARENT/ALIAS for the end of a
  // link. kNotFound: "No such container: NAME".
  Result<std::shared_ptr<Container>> Find(std::string_view reference) const;
  // Newest first.
  std::vector<Container::RecordPointer> List() const;

  struct Created {
    std::string id;
    std::vector<std::string> warnings;
  };
  // "" gives a made-up name. kAlreadyExists: the name is in use.
  Result<Created> CreateContainer(std::string name, CreateRequest request);

  enum class Outcome { kDone, kAlreadySo };  // kAlreadySo is HTTP 304
  Result<Outcome> Start(std::string_view reference);
  // `timeout` in seconds, negative: for ever; unset: the container's own, else 10.
  Result<Outcome> Stop(std::string_view reference, std::optional<int64_t> timeout,
                       std::string_view signal = {});
  Result<> Restart(std::string_view reference, std::optional<int64_t> timeout,
                   std::string_view signal = {});
  // "", a name with or without SIG, or a number; "" is SIGKILL.
  Result<> Kill(std::string_view reference, std::string_view signal);
  struct RemoveOptions {
    bool force = false;
    bool volumes = false;
  };
  Result<> Remove(std::string_view reference, RemoveOptions options);
  // The link "PARENT/ALIAS"; both containers stay.
  Result<> RemoveLink(std::string_view link);
  Result<> Rename(std::string_view reference, std::string_view name);
  Result<> Pause(std::string_view reference);
  Result<> Unpause(std::string_view reference);
  Result<> Resize(std::string_view reference, uint32_t width, uint32_t height);
  // The body of POST /containers/{id}/update.
  Result<std::vector<std::string>> Update(std::string_view reference, const formats::Json& body);

  // POST /networks/create.
  struct NetworkCreate {
    std::string name;
    std::string driver;
    std::string scope;
    bool internal = false;
    bool attachable = false;
    bool ingress = false;
    bool config_only = false;
    std::string config_from;
    std::optional<bool> enable_ipv4;  // unset: true
    std::optional<bool> enable_ipv6;  // unset: false
    std::string ipam_driver;
    std::vector<networks::IpamConfig> ipam;
    std::map<std::string, std::string> ipam_options;
    std::map<std::string, std::string> options;
    std::map<std::string, std::string> labels;
  };
  Result<networks::Network> CreateNetwork(const NetworkCreate& wanted);
  Result<> RemoveNetwork(std::string_view reference);
  // Removes the users' networks that no container is on; returns their names.
  Result<std::vector<std::string>> PruneNetworks(
      const std::function<bool(const networks::Network&)>& wanted);
  // A running container joins or leaves at once, another one when it starts.
  Result<> ConnectNetwork(std::string_view network, std::string_view reference,
                          EndpointConfig config);
  Result<> DisconnectNetwork(std::string_view network, std::string_view reference);
  // The names beside the container's own that a user's network knows it by.
  static std::vector<std::string> AliasesOf(const ContainerRecord& record,
                                            const EndpointConfig& config);

  // volumes.cc. A volume of that name that is there already is the answer; a name of "" gives a
  // made-up one.
  Result<volumes::Volume> CreateVolume(volumes::CreateRequest request);
  // kAborted while a container uses it.
  Result<> RemoveVolume(const std::string& name);
  struct PrunedVolumes {
    std::vector<std::string> names;
    int64_t bytes = 0;
  };
  // Those without a user, without mount options, for which `wanted` says so.
  Result<PrunedVolumes> PruneVolumes(const std::function<bool(const volumes::Volume&)>& wanted);

  // archive.cc: docker cp. Errors of a path that is not there: kNotFound in docker's words.
  Result<PathStat> StatPath(std::string_view reference, const std::string& path);
  // `begin` is called once it is sure that there is something.
  Result<> GetArchive(std::string_view reference, const std::string& path,
                      const std::function<Result<>(const PathStat&)>& begin, ByteSink& sink);
  struct PutArchiveOptions {
    bool keeps_kinds = false;  // a directory replaces nothing else, nor the reverse
    bool copy_owner = false;   // everything becomes the container's user's
  };
  Result<> PutArchive(std::string_view reference, const std::string& path,
                      PutArchiveOptions options, ByteSource& archive);
  // The files of the root alone, without volumes.
  Result<> Export(std::string_view reference, const std::function<Result<>()>& begin,
                  ByteSink& sink);
  struct Change {
    enum class Kind : uint8_t { kModified, kAdded, kDeleted };  // docker's numbers
    Kind kind;
    std::string path;
  };
  // changes.cc: what the container has changed in its image's files, sorted.
  Result<std::vector<Change>> Changes(std::string_view reference);

  // The result of a probe of a running container.
  void TakeProbe(const std::string& id, const ProbeResult& result);

  // What an exec needs of a running container: the process of its spec and its accounts.
  struct ExecBasis {
    oci::Process process;
    Accounts accounts;
  };
  Result<ExecBasis> BasisForExec(const ContainerRecord& record);
  // As they are in the container now. kAborted: it has ended meanwhile.
  Result<Accounts> AccountsOfRunning(const ContainerRecord& record) const;

  // Paths of docs/state-on-disk.md.
  std::string ContainerDirectory(std::string_view id) const;
  std::string LogPath(std::string_view id) const;
  std::string AttachSocket(std::string_view id, std::string_view process) const;
  // What the paths of all attach sockets of a container begin with.
  std::string AttachSocketPrefix(std::string_view id) const;
  std::string NetworkNamespacePath(std::string_view id) const;
  // Whether the ids of its processes are others on the host (--userns-remap): by its own mode, or
  // by that of the container whose namespaces it joins.
  bool IsRemapped(const ContainerRecord& record) const;

  // Renames a directory into the trash, which is emptied in the background.
  Result<> Discard(const std::string& path);
  // A step's container that its build leaves to the user.
  Result<> KeepStepContainer(const std::string& id);

  client::Containerd& containerd() { return *containerd_; }
  networks::Controller& networks() { return *networks_; }
  volumes::Volumes& volumes() { return *volumes_; }
  ImageIndex& images() { return *images_; }
  ImageSizes& image_sizes() { return *image_sizes_; }
  ImageHolds& image_holds() { return image_holds_; }
  const StartTraces& start_traces() const { return start_traces_; }
  ActionTimes& action_times() { return action_times_; }
  int64_t probes() const { return probes_; }
  int64_t failed_probes() const { return failed_probes_; }
  wire::WorkerPool& workers() { return workers_; }
  Store& store() { return *store_; }
  const EngineOptions& options() const { return options_; }
  // The daemon's configuration as it is now; one pointer serves a whole request.
  std::shared_ptr<const Settings> settings() const;
  void SetSettings(Settings settings);
  bool unified_cgroups() const { return unified_cgroups_; }
  void Publish(std::string_view action, const ContainerRecord& record,
               std::map<std::string, std::string> attributes = {});
  void Publish(Event event);
  // What is told of the record as it is now is told by the next start when a kill -9 comes between
  // the two (untold_events.h).
  Result<> SaveAndPublish(const Container& container, std::string_view action,
                          std::map<std::string, std::string> attributes = {});
  // Unless that was told since then.
  void PublishOnce(const Event& event, WallTime since);

 private:
  Engine(EngineOptions options, wire::WorkerPool& workers);

  // engine.cc
  Result<> LoadContainers();
  void Insert(std::shared_ptr<Container> container);
  void Forget(const ContainerRecord& record);
  Result<> ReserveName(const std::string& name, const std::string& id);
  void ReleaseName(const std::string& name, const std::string& id);
  std::string MakeName() const;
  Result<> Save(const Container& container, const Event* untold = nullptr,
                const std::string& subject = {});
  std::vector<std::shared_ptr<Container>> All() const;
  std::shared_ptr<Container> FindById(const std::string& id) const;
  // As Find, and one that was removed while it is being tidied up.
  Result<std::shared_ptr<Container>> FindAny(std::string_view reference) const;
  Result<std::shared_ptr<Container>> FindLinked(std::string_view name) const;
  bool ShuttingDown() const;

  // create.cc
  HostFacts Facts() const;
  Result<> PinModes(HostConfig* host) const;
  Result<NamedImage> ImageFor(const CreateRequest& request, Warnings* warnings);
  Result<ContainerRecord> MakeRecord(CreateRequest request, Warnings* warnings);
  // The writable layer's snapshot; unpacks an image that is not yet.
  Result<std::vector<client::Mount>> PrepareWritable(const ContainerRecord& record);
  void DropHalfMade(const ContainerRecord& record);

  // start.cc
  Result<> StartWithTurn(Container& container);
  Result<> RunTask(Container& container, const ContainerRecord& record);
  // What the container daemon and its children have noted of the start.
  void CollectTrace(const std::string& id);
  Result<oci::Spec> MakeContainerSpec(const ContainerRecord& record,
                                      const std::vector<client::Mount>& root_mounts,
                                      BorrowedFd user_namespace);
  Result<std::vector<client::Mount>> RootMounts(const ContainerRecord& record);
  Result<Accounts> AccountsOf(const ContainerRecord& record,
                              const std::vector<client::Mount>& root_mounts);
  Result<std::string> StdoutUri(const ContainerRecord& record) const;

  // network_attach.cc
  struct Attached {
    std::vector<networks::Endpoint> endpoints;
    std::map<std::string, std::string> network_ids;  // of users' networks, by name
  };
  Result<> SettleNetworks(ContainerRecord* record) const;
  // It has a namespace with an entry of ours.
  static bool WantsNetworks(const ContainerRecord& record);
  Result<networks::NetworkRequest> MakeNetworkRequest(const NetworkCreate& wanted) const;
  Result<networks::AttachRequest> MakeAttachRequest(const ContainerRecord& record,
                                                    const networks::Network& network,
                                                    const EndpointConfig& config) const;
  // Into `netns`, or without one into a namespace that is made.
  Result<Attached> AttachNetworks(const ContainerRecord& record, UniqueFd netns);
  // Those that it was on.
  std::vector<networks::Network> DetachNetworks(const ContainerRecord& record);
  std::vector<networks::Network> ConnectedNetworks(const ContainerRecord& record) const;
  // Those that it is on while it runs.
  std::vector<networks::Network> RecordedNetworks(const ContainerRecord& record) const;
  Result<UniqueFd> OpenContainerNamespace(const ContainerRecord& record);
  Result<> CheckConnect(const ContainerRecord& record, const networks::Network& network,
                        const EndpointConfig& config) const;
  Result<> AttachRunning(const ContainerRecord& record, const networks::Network& network);
  void ReconcileAttachments(const ContainerRecord& record);
  // The namespace of one that is on no network has an entry for `ip netns`, too.
  Result<> LinkBareNamespace(const ContainerRecord& record, uint32_t pid);
  Result<HostFilesRequest> HostFilesOf(const ContainerRecord& record) const;
  Result<> UpdateHostFiles(const ContainerRecord& record);
  // links.cc's containers, looked up: kAborted when one does not run.
  Result<std::vector<LinkedContainer>> LinksOf(const ContainerRecord& record) const;
  std::vector<std::string> LinkedIds(const ContainerRecord& record) const;
  Result<> CheckLinks(const ContainerRecord& record) const;
  void TellLinkedFrom(const ContainerRecord& record);
  // network_verbs.cc
  Result<> RemoveAndPublish(const networks::Network& network);
  void PublishNetwork(std::string_view action, const networks::Network& network,
                      std::string_view container_id = {});

  void ForwardLog(const ContainerRecord& record, bool exists);

  // working_directory.cc
  Result<> MakeWorkingDirectory(const ContainerRecord& record,
                                const std::vector<client::Mount>& root_mounts);

  // volume_mounts.cc
  Result<> MakeMountPoints(bool read_only_non_recursive, ContainerRecord* record);
  Result<> CreateVolumesOf(ContainerRecord* record);
  Result<> PopulateVolumes(const ContainerRecord& record,
                           const std::vector<client::Mount>& root_mounts);
  Result<std::vector<oci::Mount>> SetUpMounts(const ContainerRecord& record);
  Result<std::string> MakeTransientMount(const ContainerRecord& record, const MountPoint& point,
                                         const std::string& source, size_t number);
  // Attaches a mount at a place of the container's own, a file or directory as `like` is; the path.
  Result<std::string> AttachTransient(const std::string& id, const std::string& name,
                                      BorrowedFd mount, BorrowedFd like);
  Result<std::vector<oci::Mount>> AttachStepMounts(const std::string& id, size_t number,
                                                   bool remapped);
  void DropTransientMounts(const std::string& id);
  void ReleaseMounts(const ContainerRecord& record);
  Result<> ReleaseVolumes(const ContainerRecord& record);
  Result<> RemoveMountsOf(const ContainerRecord& record);
  Result<> ReconcileVolumes();
  void PublishVolume(std::string_view action, const std::string& name,
                     std::map<std::string, std::string> attributes);

  // archive.cc
  Result<ContainerFiles> OpenFiles(std::string_view reference);
  Result<UniqueFd> OpenRootAlone(Container& container);

  // Says whether the container is to be probed, when it has a health check.
  void TellProbes(const ContainerRecord& record);

  // join.cc
  // `what` is the kind of namespace for the message: the other container must run.
  Result<Container::RecordPointer> NetworkOwner(std::string_view reference) const;
  bool IsOnUsersNetwork(const ContainerRecord& record) const;
  Result<Container::RecordPointer> Donor(const std::string& mode, std::string_view what) const;
  Result<> JoinNamespaces(const ContainerRecord& record, SpecRequest* request) const;
  // The path of the user namespace of the container whose namespaces it joins; "": it joins none.
  Result<std::string> UserNamespaceOfDonor(const ContainerRecord& record) const;
  // Of a remapped container: its user namespace, and the network namespace that belongs to it.
  struct OwnNamespaces {
    UniqueFd user;
    UniqueFd network;
  };
  Result<OwnNamespaces> MakeNamespaces(const ContainerRecord& record) const;
  // What is to be bound on /dev/shm; "" for a tmpfs of its own.
  Result<std::string> SharedMemoryOf(const ContainerRecord& record) const;
  std::string SharedMemoryPath(std::string_view id) const;
  void DropSharedMemory(const ContainerRecord& record) const;
  struct RuntimeChoice {
    std::string shim;    // as containerd knows it
    std::string binary;  // of the OCI runtime; "" for the shim's own
  };
  Result<RuntimeChoice> RuntimeOf(const HostConfig& host) const;

  // exit.cc
  void OnTaskEvent(const client::TaskEvent& event);
  void HandleExit(const std::string& id, const client::Exit& exit);
  // What came to an end under a gantryd that was killed may have been told by it.
  enum class Teller { kThis, kMaybeEarlier };
  void FinishExit(Container& container, const client::Exit& exit, Teller teller);
  bool ShouldRestart(const ContainerRecord& record) const;
  // The container is in the phase "restarting"; its turn is held.
  void ScheduleRestart(Container& planned);
  // Deletes the task, which is killed if it still runs, and containerd's record of the container.
  Result<> CleanTask(const std::string& id);
  // The same where a failure is repaired by the next comparison.
  void TryCleanTask(const std::string& id);
  void RemoveDeadSockets(const std::string& id) const;

  // remove.cc
  Result<> RemoveWithTurn(Container& container);
  Result<> BeginRemoval(Container& container);
  void FinishLater(std::shared_ptr<Container> container, Container::Turn turn);
  Result<> FinishRemoval(const ContainerRecord& record);

  // stop.cc
  // A stop or kill of a container that waits for its restart; its turn is held.
  Result<> CallRestartOff(Container& container);
  // A signal on its way to a container, and what is told of it.
  struct Signal;
  // The one that stops it: the wanted one, else its own, else SIGTERM.
  static Result<Signal> StopSignal(const ContainerRecord& record, std::string_view wanted);
  static Signal MakeSignal(const ContainerRecord& record, int number);
  void NoteSignal(const Signal& signal);
  Result<> SendSignal(const ContainerRecord& record, const Signal& signal);
  Result<> KillAlive(Container& container);
  // The first signal has been noted.
  Result<> StopAlive(Container& container, std::optional<int64_t> timeout, const Signal& first);

  // reconcile.cc
  Result<> ConnectOnce(std::chrono::milliseconds bound);
  Result<> Subscribe();
  void OnSubscriptionEnded(const Error& error);
  void Reconnect();
  void RemoveLateContainers();
  Result<> CheckSnapshotter();
  void EndLeasesOfBefore(std::vector<std::string> ids);
  Result<> Reconcile(bool first);
  Result<> RemoveLeftContainers(bool first);
  void ReconcileContainer(const std::shared_ptr<Container>& container,
                          const client::TaskState* task, bool first);
  void ReconcileLater(const std::shared_ptr<Container>& container);
  void ReconcileWithTurn(Container& container, const client::TaskState* task, bool first);
  void AdoptTask(Container& container, const client::TaskState& task, bool first);
  Result<> ReconcileNetworks();
  // tell_untold.cc
  Result<> TellUntold();
  Result<> ReconcileExecs(bool first);
  Result<bool> CameTrue(Untold* untold);
  void SweepDirectories();

  const EngineOptions options_;
  wire::WorkerPool& workers_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<client::Containerd> containerd_;
  HttpPlugins plugins_;
  std::unique_ptr<networks::Controller> networks_;
  std::unique_ptr<volumes::Volumes> volumes_;
  std::unique_ptr<ImageIndex> images_;
  std::unique_ptr<ImageSizes> image_sizes_;
  ImageHolds image_holds_;
  bool unified_cgroups_ = false;
  bool layer_quotas_ = false;  // set by Connect
  HostFacts facts_;            // without what Facts() asks the kernel each time
  // Some container has had links since the start.
  std::atomic<bool> any_links_ = false;
  StartTraces start_traces_;
  ActionTimes action_times_;
  std::atomic<int64_t> probes_ = 0;
  std::atomic<int64_t> failed_probes_ = 0;
  // Timers of restart policies, and of what is looked at again after the start.
  std::unique_ptr<wire::LoopThread> timers_;

  mutable Mutex settings_mutex_;
  std::shared_ptr<const Settings> settings_ GUARDED_BY(settings_mutex_);

  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<Container>, std::less<>> by_id_ GUARDED_BY(mutex_);
  std::map<std::string, std::string, std::less<>> id_by_name_ GUARDED_BY(mutex_);
  std::map<std::string, Accounts> accounts_by_snapshot_ GUARDED_BY(mutex_);
  // Of containers that were created and not started yet, to save a call.
  std::map<std::string, std::vector<client::Mount>> fresh_mounts_ GUARDED_BY(mutex_);
  bool shutting_down_ GUARDED_BY(mutex_) = false;
  std::unique_ptr<client::Subscription> subscription_ GUARDED_BY(mutex_);
  // Somebody is making the connection; the subscription has ended since they began.
  bool connecting_ GUARDED_BY(mutex_) = true;
  bool broken_ GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::engine
