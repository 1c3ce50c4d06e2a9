// SPDX-License-Identifier: Apache-2.0
//
// Source operations: images, directories of the client's, git, the web, image layouts, results of
// other builds.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <utility>

#include "base/random.h"
#include "build/base_image.h"
#include "build/copy_source.h"
#include "build/download.h"
#include "build/git_source.h"
#include "build/layout_images.h"
#include "build/step_layers.h"
#include "engine/image_index.h"
#include "engine/images.h"
#include "formats/json.h"
#include "formats/reference.h"
#include "kernel/paths.h"
#include "llb/solver.h"
#include "oci/platform.h"

namespace gantry::llb {

using build::StageState;

namespace {

std::string AttributeOf(const pb::SourceOp& source, const std::string& name) {
  auto found = source.attrs().find(name);
  return found == source.attrs().end() ? "" : found->second;
}

// A list as JSON; "" for none.
Result<std::vector<std::string>> ListOf(const pb::SourceOp& source, const std::string& name) {
  std::vector<std::string> out;
  std::string text = AttributeOf(source, name);
  if (text.empty()) return out;
  formats::Json json = TRY_WITH(formats::Json::Parse(text), "reading {}", name);
  for (const formats::Json& one : json.items()) {
    if (!one.is_string()) return InvalidArgument("{} is no list of words", name);
    out.push_back(one.AsString());
  }
  return out;
}

Result<uint32_t> NumberOf(const pb::SourceOp& source, const std::string& name, int base,
                          uint32_t fallback) {
  std::string text = AttributeOf(source, name);
  if (text.empty()) return fallback;
  uint32_t number = 0;
  if (base == 8 && text.starts_with("0o")) text.erase(0, 2);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return InvalidArgument("{} is no number: '{}'", name, text);
}

std::optional<oci::Platform> PlatformOf(const pb::Op& op) {
  if (!op.has_platform() || op.platform().os().empty()) return std::nullopt;
  oci::Platform platform;
  platform.os = op.platform().os();
  platform.architecture = op.platform().architecture();
  platform.variant = op.platform().variant();
  return platform;
}

}  // namespace

Result<> Solver::RunSource(Work* work) {
  const pb::SourceOp& source = work->vertex.op.source();
  const std::string& identifier = source.identifier();
  size_t at = identifier.find("://");
  std::string scheme = identifier.substr(0, at);
  std::string rest = identifier.substr(at + 3);
  StageState& made = work->outputs[0];
  if (scheme == "docker-image") {
    made = TRY(FromImage(work, rest));
  } else if (scheme == "local") {
    made = TRY(FromLocal(work, rest));
  } else if (scheme == "git") {
    made = TRY(FromGit(work, rest));
  } else if (scheme == "http" || scheme == "https") {
    made = TRY(FromWeb(work));
  } else if (scheme == "oci-layout") {
    made = TRY(FromLayout(rest, source));
  } else if (identifier.starts_with(kResultScheme)) {
    made = TRY(environment_.find_result(rest));
  } else {
    return Unimplemented("a source of that kind is not supported: {}", identifier);
  }
  return {};
}

Result<StageState> Solver::StateOf(const engine::NamedImage& image, const std::string& name) {
  StageState of_image = build::StateOfImage(image);
  StageState out = build::StateOfScratch();
  out.platform = of_image.platform;
  for (size_t i = 0; i < of_image.layers.size(); ++i) {
    build::AddStep("pulled from " + name, of_image.created,
                   engine::NewLayer{of_image.layers[i], of_image.diff_ids[i]}, &out);
  }
  out.cache_key = of_image.cache_key;
  return out;
}

Result<StageState> Solver::FromImage(Work* work, const std::string& name) {
  const pb::SourceOp& source = work->vertex.op.source();
  std::optional<oci::Platform> platform = PlatformOf(work->vertex.op);
  std::string mode = AttributeOf(source, "image.resolvemode");
  build::ImageWanted wanted;
  wanted.name = name;
  if (platform) wanted.platform = platform->ToString();
  wanted.pulls = mode == "pull";
  wanted.progress = [&] { return environment_.pull(work->vertex); };
  wanted.hold = [&](const engine::NamedImage& image) -> Result<bool> {
    auto hold = engine_.image_holds().Take(image.documents->id);
    if (!hold || !engine_.images().Resolve(name).ok()) return false;
    holds_.push_back(*std::move(hold));
    return true;
  };
  engine::NamedImage image =
      TRY(build::FindOrPullImage(engine_, environment_.request, wanted, stop_));
  std::string checksum = AttributeOf(source, "image.checksum");
  if (!checksum.empty() && checksum != image.image.target.digest &&
      checksum != image.documents->manifest_descriptor.digest) {
    return InvalidArgument("image {} has the digest {}, not {}", name, image.image.target.digest,
                           checksum);
  }
  materials_.AddImage(name, image);
  return StateOf(image, name);
}

Result<StageState> Solver::FromLayout(const std::string& text, const pb::SourceOp& source) {
  std::string store = AttributeOf(source, "oci.store");
  size_t at = text.find('@');
  if (at == std::string::npos) return InvalidArgument("oci-layout://{} has no digest", text);
  std::string wanted = (store.empty() ? text.substr(0, at) : store) + text.substr(at);
  auto names = build::ImportLayoutImage(engine_, environment_.request, wanted, stop_, &layouts_);
  std::string name = TRY_WITH(std::move(names), "oci-layout://{}", text);
  engine::NamedImage image;
  image.image = TRY(engine_.containerd().GetImage(name));
  image.documents = TRY(engine_.images().Documents(image.image.target));
  auto hold = engine_.image_holds().Take(image.documents->id);
  if (!hold) return NotFound("image {} is being removed", image.documents->id);
  holds_.push_back(*std::move(hold));
  return StateOf(image, "oci-layout://" + text);
}

Result<StageState> Solver::TakeDirectory(Work* work, BorrowedFd files, const std::string& key) {
  build::FindRequest find;
  find.root = files;
  find.missing = work->vertex.name;
  find.stop = stop_;
  std::vector<build::CopySource> sources;
  sources.push_back(TRY(build::FindSource(find, "")));
  StageState state = build::StateOfScratch();
  const std::string& what = key.empty() ? sources[0].hash : key;
  Step step{build::HexDigest("llb files\n" + what), work->vertex.name};
  TRY(Take(
      work, step,
      [&](const engine::Lease& lease) {
        return build::ChangeSnapshot(engine_, lease, "", std::nullopt, [&](BorrowedFd root) {
          build::CopyRequest request;
          request.root = root;
          request.destination = "/";
          request.stop = stop_;
          request.workers = &engine_.workers();
          return build::CopyInto(request, sources);
        });
      },
      &state));
  return state;
}

Result<StageState> Solver::FromLocal(Work* work, const std::string& name) {
  const pb::SourceOp& source = work->vertex.op.source();
  LocalSource wanted;
  wanted.name = name;
  wanted.includes = TRY(ListOf(source, "local.includepattern"));
  wanted.excludes = TRY(ListOf(source, "local.excludepatterns"));
  wanted.followed = TRY(ListOf(source, "local.followpaths"));
  if (!environment_.receive) return FailedPrecondition("the build has no session");
  UniqueFd files = TRY(context_.MakeDirectory("source-" + RandomHex(8)));
  TRY(environment_.receive(wanted, files));
  return TakeDirectory(work, files);
}

Result<StageState> Solver::FromGit(Work* work, const std::string& text) {
  const pb::SourceOp& source = work->vertex.op.source();
  for (const auto& [name, value] : source.attrs()) {
    bool verifies = name.starts_with("git.sig.");
    if (!verifies && name != "git.bundle" && name != "git.checkoutbundle") continue;
    // Nothing that somebody wants to be checked is passed over.
    return Unimplemented("{} of a git repository is not supported", name);
  }
  std::string remote = AttributeOf(source, "git.fullurl");
  size_t hash = text.find('#');
  if (remote.empty()) remote = text.substr(0, hash);
  bool has_scheme = remote.find("://") != std::string::npos || build::IsSshUrl(remote);
  if (!has_scheme) remote.insert(0, "https://");
  if (hash != std::string::npos) remote += text.substr(hash);
  build::GitUrl url = TRY(build::ParseGitUrl(remote));
  url.keeps_git_directory = AttributeOf(source, "git.keepgitdir") == "true";
  url.submodules = AttributeOf(source, "git.skipsubmodules") != "true";
  url.commit_times = AttributeOf(source, "git.mtime") == "commit";
  url.by_commit = AttributeOf(source, "git.fetchbycommit") == "true";
  url.checksum = AttributeOf(source, "git.checksum");
  TRY(build::CheckGitUrl(url));
  build::GitSecrets names{AttributeOf(source, "git.authheadersecret"),
                          AttributeOf(source, "git.authtokensecret"),
                          AttributeOf(source, "git.mountsshsock")};
  build::GitAccess access = TRY(build::FindGitAccess(environment_.request, url, names));
  if (auto hosts = source.attrs().find("git.knownsshhosts"); hosts != source.attrs().end()) {
    access.known_hosts = hosts->second;
  }
  std::string place = "source-" + RandomHex(8);
  TRY(context_.MakeDirectory(place));
  build::GitTree tree = TRY(build::FetchGit(url, context_.PathOf(place), access, stop_));
  materials_.Add(build::MaterialOf(url, tree));
  // What git writes for itself is another each time.
  bool by_key = *url.keeps_git_directory || url.commit_times;
  return TakeDirectory(work, tree.files, by_key ? tree.key : "");
}

Result<StageState> Solver::FromWeb(Work* work) {
  const pb::SourceOp& source = work->vertex.op.source();
  const std::string& url = source.identifier();
  std::string name = AttributeOf(source, "http.filename");
  if (name.empty()) name = build::NameOfUrl(url);
  if (name.empty()) name = "download";
  if (name.find('/') != std::string::npos || name == "." || name == "..") {
    return InvalidArgument("http.filename is no name: '{}'", name);
  }
  uint32_t mode = TRY(NumberOf(source, "http.perm", 8, 0600));
  uint32_t uid = TRY(NumberOf(source, "http.uid", 10, 0));
  uint32_t gid = TRY(NumberOf(source, "http.gid", 10, 0));
  UniqueFd files = TRY(context_.MakeDirectory("source-" + RandomHex(8)));
  std::string digest = TRY(build::DownloadFile(url, files, name, stop_));
  std::string checksum = AttributeOf(source, "http.checksum");
  if (!checksum.empty() && checksum != "sha256:" + digest) {
    return InvalidArgument("digest mismatch sha256:{}: {}", digest, checksum);
  }
  materials_.Add({url, "sha256", digest});
  UniqueFd file = TRY(kernel::OpenIn(files, name, O_RDONLY | O_NOFOLLOW));
  if (::fchown(file.get(), uid, gid) != 0 || ::fchmod(file.get(), mode & 07777) != 0) {
    return ErrnoError("giving '{}' to its owner", name);
  }
  return TakeDirectory(work, files);
}

}  // namespace gantry::llb
