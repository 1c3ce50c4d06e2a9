// SPDX-License-Identifier: Apache-2.0
//
// Mounts by descriptor: fsopen, fsmount, open_tree, move_mount, mount_setattr. A mount that is made
// here is detached: it is held by the returned descriptor alone, nobody sees it, and it is gone
// when the last descriptor is closed, until AttachMount gives it a place. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/mount_options.h"

namespace gantry::kernel {

// A new file system instance: `parameters` are "name" or "name=value" as mount -o has them (for
// overlay each layer of lowerdir is passed by itself where the kernel can, since a parameter is
// limited to 255 bytes). `attributes` are MOUNT_ATTR_* bits. Errors carry the kernel's own words.
Result<UniqueFd> NewMount(const std::string& type, const std::string& source,
                          const std::vector<std::string>& parameters, uint64_t attributes);

// The layers of an overlay's lowerdir: "a:b\\:c" are "a" and "b:c".
std::vector<std::string> OverlayLayers(std::string_view lowerdir);

// A private copy of the mount at `path` (relative to `directory`; empty: the descriptor itself).
Result<UniqueFd> CloneMount(BorrowedFd directory, const std::string& path, BindKind kind);

enum class Scope : uint8_t { kThisMount, kWholeTree };
Result<> SetMountAttributes(BorrowedFd mount, MountAttributes attributes, Scope scope);
// `flags` as in mount(2): MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, and MS_REC.
Result<> SetMountPropagation(BorrowedFd mount, unsigned long flags);
// The ids of files below become those of the user namespace.
Result<> MapMountIds(BorrowedFd mount, BorrowedFd user_namespace, Scope scope);

// Gives a detached mount its place: on top of what `target` (O_PATH is enough) refers to.
Result<> AttachMount(BorrowedFd mount, BorrowedFd target);

// Whether something is mounted just there. A path that does not exist is no mount.
Result<bool> IsMountPoint(const std::string& path);
// Takes away everything that is mounted at `path`, in use or not; nothing there is no error. A
// symbolic link is not followed.
Result<> UnmountAll(const std::string& path);

// A detached mount from one containerd-style mount: type, source, options. Binds, overlay and all
// else; attributes, also recursive ones, are applied. Used for a container's root.
Result<UniqueFd> MountDetached(const std::string& type, const std::string& source,
                               const std::vector<std::string>& options);

}  // namespace gantry::kernel
