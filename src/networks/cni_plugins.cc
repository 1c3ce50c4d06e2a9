// SPDX-License-Identifier: Apache-2.0
#include "networks/cni_plugins.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "base/io.h"
#include "base/text.h"
#include "kernel/memory_file.h"
#include "kernel/pidfd.h"
#include "kernel/spawn.h"

namespace gantry::networks {
namespace {

using formats::Json;

constexpr std::chrono::milliseconds kBound = std::chrono::minutes(1);
constexpr size_t kOutputLimit = 1 << 20;
// What plugins call themselves (iptables, ip, nft).
constexpr const char* kUsualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

Result<std::string> FindPlugin(const std::string& type, const std::vector<std::string>& path) {
  for (const std::string& directory : path) {
    std::string file = directory + "/" + type;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return NotFound("CNI plugin {} is not in {}", type, Join(path, ":"));
}

Result<std::string> ReadFromStart(BorrowedFd file) {
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return ErrnoError("rewinding a memory file");
  return ReadToEnd(file, kOutputLimit);
}

Result<kernel::ExitStatus> WaitBounded(const kernel::SpawnedProcess& process) {
  pollfd ended{process.pidfd.get(), POLLIN, 0};
  auto end = std::chrono::steady_clock::now() + kBound;
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    int ready = ::poll(&ended, 1, std::max(0, static_cast<int>(left.count())));
    if (ready > 0) return kernel::WaitExit(process.pidfd);
    if (ready < 0 && errno == EINTR) continue;
    // Its own group, with what it started.
    (void)::kill(-process.pid, SIGKILL);
    TRY(kernel::WaitExit(process.pidfd));
    return MakeError(ErrorKind::kDeadlineExceeded, "it did not end in {} s",
                     std::chrono::duration_cast<std::chrono::seconds>(kBound).count());
  }
}

// What the plugin printed.
Result<std::string> Execute(const std::string& type, const std::string& file,
                            const std::string& input, std::string_view command,
                            std::vector<std::string> environment) {
  UniqueFd in = TRY(kernel::MemoryFile("cni-input", input));
  UniqueFd out = TRY(kernel::MemoryFile("cni-output", ""));
  UniqueFd errors = TRY(kernel::MemoryFile("cni-errors", ""));
  kernel::SpawnOptions options;
  options.program = file;
  options.args = {file};
  const char* path = ::getenv("PATH");
  environment.push_back(fmt::format("PATH={}", path != nullptr ? path : kUsualPath));
  environment.push_back(fmt::format("CNI_COMMAND={}", command));
  options.env = std::move(environment);
  options.cwd = "/";
  options.fds = {{in.get(), 0}, {out.get(), 1}, {errors.get(), 2}};
  options.group = kernel::ProcessGroup::kNewGroup;
  // Nobody would know what it did.
  options.parent_death_signal = SIGKILL;
  kernel::SpawnedProcess process = TRY(kernel::Spawn(options));
  kernel::ExitStatus status = TRY_WITH(WaitBounded(process), "CNI plugin {} ({})", type, command);
  std::string output = TRY_WITH(ReadFromStart(out), "output of CNI plugin {}", type);
  if (status.ShellCode() == 0) return output;
  return CniFailure(type, command, output, TRY(ReadFromStart(errors)));
}

Result<std::string> Run(const CniAttachment& attachment, const CniPlugin& plugin,
                        std::string_view command, const Json& previous) {
  std::string file = TRY(FindPlugin(plugin.type, attachment.path));
  std::vector<std::string> environment = {
      fmt::format("CNI_CONTAINERID={}", attachment.container_id),
      fmt::format("CNI_NETNS={}", attachment.netns),
      fmt::format("CNI_IFNAME={}", attachment.interface),
      fmt::format("CNI_PATH={}", Join(attachment.path, ":")),
  };
  std::vector<std::string> arguments = {"IgnoreUnknown=1"};
  arguments.insert(arguments.end(), attachment.arguments.begin(), attachment.arguments.end());
  environment.push_back(fmt::format("CNI_ARGS={}", Join(arguments, ";")));
  return Execute(plugin.type, file,
                 CniInput(attachment.config, plugin, attachment.runtime, previous), command,
                 std::move(environment));
}

}  // namespace

Result<Json> CniAdd(const CniAttachment& attachment) {
  Json result;
  for (const CniPlugin& plugin : attachment.config.plugins) {
    std::string output = TRY(Run(attachment, plugin, "ADD", result));
    result = TRY_WITH(Json::Parse(output), "result of CNI plugin {}", plugin.type);
  }
  return result;
}

Result<> CniCheck(const CniAttachment& attachment, const Json& result) {
  if (attachment.config.disable_check || !attachment.config.HasVersion(0, 4)) return {};
  for (const CniPlugin& plugin : attachment.config.plugins) {
    TRY(Run(attachment, plugin, "CHECK", result));
  }
  return {};
}

// All of them, whatever one says; the first error is returned.
Result<> CniDelete(const CniAttachment& attachment, const Json& result) {
  Result<> first;
  const auto& plugins = attachment.config.plugins;
  for (auto plugin = plugins.rbegin(); plugin != plugins.rend(); ++plugin) {
    auto done =
        Run(attachment, *plugin, "DEL", attachment.config.HasVersion(0, 4) ? result : Json());
    if (!done.ok() && first.ok()) first = std::move(done).error();
  }
  return first;
}

Result<> CniCollect(const CniConfig& config, const std::vector<std::string>& path,
                    const std::vector<CniKnown>& known) {
  if (config.disable_gc || !config.HasVersion(1, 1)) return {};
  Json valid = Json::MakeArray();
  for (const CniKnown& item : known) {
    valid.Append(
        Json::MakeObject({{"containerID", item.container_id}, {"ifname", item.interface}}));
  }
  Result<> first;
  for (const CniPlugin& plugin : config.plugins) {
    CniPlugin told = plugin;
    told.config.Set("cni.dev/valid-attachments", valid);
    auto file = FindPlugin(plugin.type, path);
    auto done = file.ok() ? Execute(plugin.type, *file, CniInput(config, told, Json(), Json()),
                                    "GC", {fmt::format("CNI_PATH={}", Join(path, ":"))})
                          : std::move(file);
    if (!done.ok() && first.ok()) first = std::move(done).error();
  }
  return first;
}

Result<> CheckCniPlugins(const CniConfig& config, const std::vector<std::string>& path) {
  for (const CniPlugin& plugin : config.plugins) TRY(FindPlugin(plugin.type, path));
  return {};
}

}  // namespace gantry::networks
