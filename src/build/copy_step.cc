// SPDX-License-Identifier: Apache-2.0
//
// COPY and ADD: where their sources are, and the step that they make.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "build/builder.h"
#include "build/download.h"
#include "build/git_source.h"
#include "build/layout_images.h"
#include "engine/root_view.h"
#include "formats/digest.h"
#include "formats/mode_change.h"
#include "kernel/paths.h"

namespace gantry::build {

using dockerfile::Instruction;
using dockerfile::Kind;

namespace {

bool IsUrl(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

// --chmod: octal, or what chmod(1) takes.
Result<formats::ModeChange> ParseMode(std::string_view text) {
  auto mode = formats::ModeChange::Parse(text);
  if (mode.ok()) return mode;
  return InvalidArgument(
      "invalid chmod parameter: '{}'. it should be octal string and between 0 "
      "and 07777",
      text);
}

// --checksum of ADD; "" without it. kInvalidArgument.
Result<std::string> ChecksumOf(const Instruction& in, const dockerfile::Expander& expander) {
  const dockerfile::Flag* flag = in.FindFlag("checksum");
  if (flag == nullptr) return std::string();
  if (in.words.size() > 2) {
    return InvalidArgument("checksum can't be specified for multiple sources");
  }
  return expander.Word(flag->value);
}

Result<formats::Digest> ParseChecksum(const std::string& text) {
  formats::Digest digest = TRY_WITH(formats::Digest::Parse(text), "invalid checksum '{}'", text);
  if (digest.algorithm() == formats::DigestAlgorithm::kSha256) return digest;
  return Unimplemented("a checksum must be a sha256, not {}", text);
}

// "--NAME", "--NAME=false"; nothing without it.
std::optional<bool> SwitchOf(const Instruction& in, std::string_view name) {
  const dockerfile::Flag* flag = in.FindFlag(name);
  return flag == nullptr ? std::nullopt : std::optional(flag->value != "false");
}

// As docker keeps it in the history: one source's hash, or the hash of all.
std::string HashText(const std::vector<CopySource>& sources) {
  if (sources.size() == 1) {
    return (sources[0].is_directory ? "dir:" : "file:") + sources[0].hash;
  }
  std::string all;
  for (const CopySource& source : sources) all += source.base + "\n" + source.hash + "\n";
  return "multi:" + HexDigest(all);
}

std::string DestinationOf(const engine::ContainerConfig& config, const std::string& text) {
  bool directory = text.ends_with('/') || text == "." || text.ends_with("/.");
  std::string path = engine::FromWorkingDirectory(config, text);
  return directory && path != "/" ? path + "/" : path;
}

}  // namespace

Builder::~Builder() = default;

Result<BorrowedFd> Builder::OpenResult() {
  if (!result().chain_id.empty()) return views_.Open(result().chain_id);
  // No step has made a file.
  if (!nothing_.valid())
    nothing_ = TRY(context_.MakeDirectory(fmt::format("beside-{}", ++beside_)));
  return BorrowedFd(nothing_);
}

Result<SourceTree> Builder::TreeOf(const std::string& from) {
  const NamedContext* named = FindContext(from);
  if (named != nullptr && named->kind == NamedContext::Kind::kInput) {
    const std::string& chain_id = named->input->chain_id;
    return SourceTree{TRY(views_.Open(chain_id)), chain_id, ""};
  }
  if (IsFiles(named)) return TreeOfFiles(*named);
  size_t current = static_cast<size_t>(state_ - states_.data());
  auto tree_of = [&](const std::string& chain_id) -> Result<SourceTree> {
    return SourceTree{TRY(views_.Open(chain_id)), chain_id, ""};
  };
  int stage = named != nullptr ? -1 : file_.FindStage(from, current);
  if (stage >= 0) return tree_of(states_[static_cast<size_t>(stage)].chain_id);
  bool number = named == nullptr && !from.empty() &&
                from.find_first_not_of("0123456789") == std::string::npos;
  if (number) {
    return InvalidArgument(
        "invalid from flag value {}: refers to current build stage or a later one", from);
  }
  if (named == nullptr && file_.FindStage(from, file_.stages.size()) >= 0) {
    const std::string& here = file_.stages[current].from.argument;
    return InvalidArgument(
        "cannot copy from stage \"{}\", it needs to be defined before current stage \"{}\"", from,
        here.empty() ? fmt::format("stage-{}", current) : here);
  }
  engine::NamedImage image =
      TRY_WITH(named != nullptr ? ImageOfContext(*named, "") : BaseImage(from, ""),
               "invalid from flag value {}", from);
  return tree_of(image.documents->top_chain_id);
}

Result<CopySource> Builder::FromHeredoc(const dockerfile::Heredoc& doc,
                                        const dockerfile::Expander& expander) {
  std::string content = doc.expands ? TRY(expander.Text(doc.content)) : doc.content;
  UniqueFd directory = TRY(context_.MakeDirectory(fmt::format("beside-{}", ++beside_)));
  std::string name = doc.name;
  std::replace(name.begin(), name.end(), '/', '_');
  UniqueFd file = TRY(kernel::OpenIn(directory, "file", O_WRONLY | O_CREAT | O_EXCL, 0644));
  TRY(WriteAll(file, content));
  CopySource source;
  source.hash = HexDigest(name + "\n" + content);
  source.parent = std::move(directory);
  source.name = "file";
  source.base = std::move(name);
  return source;
}

Result<GitTree> Builder::FetchRepository(const GitUrl& url) {
  TRY(CheckGitUrl(url));
  std::string name = fmt::format("beside-{}", ++beside_);
  TRY(context_.MakeDirectory(name));
  GitAccess access = TRY(FindGitAccess(request_, url));
  return FetchGit(url, context_.PathOf(name), access, stop_);
}

Result<CopySource> Builder::FromGit(const Instruction& in, const std::string& text,
                                    const std::string& checksum) {
  GitUrl url = TRY(ParseGitUrl(text));
  std::optional<bool> keeps = SwitchOf(in, "keep-git-dir");
  if (keeps && url.keeps_git_directory && *keeps != *url.keeps_git_directory) {
    return InvalidArgument("inconsistent keep-git-dir configuration");
  }
  if (keeps) url.keeps_git_directory = keeps;
  if (!checksum.empty() && !url.checksum.empty() && checksum != url.checksum) {
    return InvalidArgument("checksum mismatch \"{}\" != \"{}\"", checksum, url.checksum);
  }
  if (!checksum.empty()) url.checksum = checksum;
  GitTree tree = TRY(FetchRepository(url));
  FindRequest find;
  common_->materials.Add(MaterialOf(url, tree));
  find.root = tree.files;
  find.stop = stop_;
  CopySource source = TRY(FindSource(find, ""));
  // What git writes for itself is another each time.
  if (url.keeps_git_directory.value_or(false) || url.commit_times) source.hash = tree.key;
  return source;
}

Result<CopySource> Builder::Download(const Instruction& in, const std::string& url,
                                     const std::string& checksum) {
  std::optional<formats::Digest> wanted;
  if (!checksum.empty()) wanted = TRY(ParseChecksum(checksum));
  CopySource source;
  source.parent = TRY(context_.MakeDirectory(fmt::format("beside-{}", ++beside_)));
  source.name = "file";
  source.base = NameOfUrl(url);
  source.hash = TRY(DownloadFile(url, source.parent, source.name, stop_));
  if (wanted && wanted->hex() != source.hash) {
    return InvalidArgument("digest mismatch sha256:{}: {}", source.hash, wanted->text());
  }
  if (SwitchOf(in, "unpack").value_or(false)) {
    source.is_archive = TRY(IsArchive(source.parent, source.name));
  }
  common_->materials.Add({url, "sha256", source.hash});
  return source;
}

Result<std::vector<CopySource>> Builder::SourcesOf(const Instruction& in,
                                                   const dockerfile::Expander& expander) {
  FindRequest find;
  find.stop = stop_;
  find.finds_archives = in.kind == Kind::kAdd && SwitchOf(in, "unpack").value_or(true);
  find.root = context_.files();
  find.in_classic_words = !output_.step;
  find.missing =
      find.in_classic_words
          ? fmt::format("{} failed: file not found in build context or excluded by .dockerignore",
                        in.keyword)
          : std::string(
                "failed to calculate checksum of ref context: file not found in build context or "
                "excluded by .dockerignore");
  if (const dockerfile::Flag* from = in.FindFlag("from")) {
    find.root = TRY(TreeOf(from->value)).root;
    find.missing = find.in_classic_words
                       ? fmt::format("{} failed", in.keyword)
                       : fmt::format("failed to calculate checksum of ref {}", from->value);
  }
  std::string excludes;
  for (const dockerfile::Flag& flag : in.flags) {
    if (flag.name == "exclude") excludes += TRY(expander.Word(flag.value)) + "\n";
  }
  find.excludes = TRY_WITH(dockerfile::IgnoreList::Parse(excludes), "reading --exclude");
  bool with_parents = SwitchOf(in, "parents").value_or(false);
  std::string checksum = TRY(ChecksumOf(in, expander));
  std::vector<CopySource> sources;
  for (size_t i = 0; i + 1 < in.words.size(); ++i) {
    auto doc = std::find_if(in.heredocs.begin(), in.heredocs.end(),
                            [&](const auto& one) { return one.word == in.words[i]; });
    if (doc != in.heredocs.end()) {
      sources.push_back(TRY(FromHeredoc(*doc, expander)));
      continue;
    }
    std::string path = TRY(expander.Word(in.words[i]));
    if (in.kind == Kind::kAdd && IsGitUrl(path) && !path.starts_with("github.com/")) {
      sources.push_back(TRY_WITH(FromGit(in, path, checksum), "ADD failed"));
      continue;
    }
    if (in.kind == Kind::kAdd && IsUrl(path)) {
      TRY(Say(fmt::format("Downloading {}\n", path)));
      sources.push_back(TRY_WITH(Download(in, path, checksum), "ADD failed"));
      continue;
    }
    if (!checksum.empty()) return InvalidArgument("checksum requires HTTP(S) or Git sources");
    auto found = with_parents ? FindAllWithParents(find, path) : FindSources(find, path);
    for (CopySource& source : TRY(std::move(found))) sources.push_back(std::move(source));
  }
  if (sources.empty() && find.excludes.empty())
    return InvalidArgument("{} failed: no source files were specified", in.keyword);
  return sources;
}

Result<> Builder::Copy(const Instruction& in) {
  dockerfile::Expander expander = ExpanderOfStage();
  for (const dockerfile::Flag& flag : in.flags) {
    if (flag.name == "from" || flag.name == "chown" || flag.name == "chmod") continue;
    if (flag.name == "link") continue;  // it changes how a layer is made, not what is in it
    if (flag.name == "parents" || flag.name == "exclude" || flag.name == "checksum" ||
        flag.name == "keep-git-dir" || flag.name == "unpack") {
      continue;
    }
    return InvalidArgument("the --{} option requires BuildKit", flag.name);
  }
  std::string destination = DestinationOf(state_->config, TRY(expander.Word(in.words.back())));
  std::vector<CopySource> sources = TRY(SourcesOf(in, expander));
  // BuildKit's builds put what a wildcard has found into one place, as long as it is no file.
  bool one_file = !output_.step || in.words.size() > 2 ||
                  std::any_of(sources.begin(), sources.end(), [](const CopySource& source) {
                    return !source.is_directory && !source.is_archive;
                  });
  if (sources.size() > 1 && one_file && !destination.ends_with('/')) {
    return InvalidArgument(
        "When using {} with more than one source file, the destination must be "
        "a directory and end with a /",
        in.keyword);
  }
  for (const CopySource& source : sources) {
    if (source.base.empty() && !source.is_directory && destination.ends_with('/')) {
      return InvalidArgument("cannot determine filename for the source of ADD");
    }
  }
  const dockerfile::Flag* chown = in.FindFlag("chown");
  std::string owner = chown != nullptr ? TRY(expander.Word(chown->value)) : "";
  CopyRequest request;
  request.destination = destination;
  request.stop = stop_;
  request.workers = &engine_.workers();
  request.mode_is_of_parents = static_cast<bool>(output_.step);
  std::string mode;
  if (const dockerfile::Flag* chmod = in.FindFlag("chmod")) {
    mode = TRY(expander.Word(chmod->value));
    request.mode = TRY(ParseMode(mode));
  }
  std::string flags = owner.empty() ? "" : "--chown=" + owner + " ";
  if (request.mode) flags += "--chmod=" + mode + " ";
  std::string text =
      fmt::format("{} {}{} in {} ", in.keyword, flags, HashText(sources), destination);
  std::string created_by = "/bin/sh -c #(nop) " + text;
  // A file's own name decides where it goes, and ADD unpacks what COPY does not.
  std::string key = state_->cache_key + "\n" + text;
  for (const CopySource& source : sources) {
    key += fmt::format("\n{}{}", source.base, source.is_archive ? " unpacked" : "");
  }
  key = HexDigest(key);
  if (TRY(TakeCached(key, created_by))) return {};
  return ChangeFiles(key, created_by, [&](BorrowedFd root) -> Result<> {
    request.root = root;
    if (!owner.empty()) {
      request.owner = TRY(ParseOwner(root, owner));
      if (output_.step) request.unpacked_owner = request.owner;
    } else if (in.FindFlag("from") == nullptr) {
      request.owner = OwnerIds(0, 0);
    }
    return CopyInto(request, sources);
  });
}

}  // namespace gantry::build
