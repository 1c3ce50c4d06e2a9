// SPDX-License-Identifier: Apache-2.0
#include "runtime/intel_rdt.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/io.h"
#include "base/text.h"
#include "base/undo.h"
#include "formats/resctrl.h"

namespace gantry::runtime {
namespace {

// Every value of `wanted` must be what the class has.
Result<> CompareSchema(const std::string& directory, const std::string& wanted_line) {
  formats::ResctrlSchema wanted = TRY(formats::ParseResctrlSchema(wanted_line));
  std::string file = directory + "/schemata";
  auto schemata = TRY_WITH(formats::ParseResctrlSchemata(TRY(ReadFile(file))), "file '{}'", file);
  for (const formats::ResctrlSchema& present : schemata) {
    if (present.resource != wanted.resource) continue;
    for (const auto& [cache, value] : wanted.values) {
      auto found = present.values.find(cache);
      if (found != present.values.end() && found->second == value) continue;
      return FailedPrecondition("'{}' does not match what '{}' has", wanted_line, file);
    }
    return {};
  }
  return FailedPrecondition("class of service '{}' has no '{}'", directory, wanted.resource);
}

// The two old members, in the order in which they are to be written. l3CacheSchema of old callers
// has lines of memory bandwidth too, which are memBwSchema's.
std::vector<std::string> OldSchemata(const oci::IntelRdt& rdt) {
  std::vector<std::string> lines;
  for (const std::string& line : SplitWords(rdt.l3_cache_schema, "\n")) {
    if (!line.starts_with("MB:")) lines.push_back(line);
  }
  if (!rdt.mem_bw_schema.empty()) lines.push_back(rdt.mem_bw_schema);
  return lines;
}

Result<> WriteSchemata(const std::string& directory, const std::vector<std::string>& lines) {
  std::string file = directory + "/schemata";
  for (const std::string& line : lines) {
    if (line.empty()) continue;
    TRY_WITH(WriteFile(file, line + "\n"), "setting '{}'", line);
  }
  return {};
}

bool HasNewline(const std::string& text) { return text.find('\n') != std::string::npos; }

Result<> CheckWords(const oci::IntelRdt& rdt) {
  if (rdt.clos_id == "." || rdt.clos_id == ".." ||
      (rdt.clos_id != "/" && rdt.clos_id.find('/') != std::string::npos) ||
      rdt.clos_id.find('\0') != std::string::npos) {
    return InvalidArgument("closID: '{}' is not a directory's name", rdt.clos_id);
  }
  if (!rdt.mem_bw_schema.empty() &&
      (!rdt.mem_bw_schema.starts_with("MB:") || HasNewline(rdt.mem_bw_schema))) {
    return InvalidArgument("memBwSchema: expected one line that begins with 'MB:'");
  }
  for (const std::string& line : rdt.schemata) {
    if (HasNewline(line)) return InvalidArgument("schemata: a newline is inside of a value");
  }
  return {};
}

Result<> RemoveDirectory(const std::string& directory) {
  if (directory.empty() || ::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return ErrnoError("removing '{}'", directory);
}

}  // namespace

Result<std::string> FindResctrl() {
  // Fields: id parent device root mountpoint options [optional…] - type source options (proc(5)).
  std::string text = TRY(ReadFile("/proc/self/mountinfo"));
  for (const std::string& line : SplitWords(text, "\n")) {
    size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    if (!std::string_view(line).substr(dash + 3).starts_with("resctrl ")) continue;
    std::vector<std::string> fields = SplitWords(line.substr(0, dash));
    if (fields.size() > 4) return fields[4];
  }
  return FailedPrecondition("no resctrl file system is mounted");
}

Result<RdtGroup> PlanRdtGroup(const std::string& resctrl, const oci::IntelRdt& rdt,
                              const std::string& id) {
  TRY(CheckWords(rdt));
  RdtGroup group;
  group.directory = resctrl;
  if (rdt.clos_id != "/") group.directory += "/" + (rdt.clos_id.empty() ? id : rdt.clos_id);
  group.is_new = !PathExists(group.directory);
  group.is_ours = group.is_new && rdt.clos_id.empty();
  bool asks = !rdt.l3_cache_schema.empty() || !rdt.mem_bw_schema.empty() || !rdt.schemata.empty();
  if (group.is_new && !rdt.clos_id.empty() && !asks) {
    return FailedPrecondition("closID: there is no class of service '{}'", rdt.clos_id);
  }
  if (rdt.enable_monitoring) group.monitor = group.directory + "/mon_groups/" + id;
  return group;
}

Result<> MakeRdtGroup(const RdtGroup& group, const oci::IntelRdt& rdt) {
  Undo undo;
  if (group.is_new) {
    if (::mkdir(group.directory.c_str(), 0755) < 0) {
      return ErrnoError("making class of service '{}'", group.directory);
    }
    undo.Push([&] { (void)RemoveDirectory(group.directory); });
    TRY(WriteSchemata(group.directory, OldSchemata(rdt)));
  } else {
    for (const std::string& line : OldSchemata(rdt)) TRY(CompareSchema(group.directory, line));
  }
  TRY(WriteSchemata(group.directory, rdt.schemata));
  if (!group.monitor.empty() && ::mkdir(group.monitor.c_str(), 0755) < 0) {
    return ErrnoError("making monitoring group '{}'", group.monitor);
  }
  undo.Commit();
  return {};
}

Result<> JoinRdtGroup(const RdtGroup& group, pid_t pid) {
  if (group.directory.empty()) return {};
  TRY(WriteFile(group.directory + "/tasks", fmt::format("{}", pid)));
  if (!group.monitor.empty()) TRY(WriteFile(group.monitor + "/tasks", fmt::format("{}", pid)));
  return {};
}

Result<> UpdateRdtGroup(const RdtGroup& group, const std::vector<std::string>& schemata) {
  bool any = false;
  for (const std::string& line : schemata) any |= !line.empty();
  if (!any) return {};
  if (group.directory.empty()) {
    return FailedPrecondition("updating linux.intelRdt: the container has none");
  }
  TRY_WITH(WriteSchemata(group.directory, schemata), "updating linux.intelRdt");
  return {};
}

Result<> RemoveRdtGroup(const RdtGroup& group) {
  TRY(RemoveDirectory(group.monitor));
  if (group.is_ours) TRY(RemoveDirectory(group.directory));
  return {};
}

}  // namespace gantry::runtime
