// SPDX-License-Identifier: Apache-2.0
//
// Entries of containers' namespaces: RUN/netns/ID, which the stack works with, and where
// Options::netns_links says so a symbolic link to it that ip-netns(8) finds.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/directory.h"
#include "base/io.h"
#include "networks/controller.h"

namespace gantry::networks {
namespace {

// "" for what is no symbolic link.
std::string TargetOf(const std::string& path) {
  std::error_code error;
  std::filesystem::path target = std::filesystem::read_symlink(path, error);
  return error ? std::string() : target.string();
}

}  // namespace

Result<> KernelController::MakeNetnsLink(const std::string& container_id) {
  if (options_.netns_links.empty()) return {};
  TRY(MakeDirectories(options_.netns_links, 0755));
  std::string path = options_.netns_links + "/" + container_id;
  std::string target = NetnsPath(container_id);
  if (::symlink(target.c_str(), path.c_str()) == 0 || TargetOf(path) == target) return {};
  return ErrnoError("linking '{}' to '{}'", path, target);
}

Result<> KernelController::RemoveNetnsLink(const std::string& container_id) {
  if (options_.netns_links.empty()) return {};
  std::string path = options_.netns_links + "/" + container_id;
  // Somebody else's entry of this name stays.
  if (TargetOf(path) != NetnsPath(container_id)) return {};
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return ErrnoError("removing '{}'", path);
  return {};
}

Result<> KernelController::BindEntry(BorrowedFd netns, const std::string& container_id) {
  TRY(kernel::BindNetNamespace(netns, NetnsPath(container_id)));
  auto linked = MakeNetnsLink(container_id);
  if (linked.ok()) return {};
  TRY(kernel::UnbindNetNamespace(NetnsPath(container_id)));
  return linked;
}

Result<> KernelController::LinkNamespace(const std::string& container_id, BorrowedFd netns) {
  if (options_.netns_links.empty()) return {};
  std::shared_lock<std::shared_mutex> beside(operations_);
  if (PathExists(NetnsPath(container_id))) return MakeNetnsLink(container_id);
  return BindEntry(netns, container_id);
}

Result<> KernelController::UnbindEntry(const std::string& container_id) {
  TRY(RemoveNetnsLink(container_id));
  return kernel::UnbindNetNamespace(NetnsPath(container_id));
}

// Links of containers that are gone (a crash, or no record) go, those that are missing come.
Result<> KernelController::ReconcileNetnsLinks(ReconcileReport* report) {
  if (options_.netns_links.empty()) return {};
  std::set<std::string> containers;
  for (const Endpoint& endpoint : ListEndpoints({})) containers.insert(endpoint.container_id);
  auto names = ListDirectory(options_.netns_links);
  if (!names.ok() && names.error().kind() != ErrorKind::kNotFound) return names.error();
  if (names.ok()) {
    for (const std::string& name : *names) {
      bool ours = TargetOf(options_.netns_links + "/" + name) == NetnsPath(name);
      if (!ours || containers.contains(name)) continue;
      TRY(RemoveNetnsLink(name));
      report->changes.push_back(fmt::format("link to namespace '{}' removed: no record", name));
    }
  }
  for (const std::string& container : containers) TRY(MakeNetnsLink(container));
  return {};
}

}  // namespace gantry::networks
