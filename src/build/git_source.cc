// SPDX-License-Identifier: Apache-2.0
#include "build/git_source.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/directory.h"
#include "base/io.h"
#include "base/number.h"
#include "base/text.h"
#include "base/undo.h"
#include "build/stage_state.h"
#include "dockerfile/patterns.h"
#include "formats/base64.h"
#include "kernel/paths.h"
#include "kernel/pidfd.h"
#include "kernel/spawn.h"
#include "wire/worker_pool.h"

namespace gantry::build {
namespace {

constexpr std::chrono::hours kGitBound{1};
constexpr size_t kMaxWords = 4096;              // of git's complaints
constexpr size_t kMaxAnswer = size_t{1} << 20;  // of what it was asked for
constexpr int kBacklog = 16;
constexpr int kMaxDepth = 1000;

std::vector<std::string> GitEnvironment(const std::string& path, const std::string& ssh) {
  std::vector<std::string> env = {
      "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LC_ALL=C",
      "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
      "GIT_ALLOW_PROTOCOL=http:https:git:ssh",
      // A repository above is none of ours.
      "GIT_CEILING_DIRECTORIES=" + path.substr(0, path.rfind('/')), "GIT_SSH_COMMAND=" + ssh};
  for (const char* name : {"http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) env.push_back(fmt::format("{}={}", name, value));
  }
  return env;
}

// A pipe whose reading end is ours.
struct Capture {
  UniqueFd from, to;
  std::string text;
  size_t limit;

  static Result<Capture> Create(size_t limit) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("making a pipe");
    return Capture{UniqueFd(ends[0]), UniqueFd(ends[1]), "", limit};
  }
  // What has come; what is too much is thrown away. At the end `from` is closed.
  void Read() {
    char piece[1 << 14];
    ssize_t size = ::read(from.get(), piece, sizeof piece);
    if (size < 0 && errno == EINTR) return;
    if (size <= 0) return from.Reset();
    text.append(piece, std::min(static_cast<size_t>(size), limit - std::min(limit, text.size())));
  }
};

class Git {
 public:
  Git(std::string path, std::vector<std::string> env, StopToken stop)
      : path_(std::move(path)), env_(std::move(env)), stop_(std::move(stop)) {}

  // What it prints.
  Result<std::string> Ask(const std::vector<std::string>& words) const {
    kernel::SpawnOptions options;
    options.program = TRY(kernel::FindInPath("git"));
    options.args = {"git",
                    "-C",
                    path_,
                    "-c",
                    "core.hooksPath=/dev/null",
                    "-c",
                    "core.logAllRefUpdates=false",
                    "-c",
                    "protocol.version=2",
                    "-c",
                    "advice.detachedHead=false",
                    "-c",
                    "init.defaultBranch=master"};
    options.args.insert(options.args.end(), words.begin(), words.end());
    options.env = env_;
    options.group = kernel::ProcessGroup::kNewSession;
    Capture out = TRY(Capture::Create(kMaxAnswer));
    Capture said = TRY(Capture::Create(kMaxWords));
    options.fds = {{out.to.get(), 1}, {said.to.get(), 2}};
    kernel::SpawnedProcess process = TRY_WITH(kernel::Spawn(options), "starting git");
    out.to.Reset();
    said.to.Reset();
    wire::WorkerPool::Blocked blocked;
    Result<> ended = ReadAll(&out, &said);
    if (ended.ok()) ended = WaitFor(process.pidfd, POLLIN, kGitBound, stop_);
    // Its children are in its session, and end with its connection.
    if (!ended.ok()) (void)kernel::SendSignal(process.pidfd, SIGKILL);
    kernel::ExitStatus status = TRY(kernel::WaitExit(process.pidfd));
    TRY(ended);
    if (status.ShellCode() == 0) return std::move(out.text);
    return MakeError(ErrorKind::kUnknown, "git {}: exit code {}: {}", words[0], status.ShellCode(),
                     Trim(said.text));
  }

  Result<> Run(const std::vector<std::string>& words) const {
    TRY(Ask(words));
    return {};
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
  Result<> ReadAll(Capture* out, Capture* said) const {
    auto deadline = SteadyClock::now() + kGitBound;
    while (out->from.valid() || said->from.valid()) {
      std::array<pollfd, 3> fds = {{{out->from.get(), POLLIN, 0},
                                    {said->from.get(), POLLIN, 0},
                                    {stop_.fd().get(), POLLIN, 0}}};
      auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
      int ready =
          ::poll(fds.data(), fds.size(), static_cast<int>(std::max<int64_t>(left.count(), 0)));
      if (ready < 0 && errno != EINTR) return ErrnoError("waiting for git");
      if (ready == 0) return MakeError(ErrorKind::kDeadlineExceeded, "git takes too long");
      if (stop_.stop_requested()) return MakeError(ErrorKind::kCancelled, "git was stopped");
      if (ready < 0) continue;
      if (fds[0].revents != 0) out->Read();
      if (fds[1].revents != 0) said->Read();
    }
    return {};
  }

  const std::string path_;
  const std::vector<std::string> env_;
  const StopToken stop_;
};

struct Revision {
  std::string hash;    // a commit's, or a tag's that has a message
  std::string peeled;  // of such a tag: its commit
  std::string name;    // in full, "refs/heads/main", or a commit
};

Error WrongChecksum(const GitUrl& url, const Revision& found) {
  return InvalidArgument("expected checksum to match {}, got {}{}", url.checksum, found.hash,
                         found.peeled.empty() ? "" : " or " + found.peeled);
}

bool HasChecksum(const GitUrl& url, const Revision& found) {
  return found.hash.starts_with(url.checksum) ||
         (!found.peeled.empty() && found.peeled.starts_with(url.checksum));
}

// The lines of ls-remote, "HASH\tNAME".
std::map<std::string, std::string> ReadRefs(const std::string& text) {
  std::map<std::string, std::string> refs;
  for (const std::string& line : SplitWords(text, "\n")) {
    size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    std::string value = line.substr(0, tab);
    if (value.starts_with("ref: ")) {
      refs[""] = value.substr(5);  // what HEAD stands for
    } else if (IsGitCommit(value)) {
      refs.emplace(line.substr(tab + 1), value);
    }
  }
  return refs;
}

// What the server has under the reference: a branch before a tag, as git's checkout prefers it.
Result<Revision> FindRevision(const Git& git, const GitUrl& url) {
  const std::string& wanted = url.reference;
  if (IsGitCommit(wanted)) return Revision{wanted, "", wanted};
  if (url.by_commit) {
    std::string name =
        wanted.empty() || wanted.starts_with("refs/") ? wanted : "refs/heads/" + wanted;
    return Revision{url.checksum, "", name.empty() ? url.checksum : name};
  }
  if (wanted.empty()) {
    auto refs = ReadRefs(TRY(git.Ask({"ls-remote", "--symref", "--", url.repository, "HEAD"})));
    if (!refs.contains("HEAD")) {
      return InvalidArgument("could not find default branch for repository: {}",
                             WithoutCredentials(url.repository));
    }
    GitUrl named = url;
    named.reference = refs[""];
    TRY(CheckGitUrl(named));
    return Revision{refs["HEAD"], "", refs[""].empty() ? refs["HEAD"] : refs[""]};
  }
  auto text = TRY(git.Ask({"ls-remote", "--", url.repository, wanted, wanted + "^{}"}));
  auto refs = ReadRefs(text);
  auto behind = [&](std::string_view prefix) {
    return std::string(prefix) +
           (wanted.starts_with(prefix) ? wanted.substr(prefix.size()) : wanted);
  };
  for (const char* prefix : {"refs/", "refs/heads/", "refs/tags/"}) {
    std::string name = behind(prefix);
    auto found = refs.find(name);
    if (found == refs.end()) continue;
    auto peeled = refs.find(name + "^{}");
    return Revision{found->second, peeled == refs.end() ? "" : peeled->second, name};
  }
  return InvalidArgument("repository does not contain ref {}, output: \"{}\"", wanted, Trim(text));
}

Result<> Fetch(const Git& git, const GitUrl& url, const Revision& revision) {
  const std::string& repository = url.repository;
  if (!IsGitCommit(revision.name) && !url.by_commit) {
    // -u: the branch may be the one that an empty repository stands on.
    return git.RunShallow({"fetch", "-q", "-u", "--depth=1", "--no-tags", "--force", "--",
                           repository, revision.name + ":" + revision.name});
  }
  Result<> fetched =
      git.RunShallow({"fetch", "-q", "--depth=1", "--no-tags", "--", repository, revision.hash});
  if (fetched.ok() || fetched.error().kind() != ErrorKind::kUnknown) return fetched;
  // A commit that is no branch's last: servers give it with all before it.
  return git.Run({"fetch", "-q", "--tags", "--", repository, "+refs/heads/*:refs/remotes/o/*"});
}

Result<std::string> HashOfName(const Git& git, const std::string& name) {
  return std::string(Trim(TRY(git.Ask({"rev-parse", "--verify", name}))));
}

// Everything below gets that time.
Result<> SetTimes(BorrowedFd directory, int64_t seconds, int depth) {
  if (depth > kMaxDepth) return InvalidArgument("the directories are too deep");
  timespec times[2] = {{seconds, 0}, {seconds, 0}};
  for (const std::string& name : TRY(ListDirectory(directory))) {
    if (depth == 0 && name == ".git") continue;
    struct stat status{};
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("looking at '{}'", name);
    }
    if (S_ISDIR(status.st_mode)) {
      UniqueFd below = TRY(kernel::OpenIn(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(SetTimes(below, seconds, depth + 1));
    } else if (::utimensat(directory.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError("setting the time of '{}'", name);
    }
  }
  if (::futimens(directory.get(), times) != 0) return ErrnoError("setting the time of a directory");
  return {};
}

// What ssh connects to, in a directory of its own.
struct Agent {
  UniqueFd directory;
  std::string path;
  std::shared_ptr<void> served;
};

Result<Agent> ServeAgent(const GitAccess& access, const std::string& beside) {
  Agent agent;
  if (::mkdir(beside.c_str(), 0700) != 0) return ErrnoError("making '{}'", beside);
  agent.directory = TRY(OpenFile(beside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  agent.path = beside + "/agent";
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return ErrnoError("making the socket of an ssh agent");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = fmt::format("/proc/self/fd/{}/agent", agent.directory.get());
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), kBacklog) != 0) {
    return ErrnoError("making the socket of an ssh agent");
  }
  agent.served = access.serve_agent(std::move(listener));
  return agent;
}

// The environment of git, which has what the client gives; `agent` lives as long as git does.
Result<std::vector<std::string>> Environment(const GitUrl& url, const GitAccess& access,
                                             const std::string& path, Agent* agent) {
  // A directory of its own beside the files: it goes with them.
  std::string beside = path + ".ssh";
  std::string ssh = "ssh -F /dev/null -o BatchMode=yes";
  std::vector<std::string> more;
  if (access.serve_agent) {
    *agent = TRY(ServeAgent(access, beside));
    more.push_back("SSH_AUTH_SOCK=" + agent->path);
  }
  if (access.known_hosts) {
    std::string file = path + ".known_hosts";
    TRY(WriteFile(file, *access.known_hosts));
    ssh += " -o StrictHostKeyChecking=yes -o UserKnownHostsFile='" + file + "'";
  } else {
    ssh += " -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null";
  }
  std::vector<std::string> env = GitEnvironment(path, ssh);
  if (!access.authorization.empty()) {
    // All of GitHub's takes what one repository there takes.
    std::string scope = url.repository;
    for (const char* all : {"https://github.com/", "https://www.github.com/"}) {
      if (scope.starts_with(all)) scope = all;
    }
    // Not among the arguments, which every process of the machine sees.
    more.insert(more.end(),
                {"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http." + scope + ".extraheader",
                 "GIT_CONFIG_VALUE_0=Authorization: " + access.authorization});
  }
  env.insert(env.end(), more.begin(), more.end());
  return env;
}

// What a repository that is kept shows is its own: where it is from, and nothing of this fetch.
Result<> TidyGitDirectory(const Git& git, const GitUrl& url, BorrowedFd root) {
  TRY(git.Run({"remote", "set-url", "origin", WithoutCredentials(url.repository)}));
  if (::unlinkat(root.get(), ".git/FETCH_HEAD", 0) != 0 && errno != ENOENT) {
    return ErrnoError("removing '.git/FETCH_HEAD'");
  }
  return {};
}

Result<GitTree> FetchTree(const GitUrl& url, const std::string& path, const Git& git) {
  std::string directory = dockerfile::CleanRelative(url.directory);
  Revision revision = TRY(FindRevision(git, url));
  if (!HasChecksum(url, revision)) return WrongChecksum(url, revision);
  std::vector<std::string> init = {"init", "-q", "--template="};
  if (revision.hash.size() == 64) init.emplace_back("--object-format=sha256");
  TRY(git.Run(init));
  TRY(Fetch(git, url, revision));
  if (url.by_commit && !IsGitCommit(revision.name)) {
    TRY(git.Run({"update-ref", "--", revision.name, revision.hash}));
  }
  // What has come counts: the server may have another answer each time.
  revision.hash = TRY(HashOfName(git, revision.name));
  std::string commit = TRY(HashOfName(git, revision.name + "^{commit}"));
  revision.peeled = commit == revision.hash ? "" : commit;
  if (!HasChecksum(url, revision)) return WrongChecksum(url, revision);
  TRY(git.Run({"checkout", "-q", "--detach", commit, "--"}));
  UniqueFd root = TRY(OpenFile(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  // Submodules may have URLs that go on from it.
  TRY(git.Run({"remote", "add", "origin", url.repository}));
  bool submodules = url.submodules.value_or(true);
  if (submodules && kernel::OpenIn(root, ".gitmodules", O_PATH | O_NOFOLLOW).ok()) {
    TRY_WITH(
        git.RunShallow({"submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"}),
        "fetching the submodules");
  }
  auto text = TRY(git.Ask({"show", "-s", "--format=%ct", commit}));
  auto committed = ParseNumber<int64_t>(Trim(text));
  if (!committed) return InvalidArgument("the commit {} has no time: {}", commit, Trim(text));
  bool keeps = url.keeps_git_directory.value_or(false) && directory.empty();
  if (keeps) {
    TRY(TidyGitDirectory(git, url, root));
  } else {
    TRY(kernel::RemoveTreeAt(root, ".git"));
  }
  if (url.commit_times) TRY(SetTimes(root, *committed, 0));
  auto found = kernel::OpenIn(root, directory, O_RDONLY | O_DIRECTORY, 0, kernel::Links::kRefuse);
  if (!found.ok()) {
    return InvalidArgument("{} has no directory '{}'", WithoutCredentials(url.repository),
                           url.directory);
  }
  GitTree tree{*std::move(found), path + "/" + directory, commit, *committed, ""};
  tree.key =
      HexDigest(fmt::format("git {} {}\n{}\n{}\n{}", revision.hash, keeps ? revision.name : "",
                            directory, submodules, url.commit_times));
  return tree;
}

}  // namespace

Result<GitAccess> FindGitAccess(const BuildRequest& request, const GitUrl& url,
                                const GitSecrets& names) {
  GitAccess access;
  if (IsSshUrl(url.repository)) {
    if (!request.find_agent || names.agent.empty()) return access;
    TRY_WITH(request.find_agent(names.agent), "no SSH key \"{}\" forwarded from the client",
             names.agent);
    access.serve_agent = [&request, id = names.agent](UniqueFd listener) {
      return request.serve_agent(id, std::move(listener));
    };
    return access;
  }
  if (!request.find_secret) return access;
  std::string host = HostOfGitUrl(url.repository);
  for (const std::string& suffix : {"." + host, std::string()}) {
    for (bool is_token : {false, true}) {
      const std::string& name = is_token ? names.token : names.header;
      if (name.empty()) continue;
      auto secret = request.find_secret(name + suffix);
      if (!secret.ok() && secret.error().kind() == ErrorKind::kNotFound) continue;
      access.authorization = TRY(std::move(secret));
      if (is_token) {
        access.authorization =
            "basic " + formats::EncodeBase64("x-access-token:" + access.authorization);
      }
      return access;
    }
  }
  return access;
}

Result<GitTree> FetchGit(const GitUrl& url, const std::string& path, const GitAccess& access,
                         const StopToken& stop) {
  Agent agent;
  auto env = TRY(Environment(url, access, path, &agent));
  Git git(path, std::move(env), stop);
  return TRY_WITH(FetchTree(url, path, git), "fetching {}", WithoutCredentials(url.repository));
}

}  // namespace gantry::build
