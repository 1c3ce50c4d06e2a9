// SPDX-License-Identifier: Apache-2.0
//
// gantry cp: files out of a container and into one. What comes out may be hostile: it is extracted
// by descriptors below the destination, as the engine does.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/io.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/copy_paths.h"
#include "cmd/gantry/output.h"
#include "formats/base64.h"
#include "formats/human_units.h"
#include "kernel/terminal.h"
#include "trees/archive_tree.h"
#include "trees/extract_tree.h"

namespace gantry::cli {
namespace {

// Go's os.FileMode.
constexpr uint64_t kModeDirectory = uint64_t{1} << 31;
constexpr uint64_t kModeSymlink = uint64_t{1} << 27;
constexpr uint64_t kModeDevice = uint64_t{1} << 26;
constexpr uint64_t kModeOdd = uint64_t{0xf} << 24 | uint64_t{1} << 21 | uint64_t{1} << 19;

struct Copy {
  std::string container;
  std::string source;
  std::string destination;
  bool follow = false;
  bool archive = false;
  bool quiet = false;
};

struct RemoteStat {
  uint64_t mode = 0;
  int64_t size = 0;
  std::string link_target;
};

Result<RemoteStat> ReadStat(const wire::HttpHeaders& headers) {
  std::string text = TRY_WITH(formats::DecodeBase64(headers.Get("X-Docker-Container-Path-Stat")),
                              "unable to decode container path stat header");
  Json json = TRY_WITH(Json::Parse(text), "unable to decode container path stat header");
  return RemoteStat{json["mode"].AsUint(), json["size"].AsInt(), json["linkTarget"].AsString()};
}

ApiRequest PathRequest(const char* method, const Copy& copy, const std::string& path) {
  ApiRequest request;
  request.method = method;
  request.path = ContainerPath(copy.container, "/archive");
  request.query.Add("path", path);
  return request;
}

Result<RemoteStat> StatPath(Api* api, const Copy& copy, const std::string& path) {
  return ReadStat(TRY(api->Call(PathRequest("HEAD", copy, path))).headers);
}

class BodySource : public ByteSource {
 public:
  explicit BodySource(wire::HttpConnection& connection) : connection_(connection) {}
  Result<std::string_view> Next() override {
    std::string_view piece = TRY(connection_.ReadBody());
    bytes_ += static_cast<int64_t>(piece.size());
    return piece;
  }
  int64_t bytes() const { return bytes_; }

 private:
  wire::HttpConnection& connection_;
  int64_t bytes_ = 0;
};

// Counts what goes by; the reader may have gone, which its answer will explain.
class PipeSink : public ByteSink {
 public:
  explicit PipeSink(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  Result<> Write(std::string_view data) override {
    bytes_ += static_cast<int64_t>(data.size());
    return WriteAll(pipe_, data);
  }
  void Close() { pipe_.Reset(); }
  int64_t bytes() const { return bytes_; }

 private:
  UniqueFd pipe_;
  int64_t bytes_ = 0;
};

void PrintSummary(const Copy& copy, int64_t content, int64_t transferred, const std::string& to) {
  if (copy.quiet) return;
  auto size = [](int64_t bytes) { return formats::HumanSize(static_cast<double>(bytes)); };
  if (content == transferred) {
    PrintError("Successfully copied {} to {}\n", size(content), to);
  } else {
    PrintError("Successfully copied {} (transferred {}) to {}\n", size(content), size(transferred),
               to);
  }
}

Result<int> CopyFromContainer(Api* api, Copy copy) {
  std::string target = copy.destination;
  if (target != "-") target = TRY(LocalPath(target));
  TRY(CheckOutputPath(target));
  CopyPlace source{copy.source, true, false, ""};
  if (copy.follow) {
    Result<RemoteStat> stat = StatPath(api, copy, copy.source);
    if (stat.ok() && (stat->mode & kModeSymlink) != 0) {
      source = KeepAskedName(copy.source, FollowOnce(copy.source, stat->link_target));
    }
  }
  ApiStream stream = TRY(api->Open(PathRequest("GET", copy, source.path)));
  if (target == "-") {
    for (;;) {
      std::string_view piece = TRY(stream.connection.ReadBody());
      if (piece.empty()) return 0;
      TRY_WITH(WriteAll(BorrowedFd(STDOUT_FILENO), piece), "writing the archive");
    }
  }
  RemoteStat stat = TRY(ReadStat(stream.head.headers));
  source.is_directory = (stat.mode & kModeDirectory) != 0;
  CopyPlan plan = TRY(PlanCopy(source, TRY(FindLocalDestination(target))));
  // The archive has the source's own name; what it is asked to be called comes first.
  CopyPlan own = plan;
  own.old_name = SplitDirectory(source.path).second;
  Result<UniqueFd> directory = OpenFile(plan.directory, O_PATH | O_DIRECTORY);
  if (!directory.ok()) {
    return ErrnoErrorOf(directory.error().error_number(), "open " + plan.directory);
  }
  BodySource body(stream.connection);
  trees::EntryMaker::Options options;
  options.root = *directory;
  options.links = kernel::Links::kBeneath;
  options.owners = trees::Owners::kOfCaller;
  options.keeps_kinds = true;
  options.rename = [&](std::string name) { return Renamed(own, std::move(name)); };
  TRY(trees::ExtractTree(std::move(options), body));
  PrintSummary(copy, source.is_directory ? body.bytes() : stat.size, body.bytes(), target);
  return 0;
}

// Where the container's path leads, and what is there; what is not there is no error yet.
Result<CopyPlace> FindRemoteDestination(Api* api, const Copy& copy) {
  CopyPlace place{copy.destination, false, false, ""};
  Result<RemoteStat> stat = StatPath(api, copy, copy.destination);
  if (stat.ok() && (stat->mode & kModeSymlink) != 0) {
    place.path = FollowOnce(copy.destination, stat->link_target);
    stat = StatPath(api, copy, place.path);
  }
  if (!stat.ok()) return place;
  if ((stat->mode & kModeOdd) != 0) {
    return InvalidArgument("destination \"{}:{}\" must be a directory or a regular file: got {}",
                           copy.container, copy.destination,
                           (stat->mode & kModeDevice) != 0 ? "a device" : "an irregular file");
  }
  place.exists = true;
  place.is_directory = (stat->mode & kModeDirectory) != 0;
  return place;
}

Result<> WriteArchive(const CopyPlace& source, const std::string& name, ByteSink& sink) {
  trees::ArchiveRequest request;
  request.name = name;
  if (source.is_directory) {
    UniqueFd directory = TRY(OpenFile(source.path, O_RDONLY | O_DIRECTORY));
    return trees::ArchiveDirectory(directory, request, sink);
  }
  auto [parent, base] = SplitDirectory(source.path);
  UniqueFd directory = TRY(OpenFile(parent, O_PATH | O_DIRECTORY));
  return trees::ArchiveFile(directory, base, request, sink);
}

ApiRequest UploadRequest(const Copy& copy, const std::string& directory) {
  ApiRequest request = PathRequest("PUT", copy, directory);
  request.query.Add("noOverwriteDirNonDir", "true");
  if (copy.archive) request.query.Add("copyUIDGID", "true");
  return request;
}

Result<int> CopyToContainer(Api* api, Copy copy) {
  if (copy.source == "-") {
    CopyPlace place = TRY(FindRemoteDestination(api, copy));
    if (!place.is_directory) {
      return InvalidArgument("destination \"{}:{}\" must be a directory", copy.container,
                             copy.destination);
    }
    TRY(api->Upload(UploadRequest(copy, place.path), BorrowedFd(STDIN_FILENO),
                    "application/x-tar"));
    return 0;
  }
  std::string path = TRY(LocalPath(copy.source));
  if (copy.destination.empty()) return InvalidArgument("no such directory");
  CopyPlace place = TRY(FindRemoteDestination(api, copy));
  CopyPlace source = TRY(FindLocalSource(path, copy.follow));
  CopyPlan plan = TRY(PlanCopy(source, place));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoError("making a pipe");
  UniqueFd read_end(ends[0]);
  PipeSink sink{UniqueFd(ends[1])};
  Result<> written;
  std::thread writer([&] {
    written = WriteArchive(source, plan.new_name, sink);
    sink.Close();
  });
  Result<ApiStream> sent =
      api->Upload(UploadRequest(copy, plan.directory), read_end, "application/x-tar");
  read_end.Reset();  // ends a writer whose archive nobody wants
  writer.join();
  if (!sent.ok()) return std::move(sent).error();
  TRY(written);
  struct stat status{};
  bool file = !source.is_directory && ::lstat(source.path.c_str(), &status) == 0;
  PrintSummary(copy, file ? status.st_size : sink.bytes(), sink.bytes(),
               copy.container + ":" + plan.directory);
  return 0;
}

}  // namespace

Result<int> CpCommand(Cli& cli, Invocation& call) {
  Copy copy;
  call.flags.Bool("archive", 'a', &copy.archive, "Keep users and groups");
  call.flags.Bool("follow-link", 'L', &copy.follow, "Follow a symbolic link in the source");
  call.flags.Bool("quiet", 'q', &copy.quiet, "Say nothing about what was copied");
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  if (!call.flags.Changed("quiet")) copy.quiet = !kernel::IsTerminal(BorrowedFd(STDOUT_FILENO));
  if (call.args()[0].empty()) return InvalidArgument("source can not be empty");
  if (call.args()[1].empty()) return InvalidArgument("destination can not be empty");
  CopyArgument from = SplitCopyArgument(call.args()[0]);
  CopyArgument to = SplitCopyArgument(call.args()[1]);
  if (!from.container.empty() && !to.container.empty()) {
    return InvalidArgument("copying between containers is not supported");
  }
  if (from.container.empty() && to.container.empty()) {
    return InvalidArgument("must specify at least one container source");
  }
  copy.container = from.container + to.container;
  copy.source = from.path;
  copy.destination = to.path;
  ::signal(SIGPIPE, SIG_IGN);
  Api* api = TRY(cli.Connect());
  return from.container.empty() ? CopyToContainer(api, std::move(copy))
                                : CopyFromContainer(api, std::move(copy));
}

}  // namespace gantry::cli
