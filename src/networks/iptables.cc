// SPDX-License-Identifier: Apache-2.0
#include "networks/iptables.h"

#include <algorithm>

#include "base/text.h"
#include "kernel/memory_file.h"
#include "kernel/spawn.h"

namespace gantry::networks {
namespace {

constexpr size_t kMaxOutput = size_t{16} << 20;

Result<std::string> Run(const std::string& program, std::vector<std::string> arguments,
                        const std::string& input, kernel::Captured captured) {
  UniqueFd file = TRY(kernel::MemoryFile("iptables-input", input));
  kernel::SpawnOptions options;
  options.program = program;
  options.args = {program};
  for (std::string& argument : arguments) options.args.push_back(std::move(argument));
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  options.fds = {{file.get(), 0}};
  kernel::ProgramOutput output =
      TRY(kernel::SpawnAndRead(std::move(options), captured, kMaxOutput));
  if (output.status.ShellCode() == 0) return std::move(output.text);
  return Unavailable("'{}' ended with code {}: {}", program, output.status.ShellCode(),
                     Trim(output.text));
}

// Where there is one variant only, its programs may have the plain names.
Result<std::string> FindProgram(std::string_view family, IptablesVariant variant,
                                std::string_view verb) {
  bool legacy = variant == IptablesVariant::kLegacy;
  auto named = kernel::FindInPath(fmt::format("{}-{}-{}", family, legacy ? "legacy" : "nft", verb));
  if (named.ok()) return named;
  std::string plain = TRY(kernel::FindInPath(fmt::format("{}-{}", family, verb)));
  std::string version = TRY(Run(plain, {"--version"}, "", kernel::Captured::kOutput));
  bool is_nft = version.find("nf_tables") != std::string::npos;
  if (is_nft != legacy) return plain;
  return NotFound("there is no {} of the {} kind", family, legacy ? "legacy" : "nft");
}

}  // namespace

Result<IptablesTable> ParseIptablesSave(std::string_view text) {
  IptablesTable table;
  for (const std::string& line : Split(text, '\n')) {
    std::vector<std::string> words = SplitWords(line);
    if (words.empty() || line[0] == '#' || line[0] == '*' || line == "COMMIT") continue;
    if (line[0] == ':' && words.size() >= 2) {
      table[words[0].substr(1)].policy = words[1];
    } else if (words[0] == "-A" && words.size() >= 2) {
      auto chain = table.find(words[1]);
      if (chain == table.end()) return InvalidArgument("a rule of an unknown chain: '{}'", line);
      chain->second.rules.emplace_back(Trim(line));
    } else {
      return InvalidArgument("a line of iptables-save that makes no sense: '{}'", line);
    }
  }
  return table;
}

Result<Iptables> Iptables::Find(IptablesVariant variant, bool ipv6) {
  std::string_view family = ipv6 ? "ip6tables" : "iptables";
  Iptables found;
  found.save_ = TRY(FindProgram(family, variant, "save"));
  found.restore_ = TRY(FindProgram(family, variant, "restore"));
  found.name_ =
      fmt::format("{}-{}", family, variant == IptablesVariant::kLegacy ? "legacy" : "nft");
  return found;
}

Result<Iptables> Iptables::Default(bool ipv6) {
  Iptables found;
  found.name_ = ipv6 ? "ip6tables" : "iptables";
  found.save_ = TRY(kernel::FindInPath(found.name_ + "-save"));
  found.restore_ = TRY(kernel::FindInPath(found.name_ + "-restore"));
  return found;
}

Result<IptablesTable> Iptables::Save(std::string_view table) const {
  std::string text = TRY_WITH(Run(save_, {"-t", std::string(table)}, "", kernel::Captured::kOutput),
                              "reading {}", name_);
  return TRY_WITH(ParseIptablesSave(text), "reading {}", name_);
}

Result<> Iptables::Change(std::string_view table, const std::vector<std::string>& lines) const {
  if (lines.empty()) return {};
  std::string input = fmt::format("*{}\n", table);
  for (const std::string& line : lines) input += line + "\n";
  input += "COMMIT\n";
  // -w: others hold the lock of the legacy tables for a moment.
  TRY_WITH(Run(restore_, {"-w", "10", "--noflush"}, input, kernel::Captured::kOutputAndErrors),
           "changing table {} of {}", table, name_);
  return {};
}

namespace {

size_t CountJumps(const IptablesTable& table, const OwnChain& chain, const std::string& jump) {
  auto from = table.find(jump.substr(0, jump.find(' ')));
  if (from == table.end()) return 0;
  const std::vector<std::string>& rules = from->second.rules;
  std::string rule = fmt::format("-A {} -j {}", jump, chain.name);
  return static_cast<size_t>(std::count(rules.begin(), rules.end(), rule));
}

}  // namespace

void RepairChain(const IptablesTable& table, const OwnChain& chain,
                 const std::vector<std::string>& rules, std::vector<std::string>* lines) {
  if (rules.empty()) return RemoveChain(table, chain, lines);
  auto there = table.find(chain.name);
  if (there == table.end() || there->second.rules != rules) {
    // Makes the chain, or empties it.
    lines->push_back(fmt::format(":{} - [0:0]", chain.name));
    lines->insert(lines->end(), rules.begin(), rules.end());
  }
  for (const std::string& jump : chain.jumps) {
    if (CountJumps(table, chain, jump) > 0) continue;
    // -I without a number: in front.
    lines->push_back(fmt::format("-I {} -j {}", jump, chain.name));
  }
}

void RemoveChain(const IptablesTable& table, const OwnChain& chain,
                 std::vector<std::string>* lines) {
  for (const std::string& jump : chain.jumps) {
    size_t jumps = CountJumps(table, chain, jump);
    for (size_t i = 0; i < jumps; ++i) {
      lines->push_back(fmt::format("-D {} -j {}", jump, chain.name));
    }
  }
  if (!table.contains(chain.name)) return;
  lines->push_back(fmt::format("-F {}", chain.name));
  lines->push_back(fmt::format("-X {}", chain.name));
}

}  // namespace gantry::networks
