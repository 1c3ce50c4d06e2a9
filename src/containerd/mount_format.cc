// SPDX-License-Identifier: Apache-2.0
#include "containerd/mount_format.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/number.h"
#include "base/text.h"
#include "base/undo.h"
#include "formats/human_units.h"
#include "kernel/paths.h"
#include "kernel/spawn.h"

namespace gantry::containerd {
namespace {

using ::containerd::types::ActiveMount;
using MountMessage = ::containerd::types::Mount;
using ActiveMounts = std::vector<ActiveMount>;

constexpr std::string_view kMkdirOption = "X-containerd.mkdir.";
constexpr std::string_view kMkfsOption = "X-containerd.mkfs.";

Result<const ActiveMount*> ActiveAt(const ActiveMounts& active, std::string_view index) {
  auto number = ParseNumber<size_t>(index);
  if (!number.has_value() || *number >= active.size()) {
    return InvalidArgument("mount {} does not exist, there are {} before this one", index,
                           active.size());
  }
  return &active[*number];
}

Result<std::string> Evaluate(std::string_view expression, const ActiveMounts& active) {
  auto words = SplitWords(expression);
  if (words.size() == 2 && words[0] == "mount") {
    return TRY(ActiveAt(active, words[1]))->mount_point();
  }
  if (words.size() == 2 && words[0] == "source") {
    return TRY(ActiveAt(active, words[1]))->mount().source();
  }
  if (words.size() == 2 && words[0] == "target") {
    return TRY(ActiveAt(active, words[1]))->mount().target();
  }
  if (words.size() == 3 && words[0] == "overlay") {
    const ActiveMount* first = TRY(ActiveAt(active, words[1]));
    const ActiveMount* last = TRY(ActiveAt(active, words[2]));
    std::string layers;
    while (true) {
      if (!layers.empty()) layers += ':';
      layers += first->mount_point();
      if (first == last) return layers;
      first += first < last ? 1 : -1;
    }
  }
  return InvalidArgument("'{}' is not one of 'mount N', 'source N', 'target N', 'overlay N M'",
                         expression);
}

// A path below one of the roots, by that root's descriptor: nobody's links lead out of it.
struct Below {
  UniqueFd root;
  std::string path;
};
Result<Below> FindBelow(const std::vector<std::string>& roots, const std::string& path) {
  for (const std::string& root : roots) {
    if (path.size() > root.size() + 1 && path.starts_with(root) && path[root.size()] == '/') {
      return Below{TRY(kernel::OpenRoot(root)), path.substr(root.size() + 1)};
    }
  }
  return Unimplemented("'{}' is below none of this daemon's directories", path);
}

struct MkdirRequest {
  std::string path;
  mode_t mode = 0700;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};
Result<MkdirRequest> ParseMkdir(std::string_view option) {
  constexpr std::string_view kPath = "path=";
  std::string_view value = option.substr(kMkdirOption.size());
  if (!value.starts_with(kPath)) return InvalidArgument("invalid mkdir option '{}'", option);
  auto parts = Split(value.substr(kPath.size()), ':');
  MkdirRequest request{.path = parts[0], .mode = 0700, .uid = {}, .gid = {}};
  if (parts.size() == 3 || parts.size() > 4) {
    return InvalidArgument("invalid mkdir option '{}'", option);
  }
  if (parts.size() > 1) {
    auto mode = ParseNumber<mode_t>(parts[1], 8);
    if (!mode.has_value() || *mode > 0777) return InvalidArgument("invalid mode '{}'", parts[1]);
    request.mode = *mode;
  }
  if (parts.size() > 3) {
    request.uid = ParseNumber<uid_t>(parts[2]);
    request.gid = ParseNumber<gid_t>(parts[3]);
    if (!request.uid.has_value() || !request.gid.has_value()) {
      return InvalidArgument("invalid owner in mkdir option '{}'", option);
    }
  }
  return request;
}

Result<> MakeDirectory(const std::vector<std::string>& roots, std::string_view option) {
  MkdirRequest request = TRY(ParseMkdir(option));
  Below below = TRY(FindBelow(roots, request.path));
  auto place = TRY(kernel::OpenParentIn(below.root, below.path, kernel::Links::kRefuse));
  if (::mkdirat(place.parent.get(), place.name.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoError("making directory '{}'", request.path);
  }
  UniqueFd directory = TRY(
      kernel::OpenIn(place.parent, place.name, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse));
  if (request.uid.has_value() && ::fchown(directory.get(), *request.uid, *request.gid) != 0) {
    return ErrnoError("changing the owner of '{}'", request.path);
  }
  // Not by mkdir(2): a umask would take bits away.
  if (::fchmod(directory.get(), request.mode) != 0) {
    return ErrnoError("changing the mode of '{}'", request.path);
  }
  return {};
}

// Takes the options that begin with `prefix` off the mount.
std::vector<std::string> TakeOptions(std::string_view prefix, MountMessage* mount) {
  std::vector<std::string> taken;
  std::vector<std::string> rest;
  for (const std::string& option : mount->options()) {
    (option.starts_with(prefix) ? taken : rest).push_back(option);
  }
  mount->clear_options();
  for (std::string& option : rest) mount->add_options(std::move(option));
  return taken;
}

struct MkfsRequest {
  int64_t size = 0;
  std::string fs = "ext4";
  std::string uuid;
};
Result<MkfsRequest> ParseMkfs(MountMessage* mount) {
  MkfsRequest request;
  for (const std::string& option : TakeOptions(kMkfsOption, mount)) {
    std::string_view setting = std::string_view(option).substr(kMkfsOption.size());
    std::string_view name = setting.substr(0, setting.find('='));
    std::string value(setting.substr(std::min(setting.size(), name.size() + 1)));
    if (name == "size") {
      request.size = TRY_WITH(formats::ParseBinarySize(value), "mount option '{}'", option);
    } else if (name == "fs") {
      request.fs = value;
    } else if (name == "uuid") {
      request.uuid = value;
    } else {
      return InvalidArgument("unknown mount option '{}'", option);
    }
  }
  if (request.size <= 0) return InvalidArgument("mkfs requires {}size", kMkfsOption);
  static const std::vector<std::string> kKinds = {"ext2", "ext3", "ext4", "xfs"};
  if (std::find(kKinds.begin(), kKinds.end(), request.fs) == kKinds.end()) {
    return InvalidArgument("unsupported file system '{}'", request.fs);
  }
  return request;
}

Result<> RunMkfs(const MkfsRequest& request, const std::string& file) {
  kernel::SpawnOptions options;
  for (const char* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/"}) {
    options.program = directory + ("mkfs." + request.fs);
    if (::access(options.program.c_str(), X_OK) == 0) break;
  }
  options.args = {options.program, "-q"};
  if (!request.uuid.empty() && request.fs == "xfs") {
    options.args.insert(options.args.end(), {"-m", "uuid=" + request.uuid});
  } else if (!request.uuid.empty()) {
    options.args.insert(options.args.end(), {"-U", request.uuid});
  }
  options.args.push_back(file);
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  auto status = TRY_WITH(kernel::SpawnAndWait(options), "running '{}'", options.program);
  if (status.ShellCode() != 0) {
    return FailedPrecondition("making a file system in '{}': '{}' ended with {}", file,
                              options.program, status.ShellCode());
  }
  return {};
}

// A file that is there keeps its file system. A new one has its name once it is complete.
Result<> MakeFileSystem(const std::vector<std::string>& roots, MountMessage* mount) {
  MkfsRequest request = TRY(ParseMkfs(mount));
  Below below = TRY(FindBelow(roots, mount->source()));
  auto place = TRY(kernel::OpenParentIn(below.root, below.path, kernel::Links::kRefuse));
  if (::faccessat(place.parent.get(), place.name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    return {};
  }
  std::string temporary = place.name + ".mkfs";
  UniqueFd file(::openat(place.parent.get(), temporary.c_str(),
                         O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoError("making '{}'", mount->source());
  Undo undo;
  undo.Push([&] { ::unlinkat(place.parent.get(), temporary.c_str(), 0); });
  if (::ftruncate(file.get(), request.size) != 0) {
    return ErrnoError("making '{}' of {} bytes", mount->source(), request.size);
  }
  TRY(RunMkfs(request, mount->source() + ".mkfs"));
  if (::renameat(place.parent.get(), temporary.c_str(), place.parent.get(), place.name.c_str()) !=
      0) {
    return ErrnoError("naming '{}'", mount->source());
  }
  undo.Commit();
  return {};
}

Result<> FormatMount(const ActiveMounts& active, MountMessage* mount) {
  mount->set_source(TRY(ExpandMountTemplate(mount->source(), active)));
  mount->set_target(TRY(ExpandMountTemplate(mount->target(), active)));
  for (std::string& option : *mount->mutable_options()) {
    option = TRY(ExpandMountTemplate(option, active));
  }
  return {};
}

}  // namespace

bool IsMountTransform(std::string_view name) {
  return name == "format" || name == "mkdir" || name == "mkfs";
}

Result<std::string> ExpandMountTemplate(std::string_view text, const ActiveMounts& active) {
  std::string expanded;
  std::string_view rest = text;
  while (true) {
    size_t begin = rest.find("{{");
    if (begin == std::string_view::npos) break;
    size_t end = rest.find("}}", begin);
    if (end == std::string_view::npos) {
      return InvalidArgument("formatting '{}': '{{{{' is not closed", text);
    }
    expanded += rest.substr(0, begin);
    expanded += TRY_WITH(Evaluate(rest.substr(begin + 2, end - begin - 2), active),
                         "formatting '{}'", text);
    rest.remove_prefix(end + 2);
  }
  expanded += rest;
  return expanded;
}

Result<> TransformMount(const TransformScope& scope, MountMessage* mount) {
  while (true) {
    std::string type = mount->type();
    size_t slash = type.find('/');
    std::string name = type.substr(0, slash);
    if (slash == std::string::npos || !IsMountTransform(name)) return {};
    if (name == "format") {
      TRY(FormatMount(scope.active, mount));
    } else if (name == "mkfs") {
      TRY(MakeFileSystem(scope.roots, mount));
    } else {
      for (const std::string& option : TakeOptions(kMkdirOption, mount)) {
        TRY(MakeDirectory(scope.roots, option));
      }
    }
    mount->set_type(type.substr(slash + 1));
  }
}

}  // namespace gantry::containerd
