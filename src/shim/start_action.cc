// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/io.h"
#include "base/log.h"
#include "containerd/runtime/bootstrap/v1/bootstrap.plain.h"
#include "formats/json.h"
#include "shim/actions.h"
#include "shim/server.h"

namespace gantry::shim {
namespace {

using plain::containerd::runtime::bootstrap::v1::BootstrapParams;

constexpr size_t kMaxParams = size_t{1} << 20;
constexpr int kMaxOomScore = 1000;

// containerd 2.3 and later write BootstrapParams, earlier ones the runtime's options or nothing. A
// person at a terminal writes nothing either, and is not waited for.
Result<BootstrapParams> ReadParams() {
  struct stat info{};
  if (::fstat(STDIN_FILENO, &info) < 0 || S_ISCHR(info.st_mode)) return BootstrapParams{};
  pollfd poll{STDIN_FILENO, POLLIN, 0};
  if (::poll(&poll, 1, 1000) <= 0) return BootstrapParams{};
  std::string bytes = TRY(ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxParams));
  Result<BootstrapParams> params = BootstrapParams::Decode(bytes);
  // Options decode by chance at most; the version is what only new daemons send.
  if (!params.ok() || params->containerd_version.empty()) return BootstrapParams{};
  return params;
}

// The server must not be killed before its daemon, nor long after: its score plus one.
void AdjustOomScore() {
  Result<std::string> parent = ReadFile(fmt::format("/proc/{}/oom_score_adj", ::getppid()), 32);
  if (!parent.ok()) return;
  int score = 0;
  std::from_chars(parent->data(), parent->data() + parent->size(), score);
  score = std::min(score + 1, kMaxOomScore);
  // Lowering needs a capability that the host may not give; then the score stays.
  (void)WriteFile("/proc/self/oom_score_adj", std::to_string(score));
}

// Descriptors of a daemon: nothing from the caller, errors to the bundle's `log` fifo, which
// containerd has open.
void DetachStdio() {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ::dup2(null.get(), STDIN_FILENO);
  ::dup2(null.get(), STDOUT_FILENO);
  UniqueFd log(::open("log", O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  ::dup2(log.valid() ? log.get() : null.get(), STDERR_FILENO);
}

// Whatever the caller let through would be held open for the container's whole life.
void CloseInherited(BorrowedFd listener) {
  unsigned kept = static_cast<unsigned>(listener.get());
  if (kept > 3) ::close_range(3, kept - 1, 0);
  ::close_range(kept + 1, ~0U, 0);
}

// In lists of processes the server shows its flags without the action.
void HideAction(char** argv) {
  for (char** at = argv; *at != nullptr; ++at) {
    if (std::strcmp(*at, "start") == 0) std::memset(*at, 0, std::strlen(*at));
  }
}

[[noreturn]] void BecomeServer(const Arguments& arguments, UniqueFd listener,
                               const std::string& socket_path, char** argv) {
  ::setsid();
  DetachStdio();
  CloseInherited(listener);
  HideAction(argv);
  log::Configure("containerd-shim-gantry-v1",
                 arguments.debug ? log::Level::kDebug : log::Level::kInfo, log::Format::kText);
  Result<> served = Serve(arguments, std::move(listener), socket_path);
  if (!served.ok()) log::Failure("{}", served.error().message());
  std::exit(served.ok() ? 0 : 1);
}

std::string AnswerOf(const BootstrapParams& params, const std::string& address) {
  // The plain form is understood by every containerd and means version 2 over ttrpc.
  if (params.containerd_version.empty()) return address;
  return formats::Json::MakeObject({{"version", 3}, {"address", address}, {"protocol", "ttrpc"}})
      .Dump();
}

}  // namespace

Result<> RunStart(const Arguments& given, char** argv) {
  Arguments arguments = given;
  BootstrapParams params = TRY(ReadParams());
  if (!params.containerd_ttrpc_address.empty()) {
    arguments.ttrpc_address = params.containerd_ttrpc_address;
  }
  const char* environment = std::getenv("GANTRY_SHIM_SOCKET_DIR");
  std::string directory = params.socket_dir.value_or(environment != nullptr ? environment : "");
  std::string path = SocketPath(arguments, directory);
  std::string address = "unix://" + path;
  Result<UniqueFd> listener = ListenAt(path);
  bool running = !listener.ok() && listener.error().kind() == ErrorKind::kAlreadyExists;
  if (!listener.ok() && !running) return std::move(listener).error();
  // containerd 1.6 reads the address from here when it is started anew; it is in the bundle.
  TRY(CreateFile("address", address, 0600));
  if (!running) {
    AdjustOomScore();
    pid_t child = ::fork();
    if (child < 0) return ErrnoError("starting the server");
    if (child == 0) BecomeServer(arguments, std::move(*listener), path, argv);
  }
  return WriteAll(BorrowedFd(STDOUT_FILENO), AnswerOf(params, address));
}

}  // namespace gantry::shim
