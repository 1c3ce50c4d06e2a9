// SPDX-License-Identifier: Apache-2.0
//
// gantry man DIR: the manual pages, made from what --help is made of. gantry.1 lists the commands,
// gantry-container-ls.1 and the like tell one each (man-pages(7), groff_man(7)).
#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/command_list.h"

namespace gantry::cli {
namespace {

// The character that begins at text[*at], of several bytes of UTF-8; moves *at to its last byte.
uint32_t ReadCharacter(std::string_view text, size_t* at) {
  auto first = static_cast<unsigned char>(text[*at]);
  size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  uint32_t value = first & (0x3Fu >> more);
  for (; more > 0 && *at + 1 < text.size(); --more) {
    value = value << 6 | (static_cast<unsigned char>(text[++*at]) & 0x3Fu);
  }
  return value;
}

// Text in roff: a backslash is not an escape, a dash is one that can be copied, characters beyond
// ASCII have names (groff_char(7)), and a line never begins with what would be a request.
std::string Roff(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (static_cast<unsigned char>(c) >= 0xC0) {
      out += fmt::format("\\[u{:04X}]", ReadCharacter(text, &i));
    } else if (c == '\\') {
      out.append("\\e");
    } else if (c == '-') {
      out.append("\\-");
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out.append("\\&").push_back(c);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// "gantry-container-ls"
std::string PageName(std::string_view path) {
  std::string name =
      path.empty() ? std::string(ProgramName()) : fmt::format("{}-{}", ProgramName(), path);
  for (char& c : name) c = c == ' ' ? '-' : c;
  return name;
}

std::string Head(const std::string& name, std::string_view summary) {
  return fmt::format(".TH {} 1 \"\" \"gantry {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n",
                     Roff(Upper(name)), GANTRY_VERSION, Roff(name), Roff(summary));
}

void AppendOptions(std::string_view title, const Flags& flags, std::string* out) {
  std::vector<Flags::Info> shown = flags.Shown();
  if (shown.empty()) return;
  out->append(".SH ").append(title).append("\n");
  for (const Flags::Info& flag : shown) {
    out->append(".TP\n");
    if (flag.shorthand != 0) *out += fmt::format("\\fB\\-{}\\fR, ", flag.shorthand);
    *out += fmt::format("\\fB\\-\\-{}\\fR", Roff(flag.name));
    if (!flag.type.empty()) *out += fmt::format(" \\fI{}\\fR", Roff(flag.type));
    out->append("\n").append(Roff(flag.help)).append("\n");
  }
}

using Lines = std::vector<std::pair<std::string, std::string>>;

void AppendCommands(const Lines& lines, std::string* out) {
  out->append(".SH COMMANDS\n");
  for (const auto& [name, summary] : lines) {
    *out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", Roff(name), Roff(summary));
  }
}

std::string CommandPage(Cli& cli, const Command& command) {
  std::vector<std::string> paths = PathsOf(command);
  std::string out = Head(PageName(paths[0]), command.summary);
  out.append(".SH SYNOPSIS\n");
  for (const std::string& path : paths) {
    for (std::string_view usage : UsagesOf(command)) {
      out += fmt::format("\\fB{} {}\\fR {}\n.br\n", ProgramName(), Roff(path), Roff(usage));
    }
  }
  AppendOptions("OPTIONS", DescribeFlags(cli, command), &out);
  out += fmt::format(".SH SEE ALSO\n\\fB{}\\fR(1)\n", Roff(PageName("")));
  return out;
}

std::string GroupPage(const Group& group) {
  std::string out = Head(PageName(group.name), group.summary);
  out += fmt::format(".SH SYNOPSIS\n\\fB{} {}\\fR COMMAND\n", ProgramName(), Roff(group.name));
  AppendCommands(CommandsOf(group.name), &out);
  return out;
}

std::string MainPage() {
  Cli::Options options;
  bool version = false;
  Flags global;
  BindGlobalFlags(&global, &options, &version);
  std::string out = Head(PageName(""), "run containers");
  out += fmt::format(".SH SYNOPSIS\n\\fB{}\\fR [OPTIONS] COMMAND\n", ProgramName());
  AppendOptions("OPTIONS", global, &out);
  Lines lines = CommandsOf("");
  for (const Group& group : Groups()) {
    if (!CommandsOf(group.name).empty()) lines.emplace_back(group.name, group.summary);
  }
  AppendCommands(lines, &out);
  return out;
}

}  // namespace

Result<int> ManCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& directory = call.args()[0];
  auto write = [&](const std::string& name, const std::string& text) -> Result<> {
    return ReplaceFile(fmt::format("{}/{}.1", directory, name), text, 0644);
  };
  TRY(MakeDirectories(directory, 0755));
  TRY(write(PageName(""), MainPage()));
  for (const Group& group : Groups()) {
    if (!CommandsOf(group.name).empty()) TRY(write(PageName(group.name), GroupPage(group)));
  }
  for (const Command& command : Commands()) {
    if (command.summary.empty()) continue;
    TRY(write(PageName(PathsOf(command)[0]), CommandPage(cli, command)));
  }
  return 0;
}

}  // namespace gantry::cli
