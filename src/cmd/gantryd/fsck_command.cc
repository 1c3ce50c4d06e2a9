// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantryd/fsck_command.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "base/io.h"
#include "base/pid_file.h"
#include "build/cache.h"
#include "cmd/gantryd/options.h"
#include "engine/fsck.h"
#include "kernel/spawn.h"

namespace gantry::gantryd {
namespace {

struct Wish {
  bool repair = false;
  bool quick = false;
};

// The container daemon's half: its faults go to our standard output. True: none is left.
Result<bool> CheckContainerd(const Options& options, const Wish& wish, const std::string& programs,
                             engine::FsckOptions* engine) {
  std::string inventory = options.root + "/engine/fsck-inventory";
  kernel::SpawnOptions child;
  child.program = programs + "/gantry-containerd";
  child.args = {child.program, "fsck",   "--root", options.root + "/containerd",
                "--inventory", inventory};
  if (wish.repair) child.args.emplace_back("--repair");
  if (wish.quick) child.args.emplace_back("--quick");
  child.fds = {{1, 1}, {2, 2}};
  kernel::ExitStatus status = TRY(kernel::SpawnAndWait(child));
  if (!PathExists(inventory)) {
    return FailedPrecondition("checking '{}': the container daemon's part was not checked",
                              options.root);
  }
  auto read = engine::ReadInventory(inventory, options.containerd_namespace);
  ::unlink(inventory.c_str());
  engine->inventory = TRY(std::move(read));
  return status.ShellCode() == 0;
}

Result<int> Check(const Options& options, const Wish& wish, const std::string& programs) {
  // Nothing is made where nothing is.
  if (!PathExists(options.root + "/engine")) {
    return NotFound("checking '{}': there is no engine's data", options.root);
  }
  PidFile lock =
      TRY_WITH(PidFile::Lock(engine::EngineLock(options.root)), "checking '{}'", options.root);
  engine::FsckOptions engine{.root = options.root, .repair = wish.repair};
  bool whole = true;
  if (options.containerd.empty() && PathExists(options.root + "/containerd")) {
    whole = TRY(CheckContainerd(options, wish, programs, &engine));
  }
  engine.more = [&](records::Database& database, std::vector<records::Fault>* faults) {
    std::optional<std::set<std::string>> leases;
    if (engine.inventory) leases = engine.inventory->leases;
    return build::CheckCache(database, options.root, leases, faults);
  };
  auto found = TRY(engine::Fsck(engine, [](const std::string& line) { puts(line.c_str()); }));
  printf("%zu containers, %zu volumes, %zu networks: %zu faults, %zu repaired\n", found.containers,
         found.volumes, found.networks, found.count.faults, found.count.repaired);
  return whole && found.count.faults == found.count.repaired ? 0 : 1;
}

}  // namespace

int RunFsck(std::vector<std::string> arguments, const std::string& programs) {
  Wish wish;
  wish.repair = std::erase(arguments, "--repair") > 0;
  wish.quick = std::erase(arguments, "--quick") > 0;
  auto options = ParseOptions(arguments);
  auto code = options.ok() ? Check(*options, wish, programs) : Result<int>(options.error());
  if (code.ok()) return *code;
  fprintf(stderr, "gantryd: %s\n", code.error().message().c_str());
  return 1;
}

}  // namespace gantry::gantryd
