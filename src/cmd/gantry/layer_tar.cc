// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/layer_tar.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/io.h"
#include "formats/base64.h"
#include "formats/json.h"
#include "kernel/paths.h"
#include "kernel/spawn.h"

namespace gantry::cli {
namespace {

using formats::Json;

constexpr int kFile = 1;
constexpr int kBytes = 2;
// A line is about 700 bytes: enough for a layer of a million files.
constexpr size_t kMaxSplit = size_t{1} << 30;

// gzip is on every host; linking a library for it would cost each start of the program.
Result<std::string> Unzip(const std::string& path) {
  UniqueFd file = TRY(OpenFile(path, O_RDONLY));
  UniqueFd nobody = TRY(OpenFile("/dev/null", O_WRONLY));
  kernel::SpawnOptions options;
  options.program = TRY(kernel::FindInPath("gzip"));
  options.args = {"gzip", "-dc"};
  options.fds = {{file.get(), 0}, {nobody.get(), 2}};
  kernel::ProgramOutput output =
      TRY_WITH(kernel::SpawnAndRead(std::move(options), kernel::Captured::kOutput, kMaxSplit),
               "running gzip");
  if (output.status.ShellCode() != 0) return InvalidArgument("'{}' is no gzip file", path);
  return std::move(output.text);
}

template <typename Take>
Result<> ForEachEntry(std::string_view text, const Take& take) {
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty()) continue;
    TRY(take(TRY(Json::Parse(line))));
  }
  return {};
}

// One that is no UTF-8 is kept beside, in base64.
Result<std::string> NameOf(const Json& entry) {
  const std::string& name = entry["name"].AsString();
  return name.empty() ? formats::DecodeBase64(entry["name_raw"].AsString()) : name;
}

// Names are an archive's: they don't leave the layer's directory, nor does a link in it.
Result<> WriteFileTo(BorrowedFd directory, const std::string& name, uint64_t size, ByteSink& sink) {
  UniqueFd file = TRY(kernel::OpenIn(directory, name, O_RDONLY | O_NOFOLLOW));
  std::string buffer(256 * 1024, '\0');
  for (uint64_t left = size; left > 0;) {
    size_t wanted = static_cast<size_t>(std::min<uint64_t>(left, buffer.size()));
    size_t got = TRY(ReadSome(file, buffer.data(), wanted));
    if (got == 0) return FailedPrecondition("'{}' is shorter than it was", name);
    TRY(sink.Write(std::string_view(buffer).substr(0, got)));
    left -= got;
  }
  return {};
}

}  // namespace

Result<LayerTar> LayerTar::Open(const std::string& split, std::string files) {
  LayerTar layer;
  layer.files_ = std::move(files);
  layer.split_ = TRY(Unzip(split));
  TRY_WITH(ForEachEntry(layer.split_,
                        [&](const Json& entry) -> Result<> {
                          if (entry["type"].AsInt() == kBytes) {
                            layer.size_ +=
                                TRY(formats::DecodeBase64(entry["payload"].AsString())).size();
                          } else {
                            layer.size_ += entry["size"].AsUint();
                          }
                          return {};
                        }),
           "reading '{}'", split);
  return layer;
}

Result<> LayerTar::Check() const {
  UniqueFd directory = TRY(kernel::OpenRoot(files_));
  return ForEachEntry(split_, [&](const Json& entry) -> Result<> {
    uint64_t size = entry["size"].AsUint();
    if (entry["type"].AsInt() != kFile || size == 0) return {};
    std::string name = TRY(NameOf(entry));
    struct stat info{};
    auto look = [&]() -> Result<> {
      UniqueFd file = TRY(kernel::OpenIn(directory, name, O_PATH | O_NOFOLLOW));
      if (::fstat(file.get(), &info) < 0) return ErrnoError("looking at it");
      return {};
    };
    TRY_WITH(look(), "reading '{}/{}'", files_, name);
    if (static_cast<uint64_t>(info.st_size) >= size) return {};
    return FailedPrecondition("'{}/{}' is shorter than it was", files_, name);
  });
}

Result<> LayerTar::WriteTo(ByteSink& sink) const {
  UniqueFd directory = TRY(kernel::OpenRoot(files_));
  return ForEachEntry(split_, [&](const Json& entry) -> Result<> {
    int64_t type = entry["type"].AsInt();
    if (type == kBytes) return sink.Write(TRY(formats::DecodeBase64(entry["payload"].AsString())));
    uint64_t size = entry["size"].AsUint();
    if (type != kFile || size == 0) return {};
    std::string name = TRY(NameOf(entry));
    TRY_WITH(WriteFileTo(directory, name, size, sink), "reading '{}/{}'", files_, name);
    return {};
  });
}

}  // namespace gantry::cli
