// SPDX-License-Identifier: Apache-2.0
//
// What a client asks of a build, and how it hears of it. Plain data.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "build/cache_transfer.h"
#include "build/stage_state.h"
#include "client/containerd.h"
#include "engine/config.h"

namespace gantry::build {

// What a name of FROM or --from means instead of a stage or image of that name.
struct NamedContext {
  enum class Kind : uint8_t { kImage, kDirectory, kLayout, kInput, kRemote };
  Kind kind = Kind::kImage;
  // The image's name, what the client calls its directory, "STORE@DIGEST" of an image layout, what
  // the client calls its input, or a URL: of a repository, or of a file that is called "context".
  std::string value;
  std::shared_ptr<const StageState> input;  // whose layers somebody else holds
};

struct BuildRequest {
  std::vector<std::string> names;  // of the image, in the store
  std::string dockerfile = "Dockerfile";
  std::string remote;  // a URL of the context; "": the request's body
  std::string target;  // a stage; "": the last one
  bool no_cache = false;
  std::vector<std::string> no_cache_stages;  // those that are made anew
  bool pull = false;                         // look for newer base images
  bool squash = false;                       // one layer of all that is put on the base
  bool keeps_containers = false;             // rm=0
  bool keeps_failed = true;                  // the container of a step that failed
  std::map<std::string, std::optional<std::string>> arguments;  // no value: as if not given
  // What "context" means as the value of SOURCE_DATE_EPOCH: seconds since 1970.
  std::optional<int64_t> context_time;
  std::map<std::string, std::string> labels;
  std::vector<std::string> cache_from;  // images; steps are taken from them alone
  // Of other machines, beside the engine's own cache.
  std::vector<std::shared_ptr<const CacheImport>> cache_imports;
  std::string platform;         // "os/arch", "" for the host's
  bool one_of_several = false;  // other platforms are built as well: progress names this one
  engine::HostConfig host;      // of the containers that run the steps
  std::string hostname;         // of these; "": each its own
  // By registry ("docker.io", "localhost:5000").
  std::map<std::string, client::Credentials> credentials;
  // Asked for the others, when it is set.
  std::function<Result<client::Credentials>(const std::string& registry)> find_login;
  // Of a client with a session; unset: RUN gets neither secrets nor agents. kNotFound for a name
  // that the client does not have.
  std::function<Result<std::string>(const std::string& id)> find_secret;
  std::function<Result<>(const std::string& id)> find_agent;
  // Hands who connects to the listener on to the client's agent, while the object lives.
  std::function<std::shared_ptr<void>(const std::string& id, UniqueFd listener)> serve_agent;
  // By name, without ":latest".
  std::map<std::string, NamedContext> contexts;
  // Receives a client's directory into an empty one.
  std::function<Result<>(const std::string& name, BorrowedFd root)> receive_directory;
  // A blob of one of the client's stores, piece by piece.
  std::function<Result<>(const std::string& store, const std::string& digest,
                         const std::function<Result<>(std::string_view piece)>& take)>
      read_blob;
  // What RUN may ask for; without a session the user of the socket is trusted with the network.
  bool allows_host_network = true;
  bool allows_insecure = false;
};

// A step that users see in BuildKit's progress: FROM, RUN, COPY, ADD, WORKDIR.
struct StepEvent {
  enum class Kind : uint8_t { kBegin, kCached, kEnd };
  Kind kind = Kind::kBegin;
  size_t number = 0;  // from 1 on, in one build; several may be under way
  std::string name;   // kBegin: "[stage 2/5] RUN make"
  std::string error;  // kEnd
};

struct BuildOutput {
  // What users of the classic builder read; a piece may be anything from a byte to many lines.
  std::function<Result<>(std::string_view text)> text;
  // What the command of a step writes.
  std::function<Result<>(size_t step, bool to_stderr, std::string_view text)> command;
  // A stage before the last one is made: for users of the classic builder.
  std::function<Result<>(const std::string& image_id)> stage;
  // May be empty: then stages are made one after the other, as users of the classic builder read
  // it; else several at a time, and all of these are called by any thread.
  std::function<void(const StepEvent& event)> step;
  // Of the pull of an image, whose name is told before, for a step.
  std::function<client::ProgressCallback(size_t step, const std::string& name)> pull;
};

// How a build ended.
struct BuildEnd {
  std::string image_id;
  // A step's command ended with this; image_id is empty then.
  int exit_code = 0;
  std::string command;
  std::string failure;  // in the classic builder's words
};
// In BuildKit's words.
inline std::string ProcessFailure(const BuildEnd& end) {
  return fmt::format("process \"{}\" did not complete successfully: exit code: {}", end.command,
                     end.exit_code);
}

}  // namespace gantry::build
