// SPDX-License-Identifier: Apache-2.0
//
// Commands on images: images, rmi, tag, pull, load, save, history.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/image_tree.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "formats/human_units.h"
#include "formats/reference.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

std::string ImagePath(std::string_view name, std::string_view suffix = "") {
  return fmt::format("/images/{}{}", wire::PercentEncodePath(name), suffix);
}

struct Name {
  std::string repository = "<none>";
  std::string tag = "<none>";
  std::string digest = "<none>";
};

// A row for each name of the image. Digests have rows of their own only when they are shown.
std::vector<Name> NamesOf(const Json& image, bool digests) {
  std::vector<Name> names;
  for (const Json& item : image["RepoTags"].items()) {
    const std::string& text = item.AsString();
    size_t colon = text.rfind(':');
    if (text == "<none>:<none>" || colon == std::string::npos) continue;
    names.push_back({text.substr(0, colon), text.substr(colon + 1), "<none>"});
  }
  std::vector<Name> unused;
  for (const Json& item : image["RepoDigests"].items()) {
    const std::string& text = item.AsString();
    size_t at = text.find('@');
    if (at == std::string::npos || text == "<none>@<none>") continue;
    std::string repository = text.substr(0, at);
    bool used = false;
    for (Name& name : names) {
      if (name.repository != repository) continue;
      name.digest = text.substr(at + 1);
      used = true;
    }
    if (!used) unused.push_back({repository, "<none>", text.substr(at + 1)});
  }
  if (digests || names.empty()) names.insert(names.end(), unused.begin(), unused.end());
  if (names.empty()) names.emplace_back();
  return names;
}

Json Row(const Json& image, const Name& name, bool truncate) {
  int64_t created = image["Created"].AsInt();
  const std::string& id = image["Id"].AsString();
  std::string size = formats::HumanSize(image["Size"].AsDouble(), 3);
  int64_t containers = image["Containers"].AsInt(-1);
  int64_t shared = image["SharedSize"].AsInt(-1);
  return Json::MakeObject(
      {{"Containers", containers < 0 ? "N/A" : fmt::format("{}", containers)},
       {"CreatedAt", LocalTime(created)},
       {"CreatedSince", created <= 0 ? "N/A" : Ago(created)},
       {"Digest", name.digest},
       {"ID", truncate ? ShortId(id) : id},
       {"Repository", name.repository},
       {"SharedSize", shared < 0 ? "N/A" : formats::HumanSize(static_cast<double>(shared), 3)},
       {"Size", size},
       {"Tag", name.tag},
       {"UniqueSize",
        shared < 0 ? "N/A"
                   : formats::HumanSize(image["Size"].AsDouble() - static_cast<double>(shared), 3)},
       {"VirtualSize", formats::HumanSize(image["Size"].AsDouble())}});
}

ListingSpec ImagesSpec(bool digests) {
  ListingSpec spec;
  spec.default_table = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
  if (digests) {
    spec.default_table =
        "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
  }
  spec.default_quiet = "{{.ID}}";
  spec.raw = fmt::format(
      "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{}image_id: {{{{.ID}}}}\ncreated_at: "
      "{{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n",
      digests ? "digest: {{.Digest}}\n" : "");
  spec.raw_quiet = "image_id: {{.ID}}";
  spec.root_type = "*formatter.imageContext";
  spec.headers = Json::MakeObject({{"Containers", "CONTAINERS"},
                                   {"CreatedAt", "CREATED AT"},
                                   {"CreatedSince", "CREATED"},
                                   {"Digest", "DIGEST"},
                                   {"ID", "IMAGE ID"},
                                   {"Repository", "REPOSITORY"},
                                   {"SharedSize", "SHARED SIZE"},
                                   {"Size", "SIZE"},
                                   {"Tag", "TAG"},
                                   {"UniqueSize", "UNIQUE SIZE"},
                                   {"VirtualSize", "SIZE"}});
  return spec;
}

Result<int> ShowTree(Cli& cli, bool all, const std::vector<std::string>& filters) {
  wire::Query query;
  query.Add("manifests", "1");
  if (all) query.Add("all", "1");
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  PrintText(ImageTree(TRY(api->Get("/images/json", query))));
  return 0;
}

}  // namespace

Result<int> ImagesCommand(Cli& cli, Invocation& call) {
  bool all = false, digests = false, no_truncate = false, quiet = false, tree = false;
  std::string format;
  std::vector<std::string> filters;
  call.flags.Bool("all", 'a', &all, "Show intermediate images too");
  call.flags.Bool("digests", 0, &digests, "Show digests");
  BindFilters(&call.flags, &filters, "Show only what matches, such as dangling=true");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show everything in full");
  call.flags.Bool("quiet", 'q', &quiet, "Show only IDs");
  call.flags.Bool("tree", 0, &tree, "Show what there is for each platform");
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  if (!call.args().empty()) filters.push_back("reference=" + call.args()[0]);
  if (tree) {
    TRY(TRY(cli.Connect())->Require("1.47", "tree"));
    for (const char* other : {"quiet", "no-trunc", "digests", "format"}) {
      if (call.flags.Changed(other)) {
        return InvalidArgument("--{} is not yet supported with --tree", other);
      }
    }
    return ShowTree(cli, all, filters);
  }
  if (format.empty() && !quiet) format = (*TRY(cli.Config()))["imagesFormat"].AsString();
  Listing listing = TRY(Listing::Create(ImagesSpec(digests), format, quiet));
  wire::Query query;
  if (all) query.Add("all", "1");
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json images = TRY(api->Get("/images/json", query));
  std::vector<Json> rows;
  bool show_digests = digests || listing.Uses("Digest");
  for (const Json& image : images.items()) {
    for (const Name& name : NamesOf(image, show_digests)) {
      rows.push_back(Row(image, name, !no_truncate));
    }
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

Result<int> RmiCommand(Cli& cli, Invocation& call) {
  bool force = false, no_prune = false;
  std::vector<std::string> platforms;
  call.flags.Bool("force", 'f', &force, "Remove it although containers use it");
  call.flags.List("platform", 0, &platforms, "Remove only this platform of it");
  call.flags.Bool("no-prune", 0, &no_prune, "Keep parents without a name");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  int code = 0;
  for (const std::string& name : call.args()) {
    ApiRequest request;
    request.method = "DELETE";
    request.path = ImagePath(name);
    if (force) request.query.Add("force", "1");
    if (no_prune) request.query.Add("noprune", "1");
    TRY(AddPlatforms(api, "1.50", platforms, "platforms", &request.query));
    Result<ApiAnswer> answer = api->Call(request);
    if (!answer.ok()) {
      PrintError("{}\n", answer.error().message());
      if (!force || answer.error().kind() != ErrorKind::kNotFound) code = 1;
      continue;
    }
    Json removed = TRY_WITH(Json::Parse(answer->body), "reading the daemon's answer");
    for (const Json& item : removed.items()) {
      for (const char* what : {"Untagged", "Deleted"}) {
        if (const Json* value = item.Find(what)) Print("{}: {}\n", what, value->AsString());
      }
    }
  }
  return code;
}

Result<int> TagCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  formats::Reference target;
  Result<formats::Reference> parsed = ParseImageName(call.args()[1]);
  if (!parsed.ok()) {
    return InvalidArgument("Error parsing reference: \"{}\" is not a valid repository/tag: {}",
                           call.args()[1], parsed.error().message());
  }
  target = formats::WithDefaultTag(std::move(*parsed));
  if (!target.digest.empty()) {
    return InvalidArgument("refusing to create a tag with a digest reference");
  }
  Api* api = TRY(cli.Connect());
  wire::Query query;
  query.Add("repo", target.FamiliarRepository()).Add("tag", target.tag);
  TRY(api->Post(ImagePath(call.args()[0], "/tag"), query));
  return 0;
}

Result<int> PullCommand(Cli& cli, Invocation& call) {
  bool quiet = false, all_tags = false;
  std::string platform;
  call.flags.Bool("all-tags", 'a', &all_tags, "Pull every tag of the repository");
  BindContentTrust(&call.flags);
  call.flags.Bool("quiet", 'q', &quiet, "Show no progress");
  call.flags.String("platform", 0, &platform, "Platform of the image, such as linux/amd64");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& name = call.args()[0];
  formats::Reference reference = TRY(ParseImageName(name));
  if (all_tags) {
    if (!reference.tag.empty() || !reference.digest.empty()) {
      return InvalidArgument("tag can't be used with --all-tags/-a");
    }
    TRY(PullAllTags(cli, reference, platform, quiet, BorrowedFd(STDOUT_FILENO)));
    Print("{}\n", reference.ToString());
    return 0;
  }
  if (reference.tag.empty() && reference.digest.empty() && !quiet) {
    PrintText("Using default tag: latest\n");
  }
  TRY(PullImage(cli, name, platform, quiet, BorrowedFd(STDOUT_FILENO)));
  Print("{}\n", formats::WithDefaultTag(std::move(reference)).ToString());
  return 0;
}

Result<int> LoadCommand(Cli& cli, Invocation& call) {
  std::string input;
  bool quiet = false;
  call.flags.String("input", 'i', &input, "Read from a file instead of standard input");
  std::vector<std::string> platforms;
  call.flags.List("platform", 0, &platforms, "Load only this platform, \"os[/arch[/variant]]\"");
  call.flags.Bool("quiet", 'q', &quiet, "Show no progress");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  UniqueFd file;
  BorrowedFd source(STDIN_FILENO);
  if (!input.empty()) {
    Result<UniqueFd> opened = OpenFile(input, O_RDONLY);
    if (!opened.ok()) {
      return ErrnoErrorOf(opened.error().error_number(), fmt::format("open {}", input));
    }
    file = std::move(*opened);
    source = file;
  } else if (kernel::IsTerminal(source)) {
    return InvalidArgument("requested load from stdin, but stdin is empty");
  }
  bool bars = kernel::IsTerminal(BorrowedFd(STDOUT_FILENO)) && !quiet;
  ApiRequest request;
  request.method = "POST";
  request.path = "/images/load";
  request.query.Add("quiet", bars ? "0" : "1");
  Api* api = TRY(cli.Connect());
  TRY(AddPlatforms(api, "1.48", platforms, "platform", &request.query));
  ApiStream stream = TRY(api->Upload(request, source, "application/x-tar"));
  TRY(ShowProgress(&stream.connection, BorrowedFd(STDOUT_FILENO)));
  return 0;
}

Result<int> SaveCommand(Cli& cli, Invocation& call) {
  std::string output;
  std::vector<std::string> platforms;
  call.flags.String("output", 'o', &output, "Write to a file instead of standard output");
  call.flags.List("platform", 0, &platforms, "Save only this platform, \"os[/arch[/variant]]\"");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  if (output.empty() && kernel::IsTerminal(BorrowedFd(STDOUT_FILENO))) {
    return InvalidArgument("cowardly refusing to save to a terminal. Use the -o flag or redirect");
  }
  ApiRequest request;
  request.path = "/images/get";
  for (const std::string& name : call.args()) request.query.Add("names", name);
  Api* api = TRY(cli.Connect());
  TRY(AddPlatforms(api, "1.48", platforms, "platform", &request.query));
  ApiStream stream = TRY(api->Open(request));
  return SaveStream(&stream.connection, output);
}

Result<int> HistoryCommand(Cli& cli, Invocation& call) {
  bool no_truncate = false, quiet = false, human = true;
  std::string format;
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("human", 'H', &human, "Show sizes and times for people (default true)");
  std::vector<std::string> platforms;
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show everything in full");
  call.flags.List("platform", 0, &platforms, "Of this platform, \"os[/arch[/variant]]\"");
  call.flags.Bool("quiet", 'q', &quiet, "Show only IDs");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  ListingSpec spec;
  spec.default_table = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
  if (!human) {
    spec.default_table = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
  }
  spec.default_quiet = "{{.ID}}";
  spec.root_type = "*image.historyContext";
  spec.headers = Json::MakeObject({{"Comment", "COMMENT"},
                                   {"CreatedAt", "CREATED AT"},
                                   {"CreatedBy", "CREATED BY"},
                                   {"CreatedSince", "CREATED"},
                                   {"ID", "IMAGE"},
                                   {"Size", "SIZE"}});
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  Api* api = TRY(cli.Connect());
  wire::Query query;
  TRY(AddPlatforms(api, "1.48", platforms, "platform", &query));
  Json history = TRY(api->Get(ImagePath(call.args()[0], "/history"), std::move(query)));
  std::vector<Json> rows;
  for (const Json& layer : history.items()) {
    std::string by = layer["CreatedBy"].AsString();
    for (char& c : by) c = c == '\t' ? ' ' : c;
    if (!no_truncate) by = Ellipsis(by, 45);
    const std::string& id = layer["Id"].AsString();
    int64_t created = layer["Created"].AsInt();
    double size = layer["Size"].AsDouble();
    rows.push_back(Json::MakeObject(
        {{"Comment", layer["Comment"]},
         {"CreatedAt", LocalTime(created)},
         {"CreatedBy", by},
         {"CreatedSince", created <= 0 ? "N/A" : Ago(created)},
         {"ID", no_truncate ? id : ShortId(id)},
         {"Size", human ? formats::HumanSize(size, 3) : fmt::format("{:.0f}", size)}}));
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

}  // namespace gantry::cli
