// SPDX-License-Identifier: Apache-2.0
#include "containerd/bundle.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/directory.h"
#include "base/io.h"
#include "base/text.h"
#include "base/undo.h"
#include "containerd/names.h"
#include "formats/json.h"
#include "kernel/spread.h"

namespace gantry::containerd {
namespace {

using formats::Json;

// Names that could be namespaces or ids; a directory that is not there is empty.
Result<std::vector<std::string>> Names(const std::string& path) {
  std::vector<std::string> names;
  for (std::string& name : TRY(ListDirectoryIfThere(path))) {
    if (CheckIdentifier(name).ok()) names.push_back(std::move(name));
  }
  return names;
}

// With a user namespace the container's root must be able to pass through the bundle.
Result<> OpenToMappedRoot(const std::string& path, const std::string& spec) {
  auto json = TRY_WITH(Json::Parse(spec), "reading the container's spec");
  for (const Json& mapping : json["linux"]["gidMappings"].items()) {
    if (mapping["containerID"].AsInt(-1) != 0) continue;
    auto gid = static_cast<gid_t>(mapping["hostID"].AsInt());
    if (gid == 0) return {};
    if (::chown(path.c_str(), 0, gid) != 0 || ::chmod(path.c_str(), 0710) != 0) {
      return ErrnoError("changing the owner of '{}'", path);
    }
  }
  return {};
}

}  // namespace

Result<ShimEndpoint> ParseStartOutput(std::string_view output) {
  output = Trim(output);
  ShimEndpoint endpoint;
  if (output.starts_with("{")) {
    auto json = TRY_WITH(Json::Parse(output), "reading what the shim answered");
    endpoint.version = static_cast<int>(json["version"].AsInt(2));
    endpoint.address = json["address"].AsString();
    const std::string& protocol = json["protocol"].AsString();
    if (!protocol.empty() && protocol != "ttrpc") {
      return Unimplemented("shim speaks '{}', not ttrpc", protocol);
    }
  } else {
    endpoint.address = std::string(output);
  }
  if (endpoint.version != 2 && endpoint.version != 3) {
    return Unimplemented("shim speaks version {} of the task service", endpoint.version);
  }
  if (!endpoint.address.starts_with("unix://") && !endpoint.address.starts_with("/")) {
    return InvalidArgument("shim answered '{}', which is no address of a socket",
                           endpoint.address.substr(0, 200));
  }
  return endpoint;
}

Bundle::Bundle(const BundleRoots& roots, const std::string& ns, const std::string& id)
    : roots_(roots),
      path_(roots.StateDirectory() + "/" + ns + "/" + id),
      work_(roots.RootDirectory() + "/" + ns + "/" + id) {}

Bundle Bundle::Existing(const BundleRoots& roots, const std::string& ns, const std::string& id) {
  return Bundle(roots, ns, id);
}

Result<Bundle> Bundle::Create(const BundleRoots& roots, const std::string& ns,
                              const std::string& id, const Contents& contents) {
  TRY_WITH(CheckIdentifier(id), "task id");
  Bundle bundle(roots, ns, id);
  for (const std::string& root : {roots.StateDirectory(), roots.RootDirectory()}) {
    TRY(MakeDirectories(root + "/" + ns, 0711));
    TRY(kernel::SpreadSubdirectories(root + "/" + ns));
  }
  if (::mkdir(bundle.path_.c_str(), 0700) != 0) {
    return ErrnoError("making bundle '{}'", bundle.path_);
  }
  Undo undo;
  undo.Push([&] { (void)bundle.Remove().ok(); });
  // Left over from a crash between the two removals.
  TRY(roots.root_trash->Take(bundle.work_));
  if (::mkdir(bundle.work_.c_str(), 0711) != 0) return ErrnoError("making '{}'", bundle.work_);
  TRY(OpenToMappedRoot(bundle.path_, contents.spec));
  std::string rootfs = bundle.path_ + "/rootfs";
  if (::mkdir(rootfs.c_str(), 0711) != 0) return ErrnoError("making '{}'", rootfs);
  std::string link = bundle.path_ + "/work";
  if (::symlink(bundle.work_.c_str(), link.c_str()) != 0) return ErrnoError("making '{}'", link);
  TRY(CreateFile(bundle.path_ + "/config.json", contents.spec, 0600));
  TRY(CreateFile(bundle.path_ + "/runtime", contents.runtime, 0600));
  TRY(CreateFile(bundle.path_ + "/shim-binary-path", contents.runtime, 0600));
  if (!contents.options.empty()) {
    TRY(CreateFile(bundle.path_ + "/options.json", contents.options, 0600));
  }
  if (!contents.sandbox.empty()) {
    TRY(CreateFile(bundle.path_ + "/sandbox", contents.sandbox, 0600));
  }
  std::string log = bundle.path_ + "/log";
  if (::mkfifo(log.c_str(), 0600) != 0) return ErrnoError("making '{}'", log);
  undo.Commit();
  return bundle;
}

Result<std::vector<std::pair<std::string, std::string>>> Bundle::List(const BundleRoots& roots) {
  std::vector<std::pair<std::string, std::string>> bundles;
  for (const std::string& ns : TRY(Names(roots.StateDirectory()))) {
    for (const std::string& id : TRY(Names(roots.StateDirectory() + "/" + ns))) {
      bundles.emplace_back(ns, id);
    }
  }
  return bundles;
}

Result<> Bundle::RemoveOrphans(const BundleRoots& roots) {
  for (const std::string& ns : TRY(Names(roots.RootDirectory()))) {
    for (const std::string& id : TRY(Names(roots.RootDirectory() + "/" + ns))) {
      Bundle bundle(roots, ns, id);
      if (!PathExists(bundle.path_)) TRY(roots.root_trash->Take(bundle.work_));
    }
  }
  return {};
}

Result<UniqueFd> Bundle::OpenLog() const { return OpenFile(path_ + "/log", O_RDWR | O_NONBLOCK); }

Result<> Bundle::SaveEndpoint(const ShimEndpoint& endpoint) const {
  Json json = Json::MakeObject(
      {{"version", endpoint.version}, {"address", endpoint.address}, {"protocol", "ttrpc"}});
  return ReplaceFile(path_ + "/bootstrap.json", json.Dump(), 0600);
}

Result<ShimEndpoint> Bundle::LoadEndpoint() const {
  auto text = ReadFile(path_ + "/bootstrap.json", 64 << 10);
  if (!text.ok()) text = ReadFile(path_ + "/address", 64 << 10);
  return ParseStartOutput(TRY(std::move(text)));
}

Result<std::string> Bundle::LoadRuntime() const { return ReadFile(path_ + "/runtime", 4096); }

bool Bundle::InSandbox() const { return PathExists(path_ + "/sandbox"); }

bool Bundle::HasExitRecord() const { return PathExists(path_ + "/exits/init"); }

Result<> Bundle::Remove() const {
  std::string rootfs = path_ + "/rootfs";
  while (::umount2(rootfs.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  TRY(roots_.state_trash->Take(path_));
  return roots_.root_trash->Take(work_);
}

}  // namespace gantry::containerd
