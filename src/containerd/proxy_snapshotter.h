// SPDX-License-Identifier: Apache-2.0
//
// A snapshotter of somebody else: a process that serves containerd's snapshots API on a unix
// socket, such as fuse-overlayfs, nydus or another containerd. Records are ours; what is NS/KEY
// here is "NS/NUMBER/KEY" there, as containerd has it, so that one such process is enough for all
// namespaces. Everything with a name of that form there is taken for ours.
//
// The process may come and go: calls fail with kUnavailable meanwhile, and what a crash left is
// cleared up with the first call that reaches it. Any thread; calls block.
#pragma once

#include <memory>
#include <string>

#include "snapshots/snapshotter.h"

namespace gantry::containerd {

struct ProxySettings {
  std::string name;         // here
  std::string address;      // "/run/x.sock" or "unix:///run/x.sock"
  std::string remote_name;  // of the snapshotter there; empty: the same
};

std::unique_ptr<snapshots::Snapshotter> MakeProxySnapshotter(const ProxySettings& settings,
                                                             snapshots::SnapshotRecords* records);

}  // namespace gantry::containerd
