// SPDX-License-Identifier: Apache-2.0
//
// gantry login and logout. The daemon asks the registry, or we do where no daemon answers; what it
// agrees to is kept on this side.
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/credentials.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/registry_session.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

constexpr size_t kMaxSecretBytes = 1 << 20;

// What the user names as SERVER to what credentials are filed under.
std::string KeyOfServer(std::string server) {
  for (std::string_view scheme : {"https://", "http://"}) {
    if (server.substr(0, scheme.size()) == scheme) server.erase(0, scheme.size());
  }
  if (server == "index.docker.io/v1/") return std::string(kHubKey);
  server = server.substr(0, server.find('/'));
  if (server.empty() || server == "docker.io" || server == "index.docker.io" ||
      server == "registry-1.docker.io") {
    return std::string(kHubKey);
  }
  return server;
}

// Turns the terminal's echo off for as long as it lives.
class NoEcho {
 public:
  NoEcho() : known_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!known_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
  }
  ~NoEcho() {
    if (known_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool known_;
};

std::string ReadLine() {
  std::string line;
  char c = 0;
  while (line.size() < kMaxSecretBytes && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') {
    if (c != '\r') line.push_back(c);
  }
  return line;
}

Result<> AskFor(Credential* credential, const std::string& known_user) {
  if (!kernel::IsTerminal(BorrowedFd(STDIN_FILENO))) {
    return FailedPrecondition("Error: Cannot perform an interactive login from a non TTY device");
  }
  if (credential->user.empty()) {
    Print("Username{}: ", known_user.empty() ? "" : " (" + known_user + ")");
    FlushOutput();
    credential->user = ReadLine();
    if (credential->user.empty()) credential->user = known_user;
  }
  if (credential->user.empty()) return InvalidArgument("Error: Non-null Username Required");
  if (credential->password.empty()) {
    PrintText("Password: ");
    FlushOutput();
    NoEcho quiet;
    credential->password = ReadLine();
    PrintText("\n");
  }
  if (credential->password.empty()) return InvalidArgument("Error: Password Required");
  return {};
}

struct LoginFlags {
  std::string user, password;
  bool from_stdin = false;
};

// What the flags say, or what is known from before (*known_before), or what the user types.
Result<Credential> Gather(const Credentials& store, const std::string& key, const LoginFlags& flags,
                          bool* known_before) {
  Credential credential;
  credential.server = key;
  credential.user = flags.user;
  credential.password = flags.password;
  if (flags.from_stdin) {
    if (flags.user.empty()) {
      return InvalidArgument("the --password-stdin option requires --username to be set");
    }
    credential.password = TRY(ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxSecretBytes));
    while (!credential.password.empty() &&
           (credential.password.back() == '\n' || credential.password.back() == '\r')) {
      credential.password.pop_back();
    }
  }
  if (!credential.user.empty() && !credential.password.empty()) return credential;
  Credential known = TRY(store.Get(key));
  if (flags.user.empty() && flags.password.empty() && !known.empty()) {
    std::string who = known.user.empty() ? "" : fmt::format(" [Username: {}]", known.user);
    PrintError("Authenticating with existing credentials...{}\n", who);
    *known_before = true;
    return known;
  }
  TRY(AskFor(&credential, known.user));
  return credential;
}

struct LoginAnswer {
  std::string status;
  std::string identity_token;  // "": none
};

// The daemon asks; where none answers we ask ourselves, as docker does.
Result<LoginAnswer> AskRegistry(Cli& cli, const Credential& credential) {
  Api* api = TRY(cli.Connect());
  Result<Json> answer = api->Post("/auth", {}, credential.ToAuthConfig());
  if (answer.ok()) {
    return LoginAnswer{(*answer)["Status"].AsString(), (*answer)["IdentityToken"].AsString()};
  }
  if (!api->unreachable()) return std::move(answer).error();
  bool hub = credential.server == kHubKey;
  RegistrySession session(hub ? "registry-1.docker.io" : credential.server, credential, false);
  return LoginAnswer{"Login Succeeded", TRY(session.CheckLogin())};
}

}  // namespace

Result<int> LoginCommand(Cli& cli, Invocation& call) {
  LoginFlags flags;
  call.flags.String("password", 'p', &flags.password, "Password, which others can see in ps");
  call.flags.Bool("password-stdin", 0, &flags.from_stdin, "Read the password from standard input");
  call.flags.String("username", 'u', &flags.user, "User at the registry");
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  if (flags.from_stdin && call.flags.Changed("password")) {
    return InvalidArgument(
        "conflicting options: cannot specify both --password and --password-stdin");
  }
  if (call.flags.Changed("password")) {
    PrintError("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
  }
  std::string key = KeyOfServer(call.args().empty() ? "" : call.args()[0]);
  ConfigFile* config = TRY(cli.OpenConfig());
  Credentials store(config);
  bool known_before = false;
  Credential credential = TRY(Gather(store, key, flags, &known_before));
  credential.server = key;
  LoginAnswer answer = TRY(AskRegistry(cli, credential));
  const std::string& token = answer.identity_token;
  if (!token.empty()) {
    credential.identity_token = token;
    credential.password.clear();
  }
  TRY_WITH(store.Store(credential), "Error saving credentials");
  if (store.HelperFor(key).empty() && !known_before) {
    PrintError(
        "\nWARNING! Your credentials are stored unencrypted in '{}'.\n"
        "A helper keeps them safe: see \"credsStore\" in config.json.\n\n",
        config->path());
  }
  Print("{}\n", answer.status);
  return 0;
}

Result<int> LogoutCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  std::string key = KeyOfServer(call.args().empty() ? "" : call.args()[0]);
  Credentials store(TRY(cli.OpenConfig()));
  Print("Removing login credentials for {}\n", key);
  Result<> erased = store.Erase(key);
  if (erased.ok()) return 0;
  PrintError("WARNING: could not erase credentials:\n{}: {}\n", key, erased.error().message());
  return 0;
}

}  // namespace gantry::cli
