// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/mount_spec.h"

#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "base/text.h"
#include "cmd/gantry/flags.h"
#include "formats/human_units.h"

namespace gantry::cli {
namespace {

using formats::Json;

// Joins a relative path to the working directory and takes out "." and "..", by text alone.
Result<std::string> AbsolutePath(const std::string& path) {
  std::string full = path;
  if (path.empty() || path[0] != '/') {
    char buffer[PATH_MAX];
    if (::getcwd(buffer, sizeof buffer) == nullptr) {
      return ErrnoError("reading the working directory");
    }
    full = std::string(buffer) + "/" + path;
  }
  std::string out;
  std::string_view rest = full;
  while (!rest.empty()) {
    size_t slash = rest.find('/');
    std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      out.resize(out.find_last_of('/') == std::string::npos ? 0 : out.find_last_of('/'));
    } else {
      out.append("/").append(part);
    }
  }
  return out.empty() ? std::string("/") : out;
}

// "key=value" of driver options and labels into an object.
void SetPair(const std::string& pair, Json* object) {
  size_t equals = pair.find('=');
  object->Set(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
}

// One field of --mount that has a value.
Result<> SetMountField(const std::string& key, const std::string& value, const std::string& field,
                       Json* mount) {
  auto boolean = [&]() -> Result<bool> {
    Result<bool> parsed = ParseBoolean(value);
    if (!parsed.ok()) return InvalidArgument("invalid value for {}: {}", key, value);
    return parsed;
  };
  if (key == "type") {
    mount->Set("Type", value);
  } else if (key == "source" || key == "src") {
    mount->Set("Source", value);
  } else if (key == "target" || key == "dst" || key == "destination") {
    mount->Set("Target", value);
  } else if (key == "readonly" || key == "ro") {
    mount->Set("ReadOnly", TRY(boolean()));
  } else if (key == "consistency") {
    mount->Set("Consistency", value);
  } else if (key == "bind-propagation") {
    mount->MutableMember("BindOptions").Set("Propagation", value);
  } else if (key == "bind-nonrecursive") {
    mount->MutableMember("BindOptions").Set("NonRecursive", TRY(boolean()));
  } else if (key == "bind-recursive") {
    Json& options = mount->MutableMember("BindOptions");
    if (value == "disabled") {
      options.Set("NonRecursive", true);
    } else if (value == "writable") {
      options.Set("ReadOnlyNonRecursive", true);
    } else if (value == "readonly") {
      options.Set("ReadOnlyForceRecursive", true);
    } else if (value != "enabled") {
      return InvalidArgument(
          "invalid value for {}: {} (must be \"enabled\", \"disabled\", \"writable\", or "
          "\"readonly\")",
          key, value);
    }
  } else if (key == "bind-create-src") {
    mount->MutableMember("BindOptions").Set("CreateMountpoint", TRY(boolean()));
  } else if (key == "volume-nocopy") {
    mount->MutableMember("VolumeOptions").Set("NoCopy", TRY(boolean()));
  } else if (key == "volume-subpath") {
    mount->MutableMember("VolumeOptions").Set("Subpath", value);
  } else if (key == "volume-label") {
    SetPair(value, &mount->MutableMember("VolumeOptions").MutableMember("Labels"));
  } else if (key == "volume-driver") {
    mount->MutableMember("VolumeOptions").MutableMember("DriverConfig").Set("Name", value);
  } else if (key == "volume-opt") {
    SetPair(value, &mount->MutableMember("VolumeOptions")
                        .MutableMember("DriverConfig")
                        .MutableMember("Options"));
  } else if (key == "image-subpath") {
    mount->MutableMember("ImageOptions").Set("Subpath", value);
  } else if (key == "tmpfs-size") {
    Result<int64_t> size = formats::ParseBinarySize(value);
    if (!size.ok()) return InvalidArgument("invalid value for {}: {}", key, value);
    mount->MutableMember("TmpfsOptions").Set("SizeBytes", *size);
  } else if (key == "tmpfs-mode") {
    char* end = nullptr;
    unsigned long mode = std::strtoul(value.c_str(), &end, 8);
    if (value.empty() || *end != '\0') {
      return InvalidArgument("invalid value for {}: {}", key, value);
    }
    mount->MutableMember("TmpfsOptions").Set("Mode", static_cast<int64_t>(mode));
  } else {
    return InvalidArgument("unknown option '{}' in '{}'", key, field);
  }
  return {};
}

}  // namespace

Result<> AddVolume(const std::string& spec, Json* volumes, Json* binds) {
  size_t colon = spec.find(':');
  if (spec.empty()) return InvalidArgument("invalid empty volume spec");
  if (colon == 0) return InvalidArgument("invalid spec: {}: empty section between colons", spec);
  if (colon == std::string::npos) {
    volumes->Set(spec, Json::MakeObject());
    return {};
  }
  std::string source = spec.substr(0, colon);
  if (source[0] == '.') source = TRY(AbsolutePath(source));
  binds->Append(source + spec.substr(colon));
  return {};
}

Result<std::vector<std::string>> SplitCsv(std::string_view line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quoted) {
      if (c != '"') {
        fields.back().push_back(c);
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        fields.back().push_back('"');
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (c == '"') {
      return InvalidArgument("parse error on line 1, column {}: bare \" in non-quoted-field",
                             i + 1);
    } else if (c == ',') {
      fields.emplace_back();
    } else {
      fields.back().push_back(c);
    }
  }
  if (quoted) {
    return InvalidArgument(
        "parse error on line 1, column {}: extraneous or missing \" in "
        "quoted-field",
        line.size() + 1);
  }
  return fields;
}

Result<Json> ParseMount(const std::string& spec) {
  if (spec.empty()) return InvalidArgument("value is empty");
  Json mount = Json::MakeObject({{"Type", "volume"}});
  for (const std::string& field : TRY(SplitCsv(spec))) {
    size_t equals = field.find('=');
    std::string key = Lower(field.substr(0, equals));
    if (equals == std::string::npos) {
      if (key == "readonly" || key == "ro") {
        mount.Set("ReadOnly", true);
      } else if (key == "volume-nocopy") {
        mount.MutableMember("VolumeOptions").Set("NoCopy", true);
      } else if (key == "bind-nonrecursive") {
        mount.MutableMember("BindOptions").Set("NonRecursive", true);
      } else if (key == "bind-create-src") {
        mount.MutableMember("BindOptions").Set("CreateMountpoint", true);
      } else {
        return InvalidArgument("invalid field '{}' must be a key=value pair", field);
      }
      continue;
    }
    TRY(SetMountField(key, field.substr(equals + 1), field, &mount));
  }
  const std::string& type = mount["Type"].AsString();
  if (type.empty()) return InvalidArgument("type is required");
  if (mount["Target"].AsString().empty()) return InvalidArgument("target is required");
  if (type == "bind" && !mount["Source"].AsString().empty()) {
    mount.Set("Source", TRY(AbsolutePath(mount["Source"].AsString())));
  }
  for (auto [options, owner] :
       {std::pair("BindOptions", "bind"), std::pair("VolumeOptions", "volume"),
        std::pair("ImageOptions", "image"), std::pair("TmpfsOptions", "tmpfs")}) {
    if (mount.Find(options) != nullptr && type != owner) {
      return InvalidArgument("cannot mix '{}-*' options with mount type '{}'", owner, type);
    }
  }
  return mount;
}

}  // namespace gantry::cli
