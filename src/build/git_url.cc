// SPDX-License-Identifier: Apache-2.0
#include "build/git_url.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

#include "wire/url.h"

namespace gantry::build {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";

bool IsName(std::string_view text, std::string_view others) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 || others.find(c) != std::string_view::npos;
  });
}

// "git@host:path", where nothing before the path has a slash.
bool IsScpStyle(std::string_view text) {
  size_t at = text.find('@');
  size_t colon = text.find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon < at) return false;
  return IsName(text.substr(0, at), "-_") && IsName(text.substr(at + 1, colon - at - 1), "-.");
}

bool IsWeb(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

using Fields = std::map<std::string, std::string>;

Result<Fields> ReadFields(std::string_view text) {
  Fields fields;
  wire::Query query = TRY(wire::Query::Parse(text));
  for (const auto& [key, value] : query.items()) {
    bool may_be_bare = key == "submodules" || key == "keep-git-dir" || key == "fetch-by-commit";
    if (value.empty() && !may_be_bare) return InvalidArgument("query \"{}\" has no value", key);
    if (!fields.emplace(key, value).second) {
      return InvalidArgument("query \"{}\" has multiple values", key);
    }
  }
  return fields;
}

Result<bool> ReadFlag(const std::string& key, const std::string& value) {
  for (std::string_view yes : {"", "1", "t", "T", "true", "TRUE", "True"}) {
    if (value == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (value == no) return false;
  }
  return InvalidArgument("invalid {} value: \"{}\"", key, value);
}

// Said twice it must be the same.
Result<> SetOnce(std::string_view what, const std::string& value, std::string* field) {
  if (!field->empty() && *field != value) {
    return InvalidArgument("{} conflicts: \"{}\" vs \"{}\"", what, *field, value);
  }
  *field = value;
  return {};
}

std::string WithPrefix(std::string_view prefix, const std::string& name) {
  return name.starts_with(prefix) ? name : std::string(prefix) + name;
}

Result<> ReadField(const std::string& key, const std::string& value, GitUrl* url) {
  if (key == "ref") return SetOnce("ref", value, &url->reference);
  if (key == "subdir") return SetOnce("subdir", value, &url->directory);
  if (key == "checksum" || key == "commit") return SetOnce("checksum", value, &url->checksum);
  if (key == "keep-git-dir") {
    url->keeps_git_directory = TRY(ReadFlag(key, value));
  } else if (key == "submodules") {
    url->submodules = TRY(ReadFlag(key, value));
  } else if (key == "fetch-by-commit") {
    url->by_commit = TRY(ReadFlag(key, value));
  } else if (key == "mtime") {
    if (value != "checkout" && value != "commit") {
      return InvalidArgument("invalid mtime value: \"{}\" (must be \"checkout\" or \"commit\")",
                             value);
    }
    url->commit_times = value == "commit";
  } else if (key != "tag" && key != "branch") {
    return InvalidArgument("unexpected query \"{}\"", key);
  }
  return {};
}

Result<> ReadQuery(std::string_view query, GitUrl* url) {
  Fields fields = TRY(ReadFields(query));
  for (const auto& [key, value] : fields) TRY(ReadField(key, value, url));
  if (fields.contains("tag") && fields.contains("branch")) {
    return InvalidArgument("branch conflicts with tag");
  }
  if (fields.contains("tag")) {
    TRY(SetOnce("ref", WithPrefix("refs/tags/", fields["tag"]), &url->reference));
  }
  if (fields.contains("branch")) {
    TRY(SetOnce("ref", WithPrefix("refs/heads/", fields["branch"]), &url->reference));
  }
  return {};
}

}  // namespace

bool IsGitUrl(std::string_view text) {
  for (std::string_view scheme : {"git://", "ssh://", "github.com/"}) {
    if (text.starts_with(scheme)) return true;
  }
  if (IsWeb(text)) return text.substr(0, text.find_first_of("?#")).ends_with(".git");
  return IsScpStyle(text);
}

Result<GitUrl> ParseGitUrl(const std::string& text) {
  GitUrl url;
  std::string_view rest = text;
  size_t hash = rest.find('#');
  std::string fragment(hash == std::string_view::npos ? "" : rest.substr(hash + 1));
  rest = rest.substr(0, hash);
  size_t question = rest.find('?');
  std::string_view query =
      question == std::string_view::npos ? std::string_view() : rest.substr(question + 1);
  url.repository = rest.substr(0, question);
  if (url.repository.starts_with("github.com/")) url.repository.insert(0, "https://");
  size_t colon = fragment.find(':');
  url.reference = fragment.substr(0, colon);
  if (colon != std::string::npos) url.directory = fragment.substr(colon + 1);
  TRY_WITH(ReadQuery(query, &url), "reading the URL of a git repository");
  TRY(CheckGitUrl(url));
  return url;
}

Result<> CheckGitUrl(const GitUrl& url) {
  const std::string& name = url.reference;
  bool good = name.empty() || (!name.starts_with('-') && name.find("..") == std::string::npos &&
                               IsName(name, "._/-+@"));
  if (!good) return InvalidArgument("invalid git reference: '{}'", name);
  if (url.repository.starts_with('-')) {
    return InvalidArgument("invalid git repository: '{}'", url.repository);
  }
  if (url.checksum.find_first_not_of(kHexDigits) != std::string::npos) {
    return InvalidArgument("invalid checksum {} for Git URL, expected hex commit hash",
                           url.checksum);
  }
  if (!url.by_commit || IsGitCommit(url.reference)) return {};
  if (url.checksum.empty()) {
    return InvalidArgument("fetch-by-commit requires a checksum or a commit SHA ref");
  }
  if (!IsGitCommit(url.checksum)) {
    return InvalidArgument("fetch-by-commit requires a full commit SHA checksum, got \"{}\"",
                           url.checksum);
  }
  return {};
}

bool IsGitCommit(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool IsSshUrl(std::string_view repository) {
  return repository.starts_with("ssh://") || IsScpStyle(repository);
}

std::string HostOfGitUrl(std::string_view repository) {
  size_t scheme = repository.find("://");
  if (scheme != std::string_view::npos) repository.remove_prefix(scheme + 3);
  repository = repository.substr(0, repository.find(scheme == std::string_view::npos ? ':' : '/'));
  return std::string(repository.substr(repository.rfind('@') + 1));
}

std::string WithoutCredentials(const std::string& repository) {
  size_t scheme = repository.find("://");
  if (scheme == std::string::npos) return repository;
  size_t host = scheme + 3;
  size_t at = repository.substr(0, repository.find('/', host)).rfind('@');
  if (at == std::string::npos || at < host) return repository;
  return repository.substr(0, host) + repository.substr(at + 1);
}

}  // namespace gantry::build
