// SPDX-License-Identifier: Apache-2.0
//
// gantry commit, export, import: images and files out of containers, images out of files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/undo.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

// "repository[:tag]", where a port may stand before a slash.
void AddName(const std::string& name, wire::Query* query) {
  size_t colon = name.rfind(':');
  bool tagged = colon != std::string::npos && name.find('/', colon) == std::string::npos;
  query->Add("repo", tagged ? name.substr(0, colon) : name);
  if (tagged) query->Add("tag", name.substr(colon + 1));
}

}  // namespace

Result<int> CommitCommand(Cli& cli, Invocation& call) {
  std::string author, comment;
  std::vector<std::string> changes;
  bool pause = true, no_pause = false;
  call.flags.String("author", 'a', &author, "Who made it, \"NAME <MAIL>\"");
  call.flags.List("change", 'c', &changes, "Apply an instruction of a Dockerfile");
  call.flags.String("message", 'm', &comment, "What it is for");
  call.flags.Bool("pause", 'p', &pause, "Freeze the container meanwhile (default true)");
  call.flags.Bool("no-pause", 0, &no_pause, "Let the container run on");
  if (auto code = call.Parse(ArgCount::Between(1, 2))) return *code;
  if (call.args().size() > 1) TRY(ParseImageName(call.args()[1]));
  ApiRequest request;
  request.method = "POST";
  request.path = "/commit";
  request.query.Add("container", call.args()[0]);
  if (call.args().size() > 1) AddName(call.args()[1], &request.query);
  if (!author.empty()) request.query.Add("author", author);
  if (!comment.empty()) request.query.Add("comment", comment);
  for (const std::string& change : changes) request.query.Add("changes", change);
  if (!pause || no_pause) request.query.Add("pause", "0");
  Api* api = TRY(cli.Connect());
  Json made = TRY(api->Post(request.path, request.query));
  Print("{}\n", made["Id"].AsString());
  return 0;
}

Result<int> ExportCommand(Cli& cli, Invocation& call) {
  std::string output;
  call.flags.String("output", 'o', &output, "Write to a file instead of standard output");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  if (output.empty() && kernel::IsTerminal(BorrowedFd(STDOUT_FILENO))) {
    return InvalidArgument("cowardly refusing to save to a terminal. Use the -o flag or redirect");
  }
  ApiRequest request;
  request.path = ContainerPath(call.args()[0], "/export");
  Api* api = TRY(cli.Connect());
  ApiStream stream = TRY(api->Open(request));
  return SaveStream(&stream.connection, output);
}

Result<int> ImportCommand(Cli& cli, Invocation& call) {
  std::string message, platform;
  std::vector<std::string> changes;
  call.flags.List("change", 'c', &changes, "Apply an instruction of a Dockerfile");
  call.flags.String("message", 'm', &message, "What it is for");
  call.flags.String("platform", 0, &platform, "Platform of the image, \"os[/arch[/variant]]\"");
  if (auto code = call.Parse(ArgCount::Between(1, 2))) return *code;
  const std::string& from = call.args()[0];
  bool url = from.starts_with("http://") || from.starts_with("https://");
  UniqueFd file;
  BorrowedFd source(STDIN_FILENO);
  if (!url && from != "-") {
    Result<UniqueFd> opened = OpenFile(from, O_RDONLY);
    if (!opened.ok()) return ErrnoErrorOf(opened.error().error_number(), "open " + from);
    file = std::move(*opened);
    source = file;
  }
  ApiRequest request;
  request.method = "POST";
  request.path = "/images/create";
  request.query.Add("fromSrc", url ? from : "-");
  if (call.args().size() > 1) AddName(call.args()[1], &request.query);
  if (!message.empty()) request.query.Add("message", message);
  if (!platform.empty()) request.query.Add("platform", platform);
  for (const std::string& change : changes) request.query.Add("changes", change);
  Api* api = TRY(cli.Connect());
  ApiStream stream =
      url ? TRY(api->Open(request)) : TRY(api->Upload(request, source, "application/x-tar"));
  TRY(ShowProgress(&stream.connection, BorrowedFd(STDOUT_FILENO)));
  return 0;
}

}  // namespace gantry::cli
