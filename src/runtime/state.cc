// SPDX-License-Identifier: Apache-2.0
#include "runtime/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/directory.h"
#include "base/io.h"
#include "kernel/paths.h"
#include "kernel/pidfd.h"
#include "kernel/spread.h"

namespace gantry::runtime {

using formats::Json;
using formats::JsonReader;

std::string_view StatusName(Status status) {
  switch (status) {
    case Status::kCreating:
      return "creating";
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kPaused:
      return "paused";
    case Status::kStopped:
      return "stopped";
  }
  return "unknown";
}

Result<> CheckId(const std::string& id) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '+' || c == '-' || c == '.';
  };
  if (id.empty() || id.size() > 1024 || id == "." || id == ".." ||
      !std::all_of(id.begin(), id.end(), allowed)) {
    return InvalidArgument("container ID '{}': invalid format", id);
  }
  return {};
}

StateDirectory::StateDirectory(std::string root, std::string id)
    : root_(std::move(root)), id_(std::move(id)), path_(root_ + "/" + id_) {}

Result<> StateDirectory::Create() {
  if (::mkdir(path_.c_str(), 0700) == 0) return {};
  if (errno == ENOENT) {
    TRY(MakeDirectories(root_, 0700));
    TRY(kernel::SpreadSubdirectories(root_));
    if (::mkdir(path_.c_str(), 0700) == 0) return {};
  }
  if (errno == EEXIST) return AlreadyExists("container with id exists already: '{}'", id_);
  return ErrnoError("making directory '{}'", path_);
}

Result<> StateDirectory::Remove() {
  UniqueFd root = TRY(kernel::OpenRoot(root_));
  return kernel::RemoveTreeAt(root, id_);
}

Result<> StateDirectory::Save(const ContainerState& state) const {
  Json cgroups = Json::MakeObject();
  for (const auto& [controller, directory] : state.cgroups.directories) {
    cgroups.mutable_members().emplace_back(controller, directory);
  }
  Json json = Json::MakeObject({
      {"version", 1},
      {"id", state.id},
      {"bundle", state.bundle},
      {"rootfs", state.rootfs},
      {"created", UnixNanos(state.created)},
      {"pid", state.pid},
      {"startTime", state.start_time},
      {"unified", state.cgroups.unified},
      {"cgroups", std::move(cgroups)},
      {"scope", state.scope},
      {"userScope", state.user_scope},
      {"userNamespace", state.user_namespace},
      {"newPidNamespace", state.new_pid_namespace},
      {"noNewKeyring", state.no_new_keyring},
      {"poststartHooks", state.poststart_hooks},
      {"poststopHooks", state.poststop_hooks},
      {"annotations", Json(state.annotations)},
  });
  if (!state.rdt.directory.empty()) {
    json.Set("rdt", Json::MakeObject({{"directory", state.rdt.directory},
                                      {"monitor", state.rdt.monitor},
                                      {"ours", state.rdt.is_ours}}));
  }
  return ReplaceFile(path_ + "/state.json", json.Dump(), 0600);
}

Result<ContainerState> StateDirectory::Load() const {
  TRY(CheckId(id_));
  Result<std::string> text = ReadFile(path_ + "/state.json");
  ContainerState state;
  state.id = id_;
  if (!text.ok()) {
    // A runtime that was killed before the first write leaves an empty directory.
    if (text.error().error_number() == ENOENT && PathExists(path_)) return state;
    if (text.error().error_number() == ENOENT) return NotFound("container does not exist");
    return std::move(text).error();
  }
  Json json = TRY_WITH(Json::Parse(*text), "file '{}/state.json'", path_);
  JsonReader reader(json, "state");
  int64_t created = 0;
  std::map<std::string, std::string> directories;
  reader.Field("bundle", &state.bundle);
  reader.Field("rootfs", &state.rootfs);
  reader.Field("created", &created);
  reader.Field("pid", &state.pid);
  reader.Field("startTime", &state.start_time);
  reader.Field("unified", &state.cgroups.unified);
  reader.Field("cgroups", &state.cgroups.directories);
  reader.Field("scope", &state.scope);
  reader.Field("userScope", &state.user_scope);
  reader.Field("userNamespace", &state.user_namespace);
  reader.Field("newPidNamespace", &state.new_pid_namespace);
  reader.Field("noNewKeyring", &state.no_new_keyring);
  reader.Field("poststartHooks", &state.poststart_hooks);
  reader.Field("poststopHooks", &state.poststop_hooks);
  reader.Field("annotations", &state.annotations);
  reader.Object("rdt", [&](JsonReader& rdt) {
    rdt.Field("directory", &state.rdt.directory);
    rdt.Field("monitor", &state.rdt.monitor);
    rdt.Field("ours", &state.rdt.is_ours);
  });
  TRY(reader.Finish());
  state.created = FromUnixNanos(created);
  return state;
}

Result<UniqueFd> StateDirectory::Lock() const {
  Result<UniqueFd> lock = OpenFile(path_, O_RDONLY | O_DIRECTORY);
  if (!lock.ok()) {
    if (lock.error().error_number() == ENOENT) return NotFound("container does not exist");
    return lock;
  }
  int result;
  do {
    result = ::flock(lock->get(), LOCK_EX);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return ErrnoError("locking '{}'", path_);
  return lock;
}

Result<oci::Spec> StateDirectory::LoadSpec() const {
  Json json = TRY(Json::Parse(TRY(ReadFile(ConfigPath()))));
  return oci::ParseSpec(json);
}

Result<Status> StatusOf(const StateDirectory& directory, const ContainerState& state) {
  if (state.pid == 0) return Status::kStopped;
  std::optional<kernel::ProcessStat> stat = kernel::ReadProcessStat(state.pid);
  if (!stat || stat->start_time != state.start_time || stat->state == 'Z' || stat->state == 'X') {
    return Status::kStopped;
  }
  if (TRY(kernel::CgroupIsFrozen(state.cgroups))) return Status::kPaused;
  return PathExists(directory.GatePath()) ? Status::kCreated : Status::kRunning;
}

Json StateJson(const ContainerState& state, Status status) {
  Json json = Json::MakeObject({
      {"ociVersion", std::string(oci::kRuntimeSpecVersion)},
      {"id", state.id},
      {"pid", status == Status::kStopped ? 0 : state.pid},
      {"status", std::string(StatusName(status))},
      {"bundle", state.bundle},
      {"rootfs", state.rootfs},
      {"created", FormatRfc3339Nano(state.created)},
  });
  if (!state.annotations.empty()) json.Set("annotations", Json(state.annotations));
  json.Set("owner", "");
  return json;
}

Result<std::vector<std::string>> ListIds(const std::string& root) {
  std::vector<std::string> ids;
  for (std::string& name : TRY(ListDirectoryIfThere(root))) {
    bool hidden = name.front() == '.';
    if (!hidden && PathExists(root + "/" + name + "/state.json")) ids.push_back(std::move(name));
  }
  return ids;
}

}  // namespace gantry::runtime
