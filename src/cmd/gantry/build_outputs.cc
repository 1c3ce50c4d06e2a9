// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/build_outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/io.h"
#include "base/text.h"
#include "cmd/gantry/mount_spec.h"
#include "kernel/terminal.h"

namespace gantry::cli {
namespace {

using build_client::ResultTarget;
using Exporter = plain::moby::buildkit::v1::Exporter;

constexpr size_t kMostSecretBytes = size_t{500} << 10;

using Fields = std::map<std::string, std::string>;

// Fields of one value, "key=value" each; `lone`: the key of a value without one.
Result<Fields> ParseFields(const std::string& text, const std::string& lone) {
  Fields fields;
  std::vector<std::string> parts = TRY(SplitCsv(text));
  if (!lone.empty() && parts.size() == 1 && parts[0] == text &&
      text.find('=') == std::string::npos) {
    fields[lone] = text;
    return fields;
  }
  for (const std::string& part : parts) {
    size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return InvalidArgument("invalid value {}: expected \"key=value\"", part);
    }
    fields[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return fields;
}

std::string Take(Fields* fields, const std::string& key) {
  auto found = fields->find(key);
  if (found == fields->end()) return "";
  std::string value = std::move(found->second);
  fields->erase(found);
  return value;
}

std::string JoinedTags(const std::vector<std::string>& tags) {
  std::string out;
  for (const std::string& tag : tags) out += (out.empty() ? "" : ",") + tag;
  return out;
}

Result<> CheckStandardOutput(const std::string& type) {
  if (!kernel::IsTerminal(BorrowedFd(STDOUT_FILENO))) return {};
  return InvalidArgument("dest file is required for {} exporter. refusing to write to console",
                         type);
}

// One --output; where its result goes, unless the engine keeps it.
Result<std::optional<ResultTarget>> ParseOutput(const std::string& text, Exporter* exporter) {
  Fields fields;
  if (text == "-") {
    fields = {{"type", "tar"}, {"dest", "-"}};
  } else {
    fields = TRY_WITH(ParseFields(text, "dest"), "invalid output \"{}\"", text);
    if (!fields.contains("type") && fields.contains("dest")) fields["type"] = "local";
  }
  std::string type = Take(&fields, "type");
  if (type.empty()) return InvalidArgument("type is required for output \"{}\"", text);
  if (type == "registry") {
    type = "image";
    fields.try_emplace("push", "true");
  }
  exporter->Type = type;
  bool is_directory = type == "local";
  bool is_file = type == "tar" || type == "oci" || (type == "docker" && fields.contains("dest"));
  std::string dest = Take(&fields, "dest");
  exporter->Attrs = std::move(fields);
  if (type == "docker" && !is_file) exporter->Type = "moby";
  if (is_directory) {
    if (dest.empty() || dest == "-") {
      return InvalidArgument("dest is required for local exporter");
    }
    return std::optional(ResultTarget{ResultTarget::Kind::kDirectory, dest});
  }
  if (is_file) {
    if (dest.empty()) dest = "-";
    if (dest == "-") TRY(CheckStandardOutput(type));
    struct stat status;
    if (::stat(dest.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      return InvalidArgument("destination file \"{}\" is a directory", dest);
    }
    return std::optional(ResultTarget{ResultTarget::Kind::kFile, dest});
  }
  if (!dest.empty()) return InvalidArgument("the exporter {} has no dest", type);
  return std::optional<ResultTarget>();
}

// "[TYPE[,TYPE…]:]NAME=value" as attributes of an exporter, "annotation-TYPE.NAME". A type may have
// a platform, "manifest[linux/amd64]". Without one it is the manifest's.
Result<> ReadAnnotation(const std::string& text, Fields* attributes) {
  size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return InvalidArgument("invalid annotation \"{}\": expected \"NAME=value\"", text);
  }
  std::string name = text.substr(0, equals);
  std::string types = "manifest";
  size_t colon = name.find(':');
  if (colon != std::string::npos) {
    types = name.substr(0, colon);
    name.erase(0, colon + 1);
  }
  if (name.empty()) return InvalidArgument("invalid annotation \"{}\": it has no name", text);
  for (const std::string& type : SplitWords(types, ",")) {
    static constexpr std::string_view kKnown[] = {"manifest", "manifest-descriptor", "index",
                                                  "index-descriptor"};
    std::string_view kind = std::string_view(type).substr(0, type.find('['));
    if (std::find(std::begin(kKnown), std::end(kKnown), kind) == std::end(kKnown)) {
      return InvalidArgument("invalid annotation \"{}\": unknown type \"{}\"", text, type);
    }
    (*attributes)["annotation-" + type + "." + name] = text.substr(equals + 1);
  }
  return {};
}

}  // namespace

Result<BuildOutputs> ParseBuildOutputs(const BuildFlags& flags) {
  BuildOutputs out;
  Fields annotations;
  for (const std::string& text : flags.annotations) TRY(ReadAnnotation(text, &annotations));
  for (const std::string& text : flags.outputs) {
    Exporter& exporter = out.exporters.emplace_back();
    auto target = TRY(ParseOutput(text, &exporter));
    if (target) out.targets[static_cast<int>(out.exporters.size()) - 1] = *std::move(target);
  }
  auto store = [](const Exporter& one) { return one.Type == "moby" || one.Type == "image"; };
  bool stores = std::any_of(out.exporters.begin(), out.exporters.end(), store);
  if (!stores && (out.exporters.empty() || flags.load || flags.push)) {
    out.exporters.emplace_back().Type = "moby";
  }
  for (Exporter& exporter : out.exporters) {
    if (flags.push && store(exporter)) exporter.Attrs["push"] = "true";
    bool names = exporter.Type != "local" && exporter.Type != "tar";
    if (names && !flags.tags.empty()) exporter.Attrs.try_emplace("name", JoinedTags(flags.tags));
    if (names) exporter.Attrs.insert(annotations.begin(), annotations.end());
    bool pushes = exporter.Attrs.contains("push") && exporter.Attrs["push"] != "false";
    if (pushes && !exporter.Attrs.contains("name")) {
      return InvalidArgument("tag is needed when pushing to registry");
    }
  }
  return out;
}

Result<std::pair<std::string, SecretReader>> ParseBuildSecret(const std::string& text) {
  Fields fields = TRY_WITH(ParseFields(text, ""), "invalid secret \"{}\"", text);
  std::string id = Take(&fields, "id");
  std::string type = Take(&fields, "type");
  std::string file = Take(&fields, "src");
  if (file.empty()) file = Take(&fields, "source");
  std::string variable = Take(&fields, "env");
  if (!fields.empty()) {
    return InvalidArgument("invalid secret \"{}\": unexpected key '{}'", text,
                           fields.begin()->first);
  }
  if (!type.empty() && type != "file" && type != "env") {
    return InvalidArgument("invalid secret \"{}\": unsupported secret type \"{}\"", text, type);
  }
  if (id.empty()) return InvalidArgument("invalid secret \"{}\": secret missing ID", text);
  if (type == "env" && variable.empty()) variable = file.empty() ? id : file;
  // Without a source a variable of that name comes before a file.
  if (type.empty() && variable.empty() && file.empty() && ::getenv(id.c_str()) != nullptr) {
    variable = id;
  }
  if (!variable.empty()) {
    const char* value = ::getenv(variable.c_str());
    if (value == nullptr) {
      return NotFound("secret {}: the environment has no variable {}", id, variable);
    }
    return std::pair(
        id, SecretReader([value = std::string(value)]() -> Result<std::string> { return value; }));
  }
  if (file.empty()) file = id;
  TRY_WITH(OpenFile(file, O_RDONLY), "secret {}", id);
  return std::pair(id, SecretReader([file, id]() -> Result<std::string> {
                     return TRY_WITH(ReadFile(file, kMostSecretBytes), "secret {}", id);
                   }));
}

Result<std::pair<std::string, std::string>> ParseBuildAgent(const std::string& text) {
  size_t equals = text.find('=');
  std::string id = text.substr(0, equals);
  std::string socket = equals == std::string::npos ? "" : text.substr(equals + 1);
  if (id.empty()) return InvalidArgument("invalid ssh agent \"{}\": it has no name", text);
  if (socket.empty()) {
    const char* variable = ::getenv("SSH_AUTH_SOCK");
    if (variable == nullptr || *variable == '\0') {
      return InvalidArgument("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set");
    }
    socket = variable;
  }
  struct stat status;
  if (::stat(socket.c_str(), &status) != 0) return ErrnoError("ssh agent {}: '{}'", id, socket);
  if (!S_ISSOCK(status.st_mode)) {
    return InvalidArgument("ssh agent {}: '{}' is no agent's socket (add keys to an agent)", id,
                           socket);
  }
  return std::pair(std::move(id), std::move(socket));
}

Result<plain::moby::buildkit::v1::CacheOptionsEntry> ParseBuildCache(const std::string& text) {
  plain::moby::buildkit::v1::CacheOptionsEntry entry;
  if (text.find('=') == std::string::npos) {
    entry.Type = "registry";
    entry.Attrs["ref"] = text;
    return entry;
  }
  entry.Attrs = TRY_WITH(ParseFields(text, ""), "invalid cache \"{}\"", text);
  entry.Type = Take(&entry.Attrs, "type");
  if (entry.Type.empty()) return InvalidArgument("the cache \"{}\" has no type", text);
  return entry;
}

}  // namespace gantry::cli
