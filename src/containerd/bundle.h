// SPDX-License-Identifier: Apache-2.0
//
// A task's bundle (docs/state-on-disk.md): STATE/io.containerd.runtime.v2.task/NS/ID, which the
// shim works in, and the directory under ROOT that `work` points to. Made before the shim, removed
// after it. A sandbox's bundle is the same in another directory. Any thread; one task has one
// owner.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "snapshots/trash.h"

namespace gantry::containerd {

inline constexpr const char* kTaskBundles = "io.containerd.runtime.v2.task";
inline constexpr const char* kSandboxBundles = "io.containerd.sandbox.controller.v1.shim";

// Where bundles are, and the trashes beside them.
struct BundleRoots {
  std::string state;
  std::string root;
  snapshots::Trash* state_trash;
  snapshots::Trash* root_trash;
  std::string kind = kTaskBundles;

  std::string StateDirectory() const { return state + "/" + kind; }
  std::string RootDirectory() const { return root + "/" + kind; }
};

// Where a shim listens, and how it is spoken to.
struct ShimEndpoint {
  int version = 2;  // of the task service
  std::string address;
};
// What a shim's `start` printed: a JSON object, or a plain address (version 2).
Result<ShimEndpoint> ParseStartOutput(std::string_view output);

class Bundle {
 public:
  struct Contents {
    std::string spec;     // config.json
    std::string runtime;  // the shim's path
    std::string options;  // serialised Any, or empty
    std::string sandbox;  // in whose shim the task lives; empty: in its own
  };
  // kAlreadyExists when the directory is there.
  static Result<Bundle> Create(const BundleRoots& roots, const std::string& ns,
                               const std::string& id, const Contents& contents);
  // One that an earlier daemon made.
  static Bundle Existing(const BundleRoots& roots, const std::string& ns, const std::string& id);
  // (namespace, id) of all that are there.
  static Result<std::vector<std::pair<std::string, std::string>>> List(const BundleRoots& roots);

  // Throws away the directories under ROOT whose bundle is gone: a daemon died between the two
  // removals, or the host was started anew and STATE is empty.
  static Result<> RemoveOrphans(const BundleRoots& roots);

  const std::string& path() const { return path_; }
  // The fifo that the shim logs to, both ends, so that the shim never waits.
  Result<UniqueFd> OpenLog() const;
  Result<> SaveEndpoint(const ShimEndpoint& endpoint) const;
  // What SaveEndpoint wrote, or the file `address` of older shims.
  Result<ShimEndpoint> LoadEndpoint() const;
  Result<std::string> LoadRuntime() const;
  // The task lives in a sandbox's shim, which does not end with it.
  bool InSandbox() const;
  // The task's process has ended, says its shim; ours alone writes that there.
  bool HasExitRecord() const;
  // Detaches what may still be mounted on rootfs, then throws both directories away.
  Result<> Remove() const;

 private:
  Bundle(const BundleRoots& roots, const std::string& ns, const std::string& id);

  BundleRoots roots_;
  std::string path_;
  std::string work_;
};

}  // namespace gantry::containerd
