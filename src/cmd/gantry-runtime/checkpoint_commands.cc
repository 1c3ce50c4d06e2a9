// SPDX-License-Identifier: Apache-2.0
//
// `checkpoint` and `restore`. Both belong to criu, which is another program: where it is missing or
// does not work on this kernel, that is what the error says.
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "cmd/gantry-runtime/commands.h"
#include "runtime/criu.h"
#include "runtime/operations.h"

namespace gantry::cmd {
namespace {

// What both take.
struct CriuWords {
  std::string image_path = "checkpoint";
  std::string work_path, cgroups_mode;
  std::vector<std::string> empty_namespaces;
  bool tcp_established = false, unix_sockets = false, shell_job = false, file_locks = false;
  bool lazy_pages = false, auto_dedup = false;

  void Declare(Arguments* arguments) {
    arguments->Value("image-path", &image_path);
    arguments->Value("work-path", &work_path);
    arguments->Value("manage-cgroups-mode", &cgroups_mode);
    arguments->List("empty-ns", &empty_namespaces);
    arguments->Flag("tcp-established", &tcp_established);
    arguments->Flag("ext-unix-sk", &unix_sockets);
    arguments->Flag("shell-job", &shell_job);
    arguments->Flag("file-locks", &file_locks);
    arguments->Flag("lazy-pages", &lazy_pages);
    arguments->Flag("auto-dedup", &auto_dedup);
  }
};

}  // namespace

Result<int> CheckpointCommand(const GlobalOptions& global, Words line) {
  CriuWords words;
  std::string parent_path, page_server;
  int64_t status_fd = -1;
  bool leave_running = false, pre_dump = false;
  Arguments arguments(std::move(line));
  words.Declare(&arguments);
  arguments.Value("parent-path", &parent_path);
  arguments.Value("page-server", &page_server);
  arguments.Number("status-fd", &status_fd);
  arguments.Flag("leave-running", &leave_running);
  arguments.Flag("pre-dump", &pre_dump);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  formats::Json state = TRY(runtime::State(global.root, arguments.rest()[0]));
  if (state["status"].AsString() == "stopped" || state["status"].AsString() == "created") {
    return FailedPrecondition("container cannot be checkpointed in {} state",
                              state["status"].AsString());
  }
  TRY_WITH(runtime::CheckCriu(), "checkpoint");
  return Unimplemented("checkpoint: containers are not handed to criu by this runtime");
}

Result<int> RestoreCommand(const GlobalOptions&, Words line) {
  CriuWords words;
  std::string bundle = ".", console_socket, pid_file, lsm_profile, lsm_mount_context;
  bool detach = false, no_subreaper = false, no_pivot = false;
  Arguments arguments(std::move(line));
  words.Declare(&arguments);
  arguments.Value("bundle,b", &bundle);
  arguments.Value("console-socket", &console_socket);
  arguments.Value("pid-file", &pid_file);
  arguments.Value("lsm-profile", &lsm_profile);
  arguments.Value("lsm-mount-context", &lsm_mount_context);
  arguments.Flag("detach,d", &detach);
  arguments.Flag("no-subreaper", &no_subreaper);
  arguments.Flag("no-pivot", &no_pivot);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  TRY_WITH(runtime::CheckCriu(), "restore");
  return Unimplemented("restore: containers are not taken from criu by this runtime");
}

}  // namespace gantry::cmd
