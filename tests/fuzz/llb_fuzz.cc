// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a definition of LLB. They stand for a list of operations, each behind its length of
// two bytes, whose inputs are made to fit now and then, since no fuzzer finds a digest. Whatever is
// accepted is in order: each operation after its inputs, every index one that there is.
// link: protobuf crypto
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "formats/digest.h"
#include "llb/graph.h"

namespace {

using gantry::llb::Graph;
using gantry::llb::Vertex;

// An input whose digest is a number names the operation so many before.
std::string WithDigests(const std::string& bytes, const std::vector<std::string>& digests) {
  pb::Op op;
  if (!op.ParseFromString(bytes)) return bytes;
  bool changed = false;
  for (pb::Input& input : *op.mutable_inputs()) {
    const std::string& text = input.digest();
    if (text.size() != 1 || digests.empty()) continue;
    size_t back = static_cast<unsigned char>(text[0]) % digests.size();
    input.set_digest(digests[digests.size() - 1 - back]);
    changed = true;
  }
  return changed ? op.SerializeAsString() : bytes;
}

void Check(const Graph& graph) {
  if (graph.result.vertex >= graph.vertices.size()) abort();
  for (size_t i = 0; i < graph.vertices.size(); ++i) {
    const Vertex& vertex = graph.vertices[i];
    if (vertex.inputs.size() != static_cast<size_t>(vertex.op.inputs_size())) abort();
    for (const auto& edge : vertex.inputs) {
      if (edge.vertex >= i || !graph.vertices[edge.vertex].HasOutput(edge.output)) abort();
    }
    if (vertex.name.find('\n') != std::string::npos) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  pb::Definition definition;
  std::vector<std::string> digests;
  while (rest.size() >= 2) {
    size_t length =
        static_cast<unsigned char>(rest[0]) + 256u * static_cast<unsigned char>(rest[1]);
    rest.remove_prefix(2);
    length = std::min(length, rest.size());
    std::string bytes = WithDigests(std::string(rest.substr(0, length)), digests);
    rest.remove_prefix(length);
    digests.push_back(gantry::formats::Digest::Of(bytes).text());
    definition.add_def(std::move(bytes));
  }
  auto graph = gantry::llb::ReadGraph(definition);
  if (graph.ok()) Check(*graph);
  return 0;
}
