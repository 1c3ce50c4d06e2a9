// SPDX-License-Identifier: Apache-2.0
#include "llb/graph.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/text.h"
#include "formats/digest.h"

namespace gantry::llb {
namespace {

constexpr int kMostOperations = 10'000;
constexpr int kMostInputs = 1'000;
constexpr int kMostParts = 1'000;  // mounts, actions
constexpr size_t kMostNameBytes = 1'000;
// The builder of a definition that is a file of an input.
constexpr int64_t kOwnBuilder = -1;

Result<> CheckPath(std::string_view what, const std::string& path) {
  if (path.find('\0') != std::string::npos) return InvalidArgument("{} has a zero byte", what);
  for (const std::string& part : SplitWords(path, "/")) {
    if (part == "..") return InvalidArgument("{} '{}' leads upwards", what, path);
  }
  return {};
}

Result<> CheckIndex(std::string_view what, int64_t index, size_t count) {
  if (index >= -1 && index < static_cast<int64_t>(count)) return {};
  return InvalidArgument("{} is the input {} of {}", what, index, count);
}

Result<> CheckCount(std::string_view what, int count, int most) {
  if (count <= most) return {};
  return MakeError(ErrorKind::kResourceExhausted, "{} {}: there may be {}", count, what, most);
}

// Clients leave out the number of what can't be one.
bool IsOutput(const pb::Mount& mount) {
  return mount.mounttype() == pb::BIND && mount.output() != -1;
}

}  // namespace

Result<> CheckMount(const pb::Mount& mount, size_t inputs) {
  TRY(CheckIndex("a mount", mount.input(), inputs));
  TRY(CheckPath("the mount's selector", mount.selector()));
  TRY(CheckPath("the mount's target", mount.dest()));
  bool file = mount.mounttype() == pb::SECRET || mount.mounttype() == pb::SSH;
  if (mount.dest().empty() && !file) return InvalidArgument("a mount has no target");
  if (!pb::MountType_IsValid(mount.mounttype())) {
    return Unimplemented("a mount of the type {} is not supported",
                         static_cast<int>(mount.mounttype()));
  }
  return {};
}

namespace {

Result<> CheckExec(const pb::ExecOp& exec, size_t inputs) {
  if (exec.meta().args().empty()) return InvalidArgument("the command has no words");
  TRY(CheckCount("mounts", exec.mounts_size(), kMostParts));
  if (exec.cdidevices_size() > 0) return Unimplemented("devices of CDI are not supported");
  int roots = 0;
  std::vector<int64_t> outputs;
  for (const pb::Mount& mount : exec.mounts()) {
    TRY(CheckMount(mount, inputs));
    bool root = mount.dest() == "/";
    roots += root ? 1 : 0;
    if (root && (mount.mounttype() != pb::BIND || !mount.selector().empty())) {
      return InvalidArgument("the command's root is no whole file system");
    }
    if (!IsOutput(mount)) continue;
    if (mount.output() < 0 || mount.output() >= exec.mounts_size()) {
      return InvalidArgument("a mount is the output {}", mount.output());
    }
    outputs.push_back(mount.output());
  }
  std::sort(outputs.begin(), outputs.end());
  if (std::adjacent_find(outputs.begin(), outputs.end()) != outputs.end()) {
    return InvalidArgument("two mounts are one output");
  }
  if (roots != 1) return InvalidArgument("the command has {} roots", roots);
  TRY(CheckPath("the working directory", exec.meta().cwd()));
  return {};
}

Result<> CheckOwner(const pb::ChownOpt& owner, size_t trees) {
  for (const pb::UserOpt& user : {owner.user(), owner.group()}) {
    if (user.has_byname()) TRY(CheckIndex("an owner", user.byname().input(), trees));
  }
  return {};
}

// `trees`: the inputs and the results of earlier actions.
Result<> CheckAction(const pb::FileAction& action, size_t trees) {
  TRY(CheckIndex("an action", action.input(), trees));
  switch (action.action_case()) {
    case pb::FileAction::kCopy:
      for (const std::string& path : action.copy().required_paths()) {
        TRY(CheckPath("a copy's required path", path));
      }
      TRY(CheckIndex("a copy's source", action.secondaryinput(), trees));
      TRY(CheckPath("the copy's source", action.copy().src()));
      TRY(CheckPath("the copy's target", action.copy().dest()));
      return CheckOwner(action.copy().owner(), trees);
    case pb::FileAction::kMkfile:
      TRY(CheckPath("the file", action.mkfile().path()));
      return CheckOwner(action.mkfile().owner(), trees);
    case pb::FileAction::kMkdir:
      TRY(CheckPath("the directory", action.mkdir().path()));
      return CheckOwner(action.mkdir().owner(), trees);
    case pb::FileAction::kRm:
      return CheckPath("what is removed,", action.rm().path());
    case pb::FileAction::kSymlink:
      TRY(CheckPath("the link", action.symlink().newpath()));
      return CheckOwner(action.symlink().owner(), trees);
    default:
      return Unimplemented("an action on files of another kind is not supported");
  }
}

Result<> CheckFile(const pb::FileOp& file, size_t inputs) {
  TRY(CheckCount("actions", file.actions_size(), kMostParts));
  size_t trees = inputs;
  std::vector<int64_t> outputs;
  for (const pb::FileAction& action : file.actions()) {
    TRY(CheckAction(action, trees++));
    if (action.output() < -1 || action.output() >= file.actions_size()) {
      return InvalidArgument("an action is the output {}", action.output());
    }
    if (action.output() >= 0) outputs.push_back(action.output());
  }
  std::sort(outputs.begin(), outputs.end());
  if (std::adjacent_find(outputs.begin(), outputs.end()) != outputs.end()) {
    return InvalidArgument("two actions are one output");
  }
  return {};
}

Result<> CheckBuild(const pb::BuildOp& build, size_t inputs) {
  if (build.builder() != kOwnBuilder) {
    return Unimplemented("a builder that is an input is not supported");
  }
  auto definition = build.inputs().find(kDefinitionInput);
  if (definition == build.inputs().end() || definition->second.input() < 0) {
    return InvalidArgument("there is no input with the definition to build");
  }
  return CheckIndex("the definition to build", definition->second.input(), inputs);
}

Result<> CheckOp(const pb::Op& op) {
  auto inputs = static_cast<size_t>(op.inputs_size());
  TRY(CheckCount("inputs", op.inputs_size(), kMostInputs));
  switch (op.op_case()) {
    case pb::Op::kSource:
      if (op.source().identifier().find("://") != std::string::npos) return {};
      return InvalidArgument("the source '{}' has no scheme", op.source().identifier());
    case pb::Op::kExec:
      return CheckExec(op.exec(), inputs);
    case pb::Op::kFile:
      return CheckFile(op.file(), inputs);
    case pb::Op::kMerge:
      for (const pb::MergeInput& one : op.merge().inputs()) {
        TRY(CheckIndex("a part of the merge", one.input(), inputs));
      }
      return {};
    case pb::Op::kDiff:
      TRY(CheckIndex("the lower side", op.diff().lower().input(), inputs));
      return CheckIndex("the upper side", op.diff().upper().input(), inputs);
    case pb::Op::kBuild:
      return CheckBuild(op.build(), inputs);
    case pb::Op::kPassthrough:
      TRY(CheckCount("outputs", op.passthrough().outputs_size(), kMostInputs));
      for (int64_t input : op.passthrough().outputs()) {
        if (input < 0) return InvalidArgument("an output is no input");
        TRY(CheckIndex("an output", input, inputs));
      }
      return {};
    case pb::Op::OP_NOT_SET:
      return InvalidArgument("there is no operation of that kind");
  }
  return {};
}

std::string NameOfFiles(const pb::FileOp& file) {
  std::string out;
  for (const pb::FileAction& action : file.actions()) {
    if (!out.empty()) out += ", ";
    if (action.has_copy()) out += "copy " + action.copy().src() + " " + action.copy().dest();
    if (action.has_mkfile()) out += "mkfile " + action.mkfile().path();
    if (action.has_mkdir()) out += "mkdir " + action.mkdir().path();
    if (action.has_rm()) out += "rm " + action.rm().path();
    if (action.has_symlink()) {
      out += "symlink " + action.symlink().newpath() + " -> " + action.symlink().oldpath();
    }
  }
  return out;
}

std::string NameOf(const pb::Op& op) {
  if (op.has_source()) return op.source().identifier();
  if (op.has_exec()) return Join(op.exec().meta().args(), " ");
  if (op.has_file()) return NameOfFiles(op.file());
  if (op.has_build()) return "build a definition";
  if (op.has_passthrough()) return "pass inputs through";
  return op.has_merge() ? "merge" : "diff";
}

// What is known of a definition while it is walked.
class Reader {
 public:
  explicit Reader(const pb::Definition& definition) : definition_(definition) {}

  Result<Graph> Read() {
    int count = definition_.def_size();
    if (count == 0) return InvalidArgument("the definition is empty");
    TRY(CheckCount("operations", count, kMostOperations));
    for (const std::string& bytes : definition_.def()) {
      bytes_.emplace(formats::Digest::Of(bytes).text(), &bytes);
    }
    // The last one is no operation: it names the result.
    pb::Op head;
    if (!head.ParseFromString(*definition_.def().rbegin())) {
      return InvalidArgument("the definition's last operation can't be read");
    }
    if (head.op_case() != pb::Op::OP_NOT_SET || head.inputs_size() != 1) {
      return InvalidArgument("the definition's last operation names no result");
    }
    TRY(Walk(head.inputs(0).digest()));
    graph_.result = TRY(EdgeOf(head.inputs(0), "the result"));
    return std::move(graph_);
  }

 private:
  struct Open {
    std::string digest;
    pb::Op op;
    int next = 0;  // of its inputs
  };

  Result<Open> Begin(const std::string& digest) const {
    auto found = bytes_.find(digest);
    if (found == bytes_.end()) {
      return InvalidArgument("the definition has no operation '{}'", digest);
    }
    Open open;
    open.digest = digest;
    if (!open.op.ParseFromString(*found->second)) {
      return InvalidArgument("operation {} can't be read", digest);
    }
    TRY_WITH(CheckOp(open.op), "operation {}", digest);
    return open;
  }

  // Everything below one operation, without recursion: a hostile chain may be long.
  Result<> Walk(const std::string& digest) {
    std::vector<Open> way;
    way.push_back(TRY(Begin(digest)));
    while (!way.empty()) {
      Open& top = way.back();
      if (top.next < top.op.inputs_size()) {
        const std::string& below = top.op.inputs(top.next++).digest();
        // Its digest is part of the bytes above: nothing is on the way to itself.
        if (!numbers_.contains(below)) way.push_back(TRY(Begin(below)));
        continue;
      }
      if (!numbers_.contains(top.digest)) TRY(Finish(std::move(top)));
      way.pop_back();
    }
    return {};
  }

  Result<> Finish(Open open) {
    Vertex vertex;
    vertex.digest = open.digest;
    for (const pb::Input& input : open.op.inputs()) {
      vertex.inputs.push_back(TRY(EdgeOf(input, "operation " + open.digest)));
    }
    auto metadata = definition_.metadata().find(open.digest);
    if (metadata != definition_.metadata().end()) {
      vertex.ignores_cache = metadata->second.ignore_cache();
      auto name = metadata->second.description().find("llb.customname");
      if (name != metadata->second.description().end()) vertex.name = name->second;
    }
    if (vertex.name.empty()) vertex.name = NameOf(open.op);
    vertex.name = Shown(std::move(vertex.name));
    vertex.op = std::move(open.op);
    numbers_.emplace(vertex.digest, graph_.vertices.size());
    graph_.vertices.push_back(std::move(vertex));
    return {};
  }

  Result<Edge> EdgeOf(const pb::Input& input, const std::string& of) const {
    size_t number = numbers_.at(input.digest());
    if (graph_.vertices[number].HasOutput(input.index())) return Edge{number, input.index()};
    return InvalidArgument("{} wants the output {} of {}, which there is not", of, input.index(),
                           input.digest());
  }

  // One line of whole characters.
  static std::string Shown(std::string text) {
    size_t end = std::min(text.size(), kMostNameBytes);
    while (end < text.size() && end > 0 && (text[end] & 0xc0) == 0x80) --end;
    text.resize(end);
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    return text;
  }

  const pb::Definition& definition_;
  std::map<std::string, const std::string*> bytes_;
  std::map<std::string, size_t> numbers_;  // of finished ones
  Graph graph_;
};

}  // namespace

bool Vertex::HasOutput(int64_t output) const {
  if (op.has_exec()) {
    return output >= 0 && std::any_of(op.exec().mounts().begin(), op.exec().mounts().end(),
                                      [&](const pb::Mount& mount) {
                                        return IsOutput(mount) && mount.output() == output;
                                      });
  }
  if (op.has_file()) {
    return output >= 0 &&
           std::any_of(op.file().actions().begin(), op.file().actions().end(),
                       [&](const pb::FileAction& one) { return one.output() == output; });
  }
  if (op.has_passthrough()) return output >= 0 && output < op.passthrough().outputs_size();
  return output == 0;
}

Result<Graph> ReadGraph(const pb::Definition& definition) { return Reader(definition).Read(); }

const std::vector<std::string>& Capabilities() {
  static const std::vector<std::string> kAll = {"source.image",
                                                "source.image.resolvemode",
                                                "source.image.checksum",
                                                "source.local",
                                                "source.local.unique",
                                                "source.local.sessionid",
                                                "source.local.includepatterns",
                                                "source.local.followpaths",
                                                "source.local.excludepatterns",
                                                "source.local.sharedkeyhint",
                                                "source.local.differ",
                                                "source.git",
                                                "source.git.keepgitdir",
                                                "source.git.fullurl",
                                                "source.git.subdir",
                                                "source.git.httpauth",
                                                "source.git.knownsshhosts",
                                                "source.git.mountsshsock",
                                                "source.git.checksum",
                                                "source.git.skipsubmodules",
                                                "source.git.mtime",
                                                "source.git.fetchbycommit",
                                                "source.http",
                                                "source.http.checksum",
                                                "source.http.perm",
                                                "soruce.http.uidgid",
                                                "source.ocilayout",
                                                "exec.meta.base",
                                                "exec.meta.cgroup.parent",
                                                "exec.meta.network",
                                                "exec.meta.proxyenv",
                                                "exec.meta.security",
                                                "exec.meta.setsdefaultpath",
                                                "exec.meta.ulimit",
                                                "exec.meta.removemountstubs.recursive",
                                                "exec.mount.bind",
                                                "exec.mount.bind.readwrite-nooutput",
                                                "exec.mount.cache",
                                                "exec.mount.cache.sharing",
                                                "exec.mount.selector",
                                                "exec.mount.tmpfs",
                                                "exec.mount.tmpfs.size",
                                                "exec.mount.secret",
                                                "exec.mount.ssh",
                                                "exec.cgroup",
                                                "exec.secretenv",
                                                "exec.validexitcode",
                                                "file.base",
                                                "file.rm.wildcard",
                                                "file.rm.nofollowsymlink",
                                                "file.copy.includeexcludepatterns",
                                                "file.copy.modestring",
                                                "file.copy.requiredpaths",
                                                "file.symlink.create",
                                                "constraints",
                                                "platform",
                                                "meta.ignorecache",
                                                "meta.description",
                                                "meta.exportcache",
                                                "mergeop",
                                                "diffop",
                                                "passthroughop",
                                                "source.buildop.llbfilename",
                                                "exporter.multiple",
                                                "exporter.image.annotations",
                                                "exporter.image.attestations",
                                                "gc.freespacefilter"};
  return kAll;
}

}  // namespace gantry::llb
