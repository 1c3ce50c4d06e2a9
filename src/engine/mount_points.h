// SPDX-License-Identifier: Apache-2.0
//
// What -v, --mount and --volumes-from ask for, as docker's mount points: parsed and checked here,
// without a look at the host; volume_mounts.cc makes their volumes, mount_sources.cc what binds
// need. A container's record keeps its points: what is asked later is asked of them. Any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/config.h"
#include "formats/json.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

struct MountPoint {
  std::string type;    // "bind", "volume", "tmpfs", "image"
  std::string name;    // the volume's; the image's as it was asked for
  std::string driver;  // the volume's
  std::string source;  // path on the host; "" for a tmpfs
  std::string destination;
  std::string mode;         // what stood behind the last colon of -v
  std::string propagation;  // "rprivate", …; "" for a volume: the runtime's own
  // "rslave" was not asked for: private where the source's mount is neither shared nor a slave.
  bool slave_if_possible = false;
  std::string subpath;   // of a volume or an image
  std::string snapshot;  // the view of an image
  std::string image_id;
  bool writable = true;
  bool recursive = true;
  bool make_source = false;              // -v makes a missing directory, --mount does not
  bool copy_data = false;                // an empty volume gets what the image has there
  bool anonymous = false;                // a volume that goes with its container when asked to
  bool read_only_non_recursive = false;  // mounts below stay writable
  bool read_only_force_recursive = false;
  bool inherited = false;  // by --volumes-from; not written down
  // For a volume that is made with the container.
  std::map<std::string, std::string> volume_options;
  std::map<std::string, std::string> volume_labels;
};

formats::Json ToJson(const MountPoint& point);
Result<MountPoint> ParseMountPoint(const formats::Json& json);

// One of -v. "/path" alone is an anonymous volume.
Result<MountPoint> ParseBind(const std::string& spec, const std::string& volume_driver);
// A path of Config.Volumes, which an image may have set: a path and nothing else, whatever colons
// are in it, so that it can name nothing of the host.
Result<MountPoint> NamelessVolume(const std::string& path, const std::string& volume_driver);
Result<MountPoint> ParseMount(const MountConfig& config);
// Those of -v, then those of --mount. A bind that holds `data_root`, the engine's own directory, or
// lies in it, is a slave. Errors: kInvalidArgument in docker's words; two of one destination, also
// of --tmpfs, among them.
Result<std::vector<MountPoint>> ParseMountPoints(const HostConfig& host,
                                                 const std::string& data_root);

struct VolumesFrom {
  std::string container;
  bool writable = true;
};
Result<VolumesFrom> ParseVolumesFrom(const std::string& spec);

// The mount in config.json of a point whose files are at `source`.
oci::Mount ToMount(const MountPoint& point, const std::string& source);
// What the container's root needs so that the propagation of its mounts works.
std::string RootPropagation(const std::vector<oci::Mount>& mounts);

}  // namespace gantry::engine
