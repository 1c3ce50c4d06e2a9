// SPDX-License-Identifier: Apache-2.0
//
// Container Device Interface (github.com/cncf-tags/container-device-interface, SPEC.md 1.0): specs
// that vendors put into /etc/cdi and /var/run/cdi name devices "vendor.com/class=name" and say what
// a container that gets one needs: variables, device nodes, mounts, hooks. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/json.h"
#include "oci/runtime_spec.h"

namespace gantry::engine {

struct CdiDeviceNode {
  std::string path;       // in the container
  std::string host_path;  // "": the same
  // Those that the spec does not say are the host's.
  std::string type;
  std::optional<int64_t> major;
  std::optional<int64_t> minor;
  std::optional<uint32_t> file_mode;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::string permissions;  // "": "rwm"
};

struct CdiHook {
  std::string name;  // "createRuntime", …
  oci::Hook hook;
};

struct CdiEdits {
  std::vector<std::string> env;
  std::vector<CdiDeviceNode> device_nodes;
  std::map<std::string, std::string> net_devices;  // name on the host to name inside
  std::vector<CdiHook> hooks;
  std::vector<oci::Mount> mounts;
  std::vector<uint32_t> additional_gids;
};

struct CdiSpec {
  std::string kind;  // "vendor.com/class"
  CdiEdits edits;    // for every device of this spec
  std::map<std::string, CdiEdits> devices;
};

Result<CdiSpec> ParseCdiSpec(const formats::Json& json);

class CdiRegistry {
 public:
  // Reads the "*.json", "*.yaml" and "*.yml" of the directories; a later directory's device stands
  // for one of the same name before it, two of one directory exclude each other. A missing
  // directory is empty; what is wrong with a file is in errors() and its devices are missing.
  static CdiRegistry Read(const std::vector<std::string>& directories);

  // Changes the spec for these devices, or not at all. kInvalidArgument: "unresolvable CDI devices
  // a/b=c, …", or why a device node can't be made.
  Result<> Inject(const std::vector<std::string>& names, oci::Spec* spec) const;

  std::vector<std::string> DeviceNames() const;
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  struct Place {
    size_t spec = 0;
    size_t directory = 0;
    bool conflicts = false;
    std::string device;
  };
  void AddSpec(CdiSpec spec, const std::string& path, size_t directory);

  std::vector<CdiSpec> specs_;
  std::map<std::string, Place> places_;  // by "vendor.com/class=name"
  std::vector<std::string> errors_;
};

}  // namespace gantry::engine
