// SPDX-License-Identifier: Apache-2.0
//
// The trees that make_layer.cc reads: detached mounts of snapshots, and listings of directories in
// them. Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "snapshots/snapshotter.h"
#include "trees/tree_writer.h"

namespace gantry::images {

using trees::ArchiveXattrs;
using trees::OpenRegular;
using trees::ReadLinkOf;
using trees::TreeItem;
using trees::TreeWriter;

// The directories that bind or overlay mounts are made of, nearest first; nothing for mounts that
// cannot be read that way. No mounts are no directories.
std::optional<std::vector<std::string>> LayersOf(const std::vector<snapshots::Mount>& mounts);

// The root of what the mounts show, read-only, without devices and set-id bits. An upper directory
// becomes the first lower one: mounting it a second time for writing is undefined.
Result<UniqueFd> OpenTree(const std::vector<snapshots::Mount>& mounts);
// The same for one directory.
Result<UniqueFd> OpenTreeOfDirectory(const std::string& path);

Result<UniqueFd> OpenDirectory(const TreeItem& item);
// The item of this name; nothing when it is gone, as in a tree that is in use.
Result<std::optional<TreeItem>> StatItem(BorrowedFd parent, const std::string& parent_path,
                                         std::string name);

// Says whether the tree of an overlay's upper directory is its whole difference: no directory that
// was renamed, no file whose contents are below, no marks that only the kernel understands.
Result<bool> IsPlainUpper(BorrowedFd directory);
bool IsOverlayWhiteout(const struct stat& status);
bool IsOverlayOpaque(BorrowedFd directory);

// Deeper trees are refused: every level holds descriptors.
inline constexpr int kMaxTreeDepth = 256;

}  // namespace gantry::images
