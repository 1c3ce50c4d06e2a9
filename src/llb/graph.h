// SPDX-License-Identifier: Apache-2.0
//
// A definition of LLB as a graph: operations that are named by the digest of their own bytes, so
// that none can be below itself, checked as far as they can be without running them. What comes is
// hostile. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "moby/buildkit/ops.pb.h"

namespace gantry::llb {

// The input of a build operation that has the definition, and the name of its file.
inline constexpr const char* kDefinitionInput = "buildkit.llb.definition";

// One of an operation's outputs.
struct Edge {
  size_t vertex = 0;  // among the graph's
  int64_t output = 0;
};

struct Vertex {
  std::string digest;  // "sha256:HEX" of its bytes
  pb::Op op;
  std::vector<Edge> inputs;
  std::string name;  // as progress shows it
  bool ignores_cache = false;
  // Whether what is above can wish for this output of it.
  bool HasOutput(int64_t output) const;
};

struct Graph {
  std::vector<Vertex> vertices;  // each after its inputs; only those that the result needs
  Edge result;
};

// kInvalidArgument names the operation and what is wrong with it: a missing input, an index that
// leads nowhere, a path with "..", no operation at all, too many. kUnimplemented: an operation that
// there is not.
Result<Graph> ReadGraph(const pb::Definition& definition);

// One mount of a command that has so many inputs.
Result<> CheckMount(const pb::Mount& mount, size_t inputs);

// The operations that there are, as capabilities of BuildKit's API.
const std::vector<std::string>& Capabilities();

}  // namespace gantry::llb
