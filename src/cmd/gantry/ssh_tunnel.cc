// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/ssh_tunnel.h"

#include <sys/socket.h>

#include "base/unique_fd.h"
#include "cmd/gantry/program.h"
#include "kernel/spawn.h"

extern char** environ;

namespace gantry::cli {
namespace {

// The text as one word for a POSIX shell.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) out.append(c == '\'' ? std::string("'\\''") : std::string(1, c));
  return out.append("'");
}

std::string RemoteCommand(const SshTarget& target) {
  std::string host = target.path.empty() ? "" : " -H " + Quoted("unix://" + target.path);
  std::string docker = fmt::format("docker{} system dial-stdio", host);
  if (ProgramName() == "docker") return docker;
  // The other machine may have either; its login shell may be none of POSIX, so sh reads this.
  return "sh -c " + Quoted(fmt::format("if command -v gantry >/dev/null 2>&1; then exec gantry{} "
                                       "system dial-stdio; else exec {}; fi",
                                       host, docker));
}

}  // namespace

Result<SshTarget> ParseSshTarget(const std::string& url) {
  SshTarget target;
  std::string rest = url.substr(std::string_view("ssh://").size());
  size_t slash = rest.find('/');
  if (slash != std::string::npos) {
    target.path = rest.substr(slash) == "/" ? "" : rest.substr(slash);
    rest.resize(slash);
  }
  size_t at = rest.rfind('@');
  if (at != std::string::npos) {
    target.user = rest.substr(0, at);
    rest.erase(0, at + 1);
    if (target.user.find(':') != std::string::npos) {
      return InvalidArgument(
          "ssh host connection is not valid: plain-text password is not supported");
    }
  }
  size_t bracket = rest.rfind(']');
  size_t colon = rest.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    target.port = rest.substr(colon + 1);
    rest.resize(colon);
  }
  if (rest.size() > 1 && rest.front() == '[' && rest.back() == ']') {
    rest = rest.substr(1, rest.size() - 2);
  }
  target.host = rest;
  if (target.host.empty()) {
    return InvalidArgument("ssh host connection is not valid: no host specified");
  }
  if (target.host[0] == '-' || target.user.substr(0, 1) == "-") {
    return InvalidArgument("ssh host connection is not valid: '{}' begins with a dash", url);
  }
  if (rest.find_first_of("?#") != std::string::npos) {
    return InvalidArgument("ssh host connection is not valid: '{}' has a query or a fragment", url);
  }
  return target;
}

Result<wire::HttpConnection> ConnectSsh(const std::string& url) {
  SshTarget target = TRY(ParseSshTarget(url));
  Result<std::string> program = kernel::FindInPath("ssh");
  if (!program.ok()) {
    return FailedPrecondition("connecting to '{}': there is no ssh in PATH", url);
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    return ErrnoError("making a socket pair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  kernel::SpawnOptions options;
  options.program = *program;
  options.args = {"ssh", "-o", "ConnectTimeout=30", "-T"};
  if (!target.user.empty()) options.args.insert(options.args.end(), {"-l", target.user});
  if (!target.port.empty()) options.args.insert(options.args.end(), {"-p", target.port});
  options.args.insert(options.args.end(), {"--", target.host, RemoteCommand(target)});
  for (char** variable = environ; *variable != nullptr; ++variable) {
    options.env.emplace_back(*variable);
  }
  options.fds = {{theirs.get(), 0}, {theirs.get(), 1}, {2, 2}};
  // It ends when our socket closes; nobody waits for it, as we end soon after.
  TRY_WITH(kernel::Spawn(options), "running ssh for '{}'", url);
  return wire::HttpConnection(std::move(ours));
}

}  // namespace gantry::cli
