// SPDX-License-Identifier: Apache-2.0
//
// gantry context export and import: a context as a tar archive of meta.json and
// tls/docker/{ca,cert,key}.pem, with the files of other endpoints, as docker writes and reads it.
#include <fcntl.h>
#include <unistd.h>

#include "base/byte_stream.h"
#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/output.h"
#include "formats/tar.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

constexpr size_t kMaxArchiveBytes = size_t{10} << 20;

constexpr struct {
  const char* name;
  std::string TlsContents::* content;
} kFiles[] = {{"tls/docker/ca.pem", &TlsContents::ca},
              {"tls/docker/cert.pem", &TlsContents::certificate},
              {"tls/docker/key.pem", &TlsContents::key}};

Result<std::string> Pack(const Context& context, const TlsContents& tls) {
  StringSink sink;
  formats::TarWriter tar(sink);
  formats::TarEntry entry;
  entry.name = "meta.json";
  TRY(tar.WriteFile(entry, context.meta.Dump()));
  formats::TarEntry directory;
  directory.type = formats::TarType::kDirectory;
  directory.mode = 0700;
  directory.name = "tls";
  TRY(tar.WriteHeader(directory));
  if (!tls.empty()) {
    directory.name = "tls/docker";
    TRY(tar.WriteHeader(directory));
  }
  entry.mode = 0600;
  for (const auto& file : kFiles) {
    if ((tls.*file.content).empty()) continue;
    entry.name = file.name;
    TRY(tar.WriteFile(entry, tls.*file.content));
  }
  for (const auto& [name, content] : tls.others) {
    std::string endpoint = "tls/" + name.substr(0, name.find('/'));
    if (directory.name != endpoint) {
      directory.name = endpoint;
      TRY(tar.WriteHeader(directory));
    }
    entry.name = "tls/" + name;
    TRY(tar.WriteFile(entry, content));
  }
  TRY(tar.Finish());
  return std::move(sink.text);
}

Result<> Unpack(std::string_view archive, Context* context, TlsContents* tls) {
  StringSource source(archive);
  formats::TarReader tar(source);
  formats::TarEntry entry;
  bool found = false;
  while (TRY(tar.NextEntry(&entry))) {
    if (entry.type != formats::TarType::kFile) continue;
    if (entry.name == "meta.json") {
      std::string text = TRY(tar.ReadData(kMaxArchiveBytes));
      context->meta = TRY_WITH(Json::Parse(text), "reading meta.json of the archive");
      found = true;
      continue;
    }
    bool known = false;
    for (const auto& file : kFiles) {
      if (entry.name != file.name) continue;
      tls->*file.content = TRY(tar.ReadData(kMaxArchiveBytes));
      known = true;
    }
    if (known) continue;
    std::vector<std::string> parts = Split(entry.name, '/');
    auto is_name = [](const std::string& part) {
      return !part.empty() && part != "." && part != "..";
    };
    if (parts.size() != 3 || parts[0] != "tls" || !is_name(parts[1]) || !is_name(parts[2])) {
      return InvalidArgument("unexpected context file: {}", entry.name);
    }
    tls->others[parts[1] + "/" + parts[2]] = TRY(tar.ReadData(kMaxArchiveBytes));
  }
  if (!found) return InvalidArgument("unexpected context file: no meta.json in the archive");
  return {};
}

}  // namespace

Result<int> ContextExportCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Between(1, 2))) return *code;
  const std::string& name = call.args()[0];
  TRY(ContextStore::CheckName(name));
  Context context = TRY(cli.Contexts().Find(name));
  std::string archive = TRY(Pack(context, TRY(cli.Contexts().ReadTls(name))));
  std::string target = call.args().size() > 1 ? call.args()[1] : name + ".dockercontext";
  if (target == "-") {
    if (kernel::IsTerminal(BorrowedFd(STDOUT_FILENO))) {
      return InvalidArgument("cowardly refusing to export to a terminal, specify a file path");
    }
    PrintText(archive);
    return 0;
  }
  // It may hold keys, so it is never written over something that others can read.
  Result<UniqueFd> file = OpenFile(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file.ok()) return ErrnoErrorOf(file.error().error_number(), fmt::format("open {}", target));
  TRY_WITH(WriteAll(*file, archive), "writing '{}'", target);
  PrintError("Written file \"{}\"\n", target);
  return 0;
}

Result<int> ContextImportCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  const std::string& name = call.args()[0];
  const std::string& from = call.args()[1];
  TRY(ContextStore::CheckName(name));
  if (cli.Contexts().Find(name).ok()) return AlreadyExists("context \"{}\" already exists", name);
  Result<std::string> archive = from == "-" ? ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxArchiveBytes)
                                            : ReadFile(from, kMaxArchiveBytes);
  if (!archive.ok() && archive.error().error_number() != 0) {
    return ErrnoErrorOf(archive.error().error_number(), fmt::format("open {}", from));
  }
  Context context{name, Json()};
  TlsContents tls;
  TRY(Unpack(TRY(std::move(archive)), &context, &tls));
  context.meta.Set("Name", name);
  TRY(cli.Contexts().Save(context, &tls));
  Print("{}\n", name);
  PrintError("Successfully imported context \"{}\"\n", name);
  return 0;
}

}  // namespace gantry::cli
