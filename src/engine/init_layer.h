// SPDX-License-Identifier: Apache-2.0
//
// What docker calls the init layer: between an image's layers and the writable layer of each of its
// containers lie the marks and mount targets that every container has, so that none has to make
// them, and neither diff nor commit sees them. One snapshot for all containers of an image, made
// with the first one; a label of the image's configuration keeps it. Steps of builds go without, as
// BuildKit's do. Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace gantry::engine {

class Engine;
struct ImageDocuments;

// Its snapshot's name; `chain_id`: that of the image's top layer, "" without layers.
std::string InitLayerName(const std::string& chain_id);

// Makes it and its label; that another thread was faster is no error. The image is unpacked.
Result<> MakeInitLayer(Engine& engine, const ImageDocuments& image);

// Its entries below a root that an image filled: /.dockerenv, /dev/console, /dev/pts, /dev/shm,
// /etc/hostname, /etc/hosts, /etc/resolv.conf (empty), /etc/mtab (to /proc/mounts), /proc, /sys.
// What the image has in their place goes, directories stay; no link is followed.
Result<> FillInitLayer(BorrowedFd root);

}  // namespace gantry::engine
