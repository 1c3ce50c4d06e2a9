// SPDX-License-Identifier: Apache-2.0
//
// Build operations: a definition that is a file of another operation's result.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/undo.h"
#include "kernel/paths.h"
#include "llb/solver.h"

namespace gantry::llb {
namespace {

// Of definitions that build each other.
constexpr int kDeepestBuild = 8;
constexpr size_t kMostDefinitionBytes = size_t{16} << 20;
constexpr const char* kFileAttribute = "llbbuild.filename";

Result<pb::Definition> ReadDefinition(BorrowedFd root, const std::string& path) {
  UniqueFd file = TRY(kernel::OpenIn(root, path, O_RDONLY | O_NONBLOCK));
  struct stat status;
  if (::fstat(file.get(), &status) != 0) return ErrnoError("reading it");
  if (!S_ISREG(status.st_mode)) return InvalidArgument("it is no regular file");
  pb::Definition definition;
  if (definition.ParseFromString(TRY(ReadToEnd(file, kMostDefinitionBytes)))) return definition;
  return InvalidArgument("it is no definition");
}

}  // namespace

Result<> Solver::RunBuild(Work* work) {
  const pb::BuildOp& build = work->vertex.op.build();
  if (depth_ >= kDeepestBuild) {
    return MakeError(ErrorKind::kResourceExhausted,
                     "definitions build each other more than {} deep", kDeepestBuild);
  }
  build::StageState from = InputOf(*work, build.inputs().at(kDefinitionInput).input());
  auto named = build.attrs().find(kFileAttribute);
  std::string path = named == build.attrs().end() ? kDefinitionInput : named->second;
  pb::Definition definition =
      TRY_WITH(ReadDefinition(TRY(OpenFiles(from)), path), "reading the definition '{}'", path);
  Graph graph = TRY_WITH(ReadGraph(definition), "reading the definition '{}'", path);
  ++depth_;
  Undo back;
  back.Push([this] { --depth_; });
  work->outputs[0] = TRY(Solve(graph));
  return {};
}

}  // namespace gantry::llb
