// SPDX-License-Identifier: Apache-2.0
#include "engine/user_remap.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/io.h"
#include "base/text.h"

namespace gantry::engine {
namespace {

// The user that docker makes for "default"; here the administrator does.
constexpr std::string_view kDefaultUser = "dockremap";

std::optional<uint32_t> ParseId(std::string_view text) {
  uint32_t id = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

struct NameAndId {
  std::string name;
  uint32_t id = 0;
};

// A line "NAME:x:ID:…" of /etc/passwd or /etc/group.
std::optional<NameAndId> FindAccount(const std::string& text, std::string_view wanted) {
  std::optional<uint32_t> number = ParseId(wanted);
  for (const std::string& line : Split(text, '\n')) {
    std::vector<std::string> fields = Split(line, ':');
    if (fields.size() < 3) continue;
    std::optional<uint32_t> id = ParseId(fields[2]);
    if (!id) continue;
    if (number ? *id == *number : fields[0] == wanted) return NameAndId{fields[0], *id};
  }
  return std::nullopt;
}

// "NAME:FIRST:COUNT" a line; NAME may be the number. In the order of the host's ids, as docker
// has it.
Result<std::vector<oci::IdMapping>> RangesOf(const NameAndId& user, const std::string& text,
                                             std::string_view kind) {
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  for (const std::string& line : Split(text, '\n')) {
    std::vector<std::string> fields = Split(line, ':');
    if (fields.size() != 3) continue;
    if (fields[0] != user.name && ParseId(fields[0]) != user.id) continue;
    std::optional<uint32_t> first = ParseId(fields[1]);
    std::optional<uint32_t> count = ParseId(fields[2]);
    if (!first || !count || *count == 0) {
      return InvalidArgument("Can't create ID mappings: cannot parse {} range '{}'", kind, line);
    }
    ranges.emplace_back(*first, *count);
  }
  if (ranges.empty()) {
    return InvalidArgument("Can't create ID mappings: no {} ranges found for user \"{}\"", kind,
                           user.name);
  }
  std::sort(ranges.begin(), ranges.end());
  std::vector<oci::IdMapping> mappings;
  uint32_t next = 0;
  for (auto [first, count] : ranges) {
    mappings.push_back({next, first, count});
    next += count;
  }
  return mappings;
}

}  // namespace

std::string MapLines(const std::vector<oci::IdMapping>& mappings) {
  std::string out;
  for (const oci::IdMapping& one : mappings) {
    out += fmt::format("{} {} {}\n", one.container_id, one.host_id, one.size);
  }
  return out;
}

std::string MapOption(const std::vector<oci::IdMapping>& mappings) {
  std::string out;
  for (const oci::IdMapping& one : mappings) {
    if (!out.empty()) out += ',';
    out += fmt::format("{}:{}:{}", one.container_id, one.host_id, one.size);
  }
  return out;
}

std::optional<uint32_t> ToContainer(const std::vector<oci::IdMapping>& mappings, uint32_t id) {
  for (const oci::IdMapping& one : mappings) {
    if (id >= one.host_id && id - one.host_id < one.size) {
      return one.container_id + (id - one.host_id);
    }
  }
  return std::nullopt;
}

std::optional<uint32_t> ToHost(const std::vector<oci::IdMapping>& mappings, uint32_t id) {
  for (const oci::IdMapping& one : mappings) {
    if (id >= one.container_id && id - one.container_id < one.size) {
      return one.host_id + (id - one.container_id);
    }
  }
  return std::nullopt;
}

Result<std::optional<UserRemap>> ParseUserRemap(std::string_view value, const Accounts& accounts,
                                                const SubordinateFiles& files) {
  std::vector<std::string> words = Split(value, ':');
  if (words.empty() || words.size() > 2 || words[0].empty()) {
    return InvalidArgument("invalid user/group specification in --userns-remap: \"{}\"", value);
  }
  bool by_default = words[0] == "default";
  std::string name = by_default ? std::string(kDefaultUser) : words[0];
  std::optional<NameAndId> user = FindAccount(accounts.passwd, name);
  if (!user && by_default) {
    return InvalidArgument(
        "userns-remap \"default\" needs a user '{}' with ranges in /etc/subuid and /etc/subgid",
        kDefaultUser);
  }
  if (!user) return InvalidArgument("Error during uid lookup for \"{}\": no such user", name);
  const std::string& group = words.size() == 2 ? words[1] : user->name;
  if (!FindAccount(accounts.group, group)) {
    return InvalidArgument("Error during gid lookup for \"{}\": no such group", group);
  }
  if (user->id == 0) return std::optional<UserRemap>();
  UserRemap remap;
  remap.uids = TRY(RangesOf(*user, files.subuid, "subuid"));
  remap.gids = TRY(RangesOf(*user, files.subgid, "subgid"));
  return std::optional(std::move(remap));
}

Result<std::optional<UserRemap>> ReadUserRemap(std::string_view value) {
  UniqueFd root = TRY(OpenFile("/", O_PATH | O_DIRECTORY));
  SubordinateFiles files;
  for (auto [path, text] :
       {std::pair("/etc/subuid", &files.subuid), std::pair("/etc/subgid", &files.subgid)}) {
    Result<std::string> read = ReadFile(path);
    if (read.ok()) {
      *text = *std::move(read);
    } else if (read.error().error_number() != ENOENT) {
      return std::move(read).error().AddContext("userns-remap");
    }
  }
  return ParseUserRemap(value, TRY(ReadAccounts(root)), files);
}

}  // namespace gantry::engine
