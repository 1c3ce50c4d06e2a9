// SPDX-License-Identifier: Apache-2.0
//
// File operations: actions one after the other, each on the files of an input or of an earlier
// action. Those that lead to one result change one snapshot and are one layer.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/io.h"
#include "base/text.h"
#include "build/copy_source.h"
#include "build/step_layers.h"
#include "dockerfile/patterns.h"
#include "engine/accounts.h"
#include "engine/container_files.h"
#include "formats/mode_change.h"
#include "kernel/paths.h"
#include "llb/solver.h"

namespace gantry::llb {

using build::CopySource;
using build::OwnerIds;
using build::StageState;

struct Solver::FileRun {
  Work* work = nullptr;
  std::map<int64_t, StageState> trees;  // of actions, by their number as an input
  std::map<const pb::FileAction*, std::vector<CopySource>> copies;
  int depth = 0;
};

namespace {

// Copies whose source is what another copy has made.
constexpr int kDeepest = 64;
constexpr int64_t kNoTime = -1;
constexpr int64_t kNanosASecond = 1'000'000'000;

// What an action gives to what it makes.
struct Look {
  mode_t mode = 0;
  std::optional<OwnerIds> owner;
  int64_t nanoseconds = kNoTime;  // since 1970
};

timespec TimeOf(int64_t nanoseconds) {
  return {nanoseconds / kNanosASecond, nanoseconds % kNanosASecond};
}

Result<> SetTime(BorrowedFd directory, const std::string& name, int64_t nanoseconds) {
  if (nanoseconds == kNoTime) return {};
  timespec times[2] = {TimeOf(nanoseconds), TimeOf(nanoseconds)};
  if (::utimensat(directory.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0) return {};
  return ErrnoError("setting the time of '{}'", name);
}

Result<> SetLook(BorrowedFd directory, const std::string& name, BorrowedFd made, const Look& look) {
  OwnerIds owner = look.owner.value_or(OwnerIds(0, 0));
  if (::fchown(made.get(), owner.first, owner.second) != 0 ||
      ::fchmod(made.get(), look.mode) != 0) {
    return ErrnoError("giving '{}' to its owner", name);
  }
  return SetTime(directory, name, look.nanoseconds);
}

Result<> MakeFile(BorrowedFd root, const pb::FileActionMkFile& action, const Look& look) {
  std::string real = TRY(engine::FollowLinks(root, action.path()));
  auto place = TRY_WITH(kernel::OpenParentIn(root, real), "making '{}'", action.path());
  UniqueFd file = TRY_WITH(kernel::OpenIn(place.parent, place.name,
                                          O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK,
                                          0600, kernel::Links::kRefuse),
                           "making '{}'", action.path());
  TRY(WriteAll(file, action.data()));
  return SetLook(place.parent, place.name, file, look);
}

// One that is there already stays as it is.
Result<> MakeDirectory(BorrowedFd root, const pb::FileActionMkDir& action, const Look& look) {
  std::vector<std::string> parts = SplitWords(action.path(), "/");
  std::string at;
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string above = at;
    at += "/" + parts[i];
    if (kernel::OpenIn(root, at, O_PATH | O_DIRECTORY).ok()) continue;
    bool last = i + 1 == parts.size();
    if (!last && !action.makeparents()) {
      return NotFound("making '{}': there is no directory '{}'", action.path(), at);
    }
    std::string real = TRY(engine::FollowLinks(root, at));
    auto place = TRY_WITH(kernel::OpenParentIn(root, real), "making '{}'", at);
    if (::mkdirat(place.parent.get(), place.name.c_str(), 0700) != 0) {
      return ErrnoError("making '{}'", at);
    }
    UniqueFd made = TRY(kernel::OpenIn(
        place.parent, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, kernel::Links::kRefuse));
    TRY(SetLook(place.parent, place.name, made, look));
  }
  return {};
}

Result<> MakeLink(BorrowedFd root, const pb::FileActionSymlink& action, const Look& look) {
  auto place =
      TRY_WITH(kernel::OpenParentIn(root, action.newpath()), "making '{}'", action.newpath());
  const char* name = place.name.c_str();
  OwnerIds owner = look.owner.value_or(OwnerIds(0, 0));
  if (::symlinkat(action.oldpath().c_str(), place.parent.get(), name) != 0 ||
      ::fchownat(place.parent.get(), name, owner.first, owner.second, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError("making '{}'", action.newpath());
  }
  return SetTime(place.parent, place.name, look.nanoseconds);
}

Result<> Remove(BorrowedFd root, const pb::FileActionRm& action) {
  std::vector<std::string> paths = {dockerfile::CleanRelative(action.path())};
  if (action.allowwildcard()) paths = TRY(build::FindPaths(root, paths[0]));
  for (const std::string& path : paths) {
    if (path.empty()) return InvalidArgument("the root itself can't be removed");
    Result<kernel::ParentAndName> place = kernel::OpenParentIn(root, path);
    bool missing = !place.ok() && place.error().error_number() == ENOENT;
    if (place.ok()) {
      missing = !kernel::OpenIn(place->parent, place->name, O_PATH | O_NOFOLLOW).ok();
      if (!missing) TRY(kernel::RemoveTreeAt(place->parent, place->name));
    } else if (!missing) {
      return std::move(place).error();
    }
    if (missing && !action.allownotfound()) {
      return NotFound("removing '{}': no such file or directory", action.path());
    }
  }
  return {};
}

Result<std::optional<formats::ModeChange>> ModeOf(const pb::FileActionCopy& copy) {
  if (!copy.modestr().empty()) return TRY(formats::ModeChange::Parse(copy.modestr()));
  if (copy.mode() == -1) return std::optional<formats::ModeChange>();
  return std::optional<formats::ModeChange>(static_cast<mode_t>(copy.mode()) & 07777);
}

// Where a source goes: a directory itself into one that is there, unless its contents are wanted.
std::string PlaceOf(BorrowedFd root, const pb::FileActionCopy& copy, const CopySource& source) {
  std::string place = "/" + dockerfile::CleanRelative(copy.dest());
  bool into = copy.dest().ends_with('/') || copy.dest().ends_with("/.");
  if (source.is_directory && !copy.dircopycontents() && !source.base.empty()) {
    bool there = kernel::OpenIn(root, place, O_PATH | O_DIRECTORY).ok();
    return into || there ? (place == "/" ? "" : place) + "/" + source.base : place;
  }
  return into && place != "/" ? place + "/" : place;
}

}  // namespace

Result<std::optional<OwnerIds>> Solver::OwnerOf(FileRun* run, const pb::ChownOpt& owner) {
  if (!owner.has_user() && !owner.has_group()) return std::optional<OwnerIds>();
  // Names are those of the files that the client says, which are trusted with nothing but numbers.
  auto look_up = [&](const pb::NamedUserOpt& named,
                     const std::string& text) -> Result<engine::ResolvedUser> {
    StageState state = TRY(TreeAfter(run, named.input()));
    engine::Accounts accounts = TRY(engine::ReadAccounts(TRY(OpenFiles(state))));
    return TRY_WITH(engine::ResolveUser(text, {}, accounts), "can't resolve the owner '{}'",
                    named.name());
  };
  OwnerIds ids(0, 0);
  if (owner.user().has_byname()) {
    auto found = TRY(look_up(owner.user().byname(), owner.user().byname().name()));
    ids = {found.uid, found.gid};
  } else {
    // A number alone is the group's, too.
    ids = {owner.user().byid(), owner.user().byid()};
  }
  if (owner.group().has_byname()) {
    const std::string& name = owner.group().byname().name();
    ids.second = TRY(look_up(owner.group().byname(), "0:" + name)).gid;
  } else if (owner.has_group()) {
    ids.second = owner.group().byid();
  }
  return std::optional(ids);
}

Result<std::vector<CopySource>> Solver::CopySourcesOf(FileRun* run, const pb::FileAction& action) {
  const pb::FileActionCopy& copy = action.copy();
  StageState state = TRY(TreeAfter(run, action.secondaryinput()));
  build::FindRequest find;
  find.root = TRY(OpenFiles(state));
  find.missing = "copying";
  find.finds_archives = copy.attemptunpackdockercompatibility();
  find.follows_links = copy.followsymlink();
  find.stop = stop_;
  std::string excludes;
  for (const std::string& one : copy.exclude_patterns()) excludes += one + "\n";
  std::string includes;
  for (const std::string& one : copy.include_patterns()) includes += one + "\n";
  find.excludes = TRY_WITH(dockerfile::IgnoreList::Parse(excludes), "reading patterns");
  find.includes = TRY_WITH(dockerfile::IgnoreList::Parse(includes), "reading patterns");
  for (const std::string& path : copy.required_paths()) {
    std::string real = TRY(engine::FollowLinks(find.root, path));
    if (kernel::OpenIn(find.root, real, O_PATH | O_NOFOLLOW).ok()) continue;
    return NotFound("copying: \"/{}\": not found", dockerfile::CleanRelative(path));
  }
  std::vector<CopySource> sources;
  if (copy.allowwildcard()) {
    auto found = build::FindSources(find, copy.src());
    bool none = found.ok() ? found->empty() : found.error().kind() == ErrorKind::kNotFound;
    if (none && copy.allowemptywildcard()) return sources;
    if (found.ok() && none) return NotFound("copying: \"{}\": not found", copy.src());
    return found;
  }
  sources.push_back(TRY(build::FindSource(find, dockerfile::CleanRelative(copy.src()))));
  return sources;
}

Result<std::string> Solver::KeyOfAction(FileRun* run, const pb::FileAction& action) {
  pb::FileAction own = action;
  own.clear_input();
  own.clear_secondaryinput();
  own.clear_output();
  std::string key = "\naction " + own.SerializeAsString();
  const pb::ChownOpt* owner = action.has_copy()     ? &action.copy().owner()
                              : action.has_mkfile() ? &action.mkfile().owner()
                              : action.has_mkdir()  ? &action.mkdir().owner()
                                                    : &action.symlink().owner();
  if (auto ids = TRY(OwnerOf(run, *owner)))
    key += fmt::format("\nowner {}:{}", ids->first, ids->second);
  if (!action.has_copy()) return key;
  if (!run->copies.contains(&action)) {
    run->copies[&action] = TRY(CopySourcesOf(run, action));
  }
  for (const CopySource& source : run->copies[&action]) {
    key += fmt::format("\n{} {}{}", source.base, source.hash, source.is_archive ? " unpacked" : "");
  }
  return key;
}

Result<> Solver::Act(FileRun* run, const pb::FileAction& action, const build::CopyRequest& base) {
  if (action.has_rm()) return Remove(base.root, action.rm());
  if (action.has_copy()) {
    const pb::FileActionCopy& copy = action.copy();
    build::CopyRequest request = base;
    request.owner = TRY(OwnerOf(run, copy.owner()));
    request.mode = TRY(ModeOf(copy));
    if (copy.timestamp() != kNoTime) request.time = TimeOf(copy.timestamp());
    if (!copy.createdestpath()) {
      std::string place = "/" + dockerfile::CleanRelative(copy.dest());
      std::string parent = place.substr(0, place.rfind('/'));
      TRY_WITH(kernel::OpenIn(base.root, parent, O_PATH | O_DIRECTORY), "copying to '{}'",
               copy.dest());
    }
    for (CopySource& source : run->copies[&action]) {
      request.destination = PlaceOf(base.root, copy, source);
      std::vector<CopySource> one;
      one.push_back(std::move(source));
      TRY(build::CopyInto(request, one));
    }
    // The next result that needs them finds them again.
    run->copies.erase(&action);
    return {};
  }
  Look look;
  if (action.has_mkfile()) {
    look = {static_cast<mode_t>(action.mkfile().mode()) & 0777,
            TRY(OwnerOf(run, action.mkfile().owner())), action.mkfile().timestamp()};
    return MakeFile(base.root, action.mkfile(), look);
  }
  if (action.has_mkdir()) {
    look = {static_cast<mode_t>(action.mkdir().mode()) & 0777,
            TRY(OwnerOf(run, action.mkdir().owner())), action.mkdir().timestamp()};
    return MakeDirectory(base.root, action.mkdir(), look);
  }
  look = {0, TRY(OwnerOf(run, action.symlink().owner())), action.symlink().timestamp()};
  return MakeLink(base.root, action.symlink(), look);
}

Result<StageState> Solver::TreeAfter(FileRun* run, int64_t index) {
  const auto& actions = run->work->vertex.op.file().actions();
  auto inputs = static_cast<int64_t>(run->work->inputs.size());
  if (index < inputs) return InputOf(*run->work, index);
  if (auto known = run->trees.find(index); known != run->trees.end()) return known->second;
  // From here down to an input; every action refers to earlier ones only.
  std::vector<const pb::FileAction*> way;
  int64_t below = index;
  while (below >= inputs) {
    way.push_back(&actions[static_cast<int>(below - inputs)]);
    below = way.back()->input();
  }
  std::reverse(way.begin(), way.end());
  if (++run->depth > kDeepest) {
    return InvalidArgument("copies of copies of copies: more than {} of them", kDeepest);
  }
  StageState state = InputOf(*run->work, below);
  std::string told = "llb file\n" + state.cache_key;
  for (const pb::FileAction* action : way) {
    told += TRY_WITH(KeyOfAction(run, *action), "{}", run->work->vertex.name);
  }
  Step step{build::HexDigest(told), run->work->vertex.name};
  const std::string parent = state.chain_id;
  auto change = [&](BorrowedFd root) -> Result<> {
    build::CopyRequest request;
    request.root = root;
    request.stop = stop_;
    request.workers = &engine_.workers();
    for (const pb::FileAction* action : way) {
      if (action->has_copy() && !run->copies.contains(action)) {
        run->copies[action] = TRY(CopySourcesOf(run, *action));
      }
      TRY_WITH(Act(run, *action, request), "{}", run->work->vertex.name);
    }
    return {};
  };
  TRY(Take(
      run->work, step,
      [&](const engine::Lease& lease) {
        return build::ChangeSnapshot(engine_, lease, parent, std::nullopt, change);
      },
      &state));
  --run->depth;
  run->trees[index] = state;
  return state;
}

Result<> Solver::RunFile(Work* work) {
  FileRun run;
  run.work = work;
  const auto& actions = work->vertex.op.file().actions();
  for (int i = 0; i < actions.size(); ++i) {
    if (actions[i].output() < 0) continue;
    auto index = static_cast<int64_t>(work->inputs.size()) + i;
    work->outputs[actions[i].output()] = TRY(TreeAfter(&run, index));
  }
  return {};
}

}  // namespace gantry::llb
