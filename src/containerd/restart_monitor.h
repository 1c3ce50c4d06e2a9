// SPDX-License-Identifier: Apache-2.0
//
// Containers that shall run, or shall not, by their labels, as nerdctl's `--restart` sets them and
// containerd's plugin "restart" reads them:
//
//   containerd.io/restart.status              "running" or "stopped": what the task should be
//   containerd.io/restart.policy              always (also ""), no, unless-stopped, on-failure[:N]
//   containerd.io/restart.count               starts so far, counted here
//   containerd.io/restart.explicitly-stopped  "true": unless-stopped lets it be
//   containerd.io/restart.loguri              where the output of a new task goes
//
// A thread compares them with the tasks at each interval. What it does it does as a client of the
// daemon, so that a kill in between leaves what a client that vanishes leaves; the next comparison
// goes on from there.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "containerd/records.h"

namespace gantry::containerd {

// "" is always. kInvalidArgument with containerd's words for what is no policy.
struct RestartPolicy {
  enum class Kind { kNo, kAlways, kOnFailure, kUnlessStopped };
  Kind kind = Kind::kAlways;
  int most = 0;  // restarts of kOnFailure; 0: any number
  static Result<RestartPolicy> Parse(const std::string& text);
};

using ContainerLabels = google::protobuf::Map<std::string, std::string>;
// Whether a container whose task ended with `exit_status` starts again. A task that nobody knows
// has 0. An error is a label that can't be read.
Result<bool> ShouldRestart(const ContainerLabels& labels, uint32_t exit_status);

class RestartMonitor {
 public:
  // Makes a channel to the daemon, which costs memory: called once there is such a container.
  using Connect = std::function<std::shared_ptr<grpc::Channel>()>;
  // `database` outlives it.
  static std::unique_ptr<RestartMonitor> Start(Database* database, Connect connect,
                                               std::chrono::milliseconds interval);
  // Cuts off the call that runs.
  ~RestartMonitor();

 private:
  struct Labelled {
    std::string ns;
    containers_api::Container container;
  };

  RestartMonitor(Database* database, Connect connect, std::chrono::milliseconds interval);
  void Run();
  Result<std::vector<Labelled>> FindLabelled();
  Result<> Reconcile(const Labelled& labelled);
  Result<> StartAgain(const Labelled& labelled);
  Result<> Kill(const Labelled& labelled);
  template <typename Stub, typename Request, typename Response>
  Result<> Call(Stub* stub,
                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const std::string& ns, const Request& request, Response* response);

  Database* database_;
  const Connect connect_;
  std::shared_ptr<grpc::Channel> daemon_;  // the thread's
  std::chrono::milliseconds interval_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  grpc::ClientContext* running_ GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace gantry::containerd
