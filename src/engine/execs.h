// SPDX-License-Identifier: Apache-2.0
//
// Additional processes in running containers: POST /containers/{id}/exec and /exec/{id}/…. Execs
// live in memory, as docker's do: after a restart of gantryd the processes go on, their ids are
// unknown. Their end is told nevertheless: it is in UntoldEvents from the start on. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "client/containerd.h"
#include "engine/attach.h"
#include "engine/engine.h"
#include "engine/oci_spec.h"

namespace gantry::engine {

struct ExecOptions {
  ExecConfig config;
  bool attach_stdin = false;
  bool attach_stdout = false;
  bool attach_stderr = false;
  std::string detach_keys;  // as the user wrote them
  // Of a new terminal, in characters; 0: its own default.
  uint32_t width = 0;
  uint32_t height = 0;
  // Called once with the exit code of a process that was started; must not block.
  std::function<void(int64_t)> ended;
};

struct Exec {
  std::string id;
  std::string container_id;
  WallTime run_started_at{};  // of the container's run that it was made in
  ExecOptions options;
  bool started = false;
  bool running = false;
  uint32_t pid = 0;
  std::optional<int64_t> exit_code;
};

class Execs {
 public:
  // Both outlive it.
  Execs(Engine& engine, EventLoop& loop) : engine_(engine), loop_(loop) {}

  // The exec's id.
  Result<std::string> Create(std::string_view container, ExecOptions options);
  // kNotFound: "No such exec instance: ID".
  Result<Exec> Find(std::string_view id) const;
  std::vector<std::string> IdsOf(std::string_view container_id) const;

  // Takes the client's connection over; called when the process can be started.
  using TakeClient = std::function<Result<AttachRequest>()>;
  // Starts the process; without `take` nobody is attached. An error in starting it after the checks
  // sets the exec's exit code (126 or 127), goes to an attached client as text, and is returned.
  struct Started {
    std::optional<Error> failed;  // told to the attached client already
  };
  // `width` and `height` take the place of those that it was made with.
  Result<Started> Start(std::string_view id, const TakeClient& take, uint32_t width,
                        uint32_t height);
  Result<> Resize(std::string_view id, uint32_t width, uint32_t height);

  // A probe's exec: nobody will ask for it again.
  void Forget(std::string_view id);
  // The container is removed.
  void ForgetAllOf(std::string_view container_id);

  // From EngineOptions::exec_event; does not block.
  void OnTaskEvent(const client::TaskEvent& event);

 private:
  struct Entry {
    Exec exec;
    // The connection of an attached client whose stream has ended before the exit was known: it is
    // closed once clients can ask for the exit code.
    UniqueFd lingering_client;
  };

  Result<> Run(const Exec& exec, const ContainerRecord& record, UniqueFd* process);
  void Relay(const std::string& id, AttachRequest client, UniqueFd process, bool tty);
  void PublishDetach(const std::string& id);
  void Fail(const std::string& id, const Error& error);
  void Finish(const client::TaskEvent& event);

  Engine& engine_;
  EventLoop& loop_;
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> execs_ GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> finishing_ GUARDED_BY(mutex_);
};

}  // namespace gantry::engine
