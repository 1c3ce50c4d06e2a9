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
#include "base/undo.h"
#include "containerd/runc/v1/options.plain.h"
#include "containerd/runtime/bootstrap/v1/bootstrap.plain.h"
#include "formats/json.h"
#include "kernel/cgroups.h"
#include "shim/actions.h"
#include "shim/server.h"

namespace gantry::shim {
namespace {

using plain::containerd::runc::v1::Options;
using plain::containerd::runtime::bootstrap::v1::BootstrapParams;
using plain::containerd::runtime::bootstrap::v1::BootstrapResult;
using plain::containerd::runtime::bootstrap::v1::LogLevel;

constexpr size_t kMaxParams = size_t{1} << 20;
constexpr int kMaxOomScore = 1000;

// What the daemon wants of the start.
struct Wanted {
  BootstrapParams params;  // empty from containerd before 2.3
  Options options;
};

Result<> TakeOptions(const formats::ProtoAny& any, Options* options) {
  // Of other types there is nothing to take here; Create refuses them.
  if (any.TypeName() != "containerd.runc.v1.Options") return {};
  *options = TRY_WITH(Options::Decode(any.value), "reading the runtime's options");
  return {};
}

// containerd 2.3 and later write BootstrapParams, earlier ones the runtime's options or nothing. A
// person at a terminal writes nothing either, and is not waited for.
Result<Wanted> ReadWanted() {
  Wanted wanted;
  struct stat info{};
  if (::fstat(STDIN_FILENO, &info) < 0 || S_ISCHR(info.st_mode)) return wanted;
  pollfd poll{STDIN_FILENO, POLLIN, 0};
  if (::poll(&poll, 1, 1000) <= 0) return wanted;
  std::string bytes = TRY(ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxParams));
  Result<BootstrapParams> params = BootstrapParams::Decode(bytes);
  // Options decode by chance at most; the version is what only new daemons send.
  if (params.ok() && !params->containerd_version.empty()) {
    wanted.params = std::move(*params);
    for (const auto& extension : wanted.params.extensions) {
      if (extension.value.has_value()) TRY(TakeOptions(*extension.value, &wanted.options));
    }
    return wanted;
  }
  Result<formats::ProtoAny> any = formats::ProtoDecode<formats::ProtoAny>(bytes);
  if (any.ok()) TRY(TakeOptions(*any, &wanted.options));
  return wanted;
}

// Containers that name the same group share a shim; by default each is a group of its own.
std::string GroupOf(const std::string& id) {
  std::string text = ReadFile("config.json").value_or("");
  Result<formats::Json> config = formats::Json::Parse(text);
  if (!config.ok()) return id;  // Create says what is wrong with it
  for (const char* label : {"io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"}) {
    const std::string& group = (*config)["annotations"][label].AsString();
    if (!group.empty()) return group;
  }
  return id;
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
  Result<> served = Serve(arguments, ServedFor::kDaemon, std::move(listener), socket_path);
  if (!served.ok()) log::Failure("{}", served.error().message());
  std::exit(served.ok() ? 0 : 1);
}

// What the daemon has set as the newest version of the task service that it speaks. Every
// containerd sets 2, also those that speak 3 (2.0 to 2.2); gantry-containerd, and whoever writes it
// into containerd's configuration as `env` of its shims, sets 3.
int MaxVersion() {
  const char* value = std::getenv("MAX_SHIM_VERSION");
  std::string_view text(value == nullptr ? "" : value);
  int version = 2;
  std::from_chars(text.data(), text.data() + text.size(), version);
  return version;
}

// In the form that the daemon reads (core/runtime/v2/shim.go of containerd).
std::string AnswerOf(const BootstrapParams& params, const std::string& address) {
  if (!params.containerd_version.empty()) {
    BootstrapResult result;
    result.version = 3;
    result.address = address;
    result.protocol = "ttrpc";
    return result.Encode();
  }
  // The plain form is understood by every containerd and means version 2 over ttrpc.
  if (MaxVersion() < 3) return address;
  return formats::Json::MakeObject({{"version", 3}, {"address", address}, {"protocol", "ttrpc"}})
      .Dump();
}

}  // namespace

Result<> RunStart(const Arguments& given, char** argv) {
  Arguments arguments = given;
  Wanted wanted = TRY(ReadWanted());
  const BootstrapParams& params = wanted.params;
  if (!params.containerd_ttrpc_address.empty()) {
    arguments.ttrpc_address = params.containerd_ttrpc_address;
  }
  const char* environment = std::getenv("GANTRY_SHIM_SOCKET_DIR");
  arguments.debug = arguments.debug || params.log_level <= LogLevel::kLogLevelDebug;
  std::string directory = params.socket_dir.value_or(environment != nullptr ? environment : "");
  if (!wanted.options.shim_cgroup.empty()) {
    // The server is born there.
    TRY_WITH(kernel::JoinCgroup(wanted.options.shim_cgroup, kernel::MissingCgroup::kRefuse),
             "starting the shim");
  }
  Arguments group = arguments;
  group.id = GroupOf(arguments.id);
  std::string path = SocketPath(group, directory);
  std::string address = "unix://" + path;
  Result<UniqueFd> listener = ListenAt(path, arguments.id);
  bool running = !listener.ok() && listener.error().kind() == ErrorKind::kAlreadyExists;
  if (!listener.ok() && !running) return std::move(listener).error();
  // containerd 1.6 reads the address from here when it is started anew; it is in the bundle.
  Undo undo;
  if (!running) undo.Push([&] { ::unlink(path.c_str()); });
  TRY(CreateFile("address", address, 0600));
  if (!running) {
    AdjustOomScore();
    pid_t child = ::fork();
    if (child < 0) return ErrnoError("starting the server");
    if (child == 0) BecomeServer(arguments, std::move(*listener), path, argv);
  }
  undo.Commit();
  return WriteAll(BorrowedFd(STDOUT_FILENO), AnswerOf(params, address));
}

}  // namespace gantry::shim
