// SPDX-License-Identifier: Apache-2.0
#include "build/git_source.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "base/io.h"
#include "base/text.h"
#include "dockerfile/patterns.h"
#include "kernel/memory_file.h"
#include "kernel/paths.h"
#include "kernel/pidfd.h"
#include "kernel/spawn.h"
#include "wire/worker_pool.h"

namespace gantry::build {
namespace {

constexpr std::chrono::hours kGitBound{1};
constexpr size_t kMaxWords = 4096;  // of git's complaints

struct GitSource {
  std::string repository;
  std::string reference;  // "" for HEAD
  std::string directory;  // "" for all
};

Result<GitSource> ParseGitUrl(const std::string& url) {
  GitSource source;
  size_t hash = url.find('#');
  source.repository = url.substr(0, hash);
  if (source.repository.starts_with("github.com/")) source.repository.insert(0, "https://");
  std::string fragment = hash == std::string::npos ? "" : url.substr(hash + 1);
  size_t colon = fragment.find(':');
  source.reference = fragment.substr(0, colon);
  if (colon != std::string::npos) source.directory = fragment.substr(colon + 1);
  const std::string& name = source.reference;
  bool good =
      !name.starts_with('-') && name.find("..") == std::string::npos &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || std::string_view("._/-+@").find(c) != std::string::npos;
      });
  if (!good) return InvalidArgument("invalid git reference: '{}'", name);
  return source;
}

std::vector<std::string> GitEnvironment() {
  std::vector<std::string> env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                  "HOME=/nonexistent",
                                  "LC_ALL=C",
                                  "GIT_CONFIG_NOSYSTEM=1",
                                  "GIT_CONFIG_GLOBAL=/dev/null",
                                  "GIT_TERMINAL_PROMPT=0",
                                  "GIT_ALLOW_PROTOCOL=http:https:git:ssh",
                                  "GIT_SSH_COMMAND=ssh -o BatchMode=yes"};
  for (const char* name : {"http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) env.push_back(fmt::format("{}={}", name, value));
  }
  return env;
}

class Git {
 public:
  Git(std::string path, StopToken stop) : path_(std::move(path)), stop_(std::move(stop)) {}

  Result<> Run(const std::vector<std::string>& words) const {
    kernel::SpawnOptions options;
    options.program = TRY(kernel::FindInPath("git"));
    options.args = {"git",
                    "-C",
                    path_,
                    "-c",
                    "core.hooksPath=/dev/null",
                    "-c",
                    "protocol.version=2",
                    "-c",
                    "advice.detachedHead=false"};
    options.args.insert(options.args.end(), words.begin(), words.end());
    options.env = GitEnvironment();
    options.group = kernel::ProcessGroup::kNewSession;
    UniqueFd said = TRY(kernel::MemoryFile("git", ""));
    options.fds = {{said.get(), 1}, {said.get(), 2}};
    kernel::SpawnedProcess process = TRY_WITH(kernel::Spawn(options), "starting git");
    wire::WorkerPool::Blocked blocked;
    Result<> ended = WaitFor(process.pidfd, POLLIN, kGitBound, stop_);
    // Its children are in its session, and end with its connection.
    if (!ended.ok()) (void)kernel::SendSignal(process.pidfd, SIGKILL);
    kernel::ExitStatus status = TRY(kernel::WaitExit(process.pidfd));
    TRY(ended);
    if (status.ShellCode() == 0) return {};
    return MakeError(ErrorKind::kUnknown, "git {}: exit code {}: {}", words[0], status.ShellCode(),
                     Words(said));
  }

  // With "--depth=1" where the server can cut the history off: one of the web that has nothing but
  // a repository's files can't.
  Result<> RunShallow(std::vector<std::string> words) const {
    Result<> run = Run(words);
    bool dumb = !run.ok() && run.error().message().find("dumb http") != std::string::npos;
    if (!dumb) return run;
    std::erase(words, "--depth=1");
    return Run(words);
  }

 private:
  static std::string Words(BorrowedFd said) {
    char text[kMaxWords];
    ssize_t size = ::pread(said.get(), text, sizeof text, 0);
    return std::string(Trim(std::string_view(text, size < 0 ? 0 : static_cast<size_t>(size))));
  }

  const std::string path_;
  const StopToken stop_;
};

}  // namespace

bool IsGitUrl(std::string_view text) {
  for (std::string_view scheme : {"git://", "ssh://", "git@", "github.com/"}) {
    if (text.starts_with(scheme)) return true;
  }
  bool web = text.starts_with("http://") || text.starts_with("https://");
  return web && text.substr(0, text.find('#')).ends_with(".git");
}

Result<GitTree> FetchGit(const std::string& url, const std::string& path, GitDirectory keep,
                         const StopToken& stop) {
  GitSource source = TRY(ParseGitUrl(url));
  std::string directory = dockerfile::CleanRelative(source.directory);
  Git git(path, stop);
  TRY(git.Run({"init", "-q", "--template="}));
  std::string wanted = source.reference.empty() ? "HEAD" : source.reference;
  Result<> fetched =
      git.RunShallow({"fetch", "-q", "--depth=1", "--no-tags", "--", source.repository, wanted});
  std::string revision = "FETCH_HEAD";
  if (!fetched.ok() && fetched.error().kind() == ErrorKind::kUnknown) {
    // A commit that is no branch's last: servers give it with all before it.
    bool commit =
        wanted.size() >= 7 && wanted.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!commit) return std::move(fetched).error().AddContext("fetching " + url);
    fetched = git.Run({"fetch", "-q", "--", source.repository, "+refs/heads/*:refs/remotes/o/*"});
    revision = wanted;
  }
  TRY_WITH(fetched, "fetching {}", url);
  TRY_WITH(git.Run({"checkout", "-q", revision, "--"}), "fetching {}", url);
  UniqueFd root = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (kernel::OpenIn(root, ".gitmodules", O_PATH | O_NOFOLLOW).ok()) {
    TRY_WITH(
        git.RunShallow({"submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"}),
        "fetching the submodules of {}", url);
  }
  if (keep == GitDirectory::kDrop) TRY(kernel::RemoveTreeAt(root, ".git"));
  auto found = kernel::OpenIn(root, directory, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse);
  if (found.ok()) return GitTree{*std::move(found), path + "/" + directory};
  return InvalidArgument("{} has no directory '{}'", source.repository, source.directory);
}

}  // namespace gantry::build
