// SPDX-License-Identifier: Apache-2.0
//
// Calls of the OCI runtime's command line (gantry-runtime, runc, crun): the arguments that all of
// them share, the process, and the error that it leaves in log.json. The loop's thread; a call
// never blocks the loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "kernel/spawn.h"
#include "shim/reaper.h"

namespace gantry::shim {

// What is fixed for a container; kept in BUNDLE/options.json for `delete`.
struct RuntimeSettings {
  std::string binary;  // absolute path
  std::string root;    // --root
  bool systemd_cgroup = false;
  bool no_pivot_root = false;
  bool no_new_keyring = false;
  bool own = false;  // gantry-runtime, which takes --root-fd

  Result<> Save(const std::string& bundle) const;
  static Result<RuntimeSettings> Load(const std::string& bundle);
};

// The path of a runtime's binary: `name` as it is when absolute, else found in PATH; empty: the
// gantry-runtime beside this program.
Result<std::string> FindRuntime(const std::string& name);

struct RuntimeCall {
  std::vector<std::string> args;       // from the command's name on
  std::vector<kernel::FdMapping> fds;  // must stay open until Run returns
  std::string input;                   // given as standard input when not empty
  UniqueFd process;                    // of `exec`: owned here, mapped in `fds`
};

class RuntimeCommand {
 public:
  using Callback = std::function<void(Result<>)>;

  RuntimeCommand(Reaper* reaper, std::string bundle, RuntimeSettings settings)
      : reaper_(reaper), bundle_(std::move(bundle)), settings_(std::move(settings)) {}

  const RuntimeSettings& settings() const { return settings_; }
  // Returns once the runtime is started; `done` runs from the loop when it has ended. An error of
  // starting it goes to `done` at once.
  void Run(RuntimeCall call, Callback done);
  // The same for `delete`, which has no loop.
  Result<> RunBlocking(RuntimeCall call);

 private:
  struct Running;
  Result<std::shared_ptr<Running>> Start(const RuntimeCall& call);
  Result<> Finish(Running& running, const kernel::ExitStatus& status);
  std::string LastLoggedError(size_t from) const;

  Reaper* reaper_;
  std::string bundle_;
  RuntimeSettings settings_;
};

}  // namespace gantry::shim
