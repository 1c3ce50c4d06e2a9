// SPDX-License-Identifier: Apache-2.0
#include "engine/accounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <optional>

#include "base/io.h"
#include "kernel/paths.h"

namespace gantry::engine {
namespace {

constexpr size_t kMaxAccountFile = size_t{1} << 20;
constexpr uint32_t kMaxId = 2147483647;

Result<std::string> ReadBounded(BorrowedFd root, const std::string& path) {
  // O_NONBLOCK: an image may have put a fifo there.
  Result<UniqueFd> file = kernel::OpenIn(root, path, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) {
    int error = file.error().error_number();
    if (error == ENOENT || error == ENOTDIR) return std::string();
    return std::move(file).error();
  }
  struct stat info{};
  if (::fstat(file->get(), &info) < 0) return ErrnoError("reading '{}' of the image", path);
  if (!S_ISREG(info.st_mode)) {
    return InvalidArgument("reading '{}' of the image: not a regular file", path);
  }
  return TRY_WITH(ReadToEnd(*file, kMaxAccountFile), "reading '{}' of the image", path);
}

// Calls visit with the fields of each line, split at ':'; stops when it returns true.
template <size_t N>
bool ForEachEntry(std::string_view text,
                  const std::function<bool(const std::array<std::string_view, N>&)>& visit) {
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::array<std::string_view, N> fields;
    for (size_t i = 0; i < N; ++i) {
      size_t colon = std::min(line.find(':'), line.size());
      fields[i] = line.substr(0, colon);
      line.remove_prefix(std::min(colon + 1, line.size()));
    }
    if (!fields[0].empty() && fields[0][0] != '#' && visit(fields)) return true;
  }
  return false;
}

std::optional<uint32_t> ParseId(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kMaxId) {
    return std::nullopt;
  }
  return value;
}

// Also what begins with a sign, which is out of range.
bool IsNumber(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<uint32_t> ParseWantedId(std::string_view text) {
  std::optional<uint32_t> id = ParseId(text);
  if (!id) return InvalidArgument("uids and gids must be in range 0-{}: '{}'", kMaxId, text);
  return *id;
}

Result<uint32_t> FindGroup(std::string_view wanted, const Accounts& accounts) {
  if (IsNumber(wanted)) return ParseWantedId(wanted);
  std::optional<uint32_t> gid;
  ForEachEntry<4>(accounts.group, [&](const auto& fields) {
    if (fields[0] == wanted) gid = ParseId(fields[2]);
    return gid.has_value();
  });
  if (!gid) {
    return InvalidArgument("unable to find group {}: no matching entries in group file", wanted);
  }
  return *gid;
}

void AddGroup(uint32_t gid, std::vector<uint32_t>* groups) {
  if (std::find(groups->begin(), groups->end(), gid) == groups->end()) groups->push_back(gid);
}

}  // namespace

Result<Accounts> ReadAccounts(BorrowedFd root) {
  Accounts accounts;
  accounts.passwd = TRY(ReadBounded(root, "/etc/passwd"));
  accounts.group = TRY(ReadBounded(root, "/etc/group"));
  return accounts;
}

Result<ResolvedUser> ResolveUser(std::string_view user, const std::vector<std::string>& groups,
                                 const Accounts& accounts) {
  size_t colon = std::min(user.find(':'), user.size());
  std::string_view wanted = user.substr(0, colon);
  std::string_view wanted_group = colon < user.size() ? user.substr(colon + 1) : "";

  ResolvedUser resolved;
  std::optional<uint32_t> number;
  if (wanted.empty()) {
    number = 0;
  } else if (IsNumber(wanted)) {
    number = TRY(ParseWantedId(wanted));
  }
  std::string_view name;
  bool found = ForEachEntry<7>(accounts.passwd, [&](const auto& fields) {
    std::optional<uint32_t> uid = ParseId(fields[2]);
    std::optional<uint32_t> gid = ParseId(fields[3]);
    if (!uid || !gid || (number ? *uid != *number : fields[0] != wanted)) return false;
    name = fields[0];
    resolved.uid = *uid;
    resolved.gid = *gid;
    if (!fields[5].empty()) resolved.home = std::string(fields[5]);
    return true;
  });
  if (!found && !number) {
    return InvalidArgument("unable to find user {}: no matching entries in passwd file", wanted);
  }
  if (!found) resolved.uid = *number;

  std::vector<uint32_t> members;
  if (!wanted_group.empty()) {
    resolved.gid = TRY(FindGroup(wanted_group, accounts));
  } else if (!name.empty()) {
    ForEachEntry<4>(accounts.group, [&](const auto& fields) {
      std::string_view list = fields[3];
      while (!list.empty()) {
        size_t comma = std::min(list.find(','), list.size());
        std::optional<uint32_t> gid = ParseId(fields[2]);
        if (gid && list.substr(0, comma) == name) members.push_back(*gid);
        list.remove_prefix(std::min(comma + 1, list.size()));
      }
      return false;
    });
  }
  AddGroup(resolved.gid, &resolved.additional_gids);
  for (uint32_t gid : members) AddGroup(gid, &resolved.additional_gids);
  for (const std::string& group : groups) {
    AddGroup(TRY(FindGroup(group, accounts)), &resolved.additional_gids);
  }
  return resolved;
}

}  // namespace gantry::engine
