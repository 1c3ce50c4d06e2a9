// SPDX-License-Identifier: Apache-2.0
#include "buildkit/definitions.h"

#include <algorithm>
#include <utility>

#include "build/finish.h"
#include "buildkit/cache_options.h"
#include "buildkit/progress.h"
#include "buildkit/source_places.h"
#include "engine/config.h"
#include "formats/digest.h"
#include "formats/json.h"
#include "llb/graph.h"

namespace gantry::buildkit {
namespace {

using formats::Json;

// Operations to the steps of progress, while a definition runs.
void ShowSteps(Progress& progress, llb::Environment* out) {
  auto steps = std::make_shared<std::map<std::string, size_t>>();
  out->begin = [steps, &progress](const llb::Vertex& vertex) {
    (*steps)[vertex.digest] = progress.Begin(vertex.name, vertex.digest);
  };
  out->cached = [steps, &progress](const llb::Vertex& vertex) {
    progress.Cached((*steps)[vertex.digest]);
  };
  out->log = [steps, &progress](const llb::Vertex& vertex, bool to_stderr, std::string_view text) {
    progress.Log((*steps)[vertex.digest], to_stderr, text);
  };
  out->pull = [steps, &progress](const llb::Vertex& vertex) -> client::ProgressCallback {
    return [step = (*steps)[vertex.digest], &progress](const client::Progress& part) {
      bool done = part.event == "complete" || part.event == "already exists";
      progress.Part(step, part.name, part.progress, part.total, done);
    };
  };
  out->end = [steps, &progress](const llb::Vertex& vertex, const std::string& error) {
    progress.End((*steps)[vertex.digest], error);
  };
}

void AddOnce(const std::string& one, std::vector<std::string>* out) {
  if (std::find(out->begin(), out->end(), one) == out->end()) out->push_back(one);
}

// All but the materials.
MadeFrom FromGraph(const llb::Graph& graph) {
  constexpr std::string_view kLocal = "local://";
  MadeFrom out;
  for (const llb::Vertex& vertex : graph.vertices) {
    const pb::Op& op = vertex.op;
    const std::string& identifier = op.source().identifier();
    if (op.has_source() && identifier.starts_with(kLocal)) {
      AddOnce(identifier.substr(kLocal.size()), &out.directories);
    }
    if (!op.has_exec()) continue;
    out.uses_network |= op.exec().network() != pb::NONE;
    for (const pb::Mount& mount : op.exec().mounts()) {
      if (mount.has_secretopt()) AddOnce(mount.secretopt().id(), &out.secrets);
      if (mount.has_sshopt()) AddOnce(mount.sshopt().id(), &out.agents);
    }
    for (const pb::SecretEnv& secret : op.exec().secretenv()) AddOnce(secret.id(), &out.secrets);
  }
  return out;
}

}  // namespace

void AskSession(const std::shared_ptr<Session>& session, const StopToken& stop,
                build::BuildRequest* request) {
  request->find_login = [session, stop](const std::string& registry) {
    return session->FindLogin(registry, stop);
  };
  request->read_blob = [session, stop](
                           const std::string& store, const std::string& digest,
                           const std::function<Result<>(std::string_view piece)>& take) {
    return session->ReadBlob({store, digest}, take, stop);
  };
  request->find_secret = [session, stop](const std::string& id) {
    return session->Secret(id, stop);
  };
  request->find_agent = [session, stop](const std::string& id) {
    return session->FindAgent(id, stop);
  };
  request->serve_agent = [session](const std::string& id, UniqueFd listener) {
    return session->ServeAgent(id, std::move(listener));
  };
}

Result<std::unique_ptr<Made>> SolveDefinition(Shared& shared, Job& job,
                                              const pb::Definition& definition,
                                              const StopToken& stop, ErrorDetails* details) {
  llb::Graph graph = TRY(llb::ReadGraph(definition));
  llb::Environment environment;
  const std::set<std::string>& entitled = job.wanted().entitlements;
  environment.request.allows_host_network = entitled.contains("network.host");
  environment.request.allows_insecure = entitled.contains("security.insecure");
  if (!job.wanted().session.empty()) {
    auto session = TRY(shared.sessions.Find(job.wanted().session, kBeginBound));
    AskSession(session, stop, &environment.request);
    environment.request.cache_imports = TRY(ImportCaches(shared.engine, job, session, stop));
    environment.receive = [session, stop](const llb::LocalSource& source,
                                          BorrowedFd root) -> Result<> {
      TRY(session->Receive({.name = source.name,
                            .excludes = source.excludes,
                            .followed = source.followed,
                            .includes = source.includes},
                           root, stop));
      return {};
    };
  }
  environment.find_result = [&shared](const std::string& name) {
    return shared.jobs.FindResult(name);
  };
  ShowSteps(job.progress(), &environment);
  environment.end = [&definition, details, show = environment.end](const llb::Vertex& vertex,
                                                                   const std::string& error) {
    if (!error.empty()) AddPlacesOf(definition, vertex.digest, details);
    show(vertex, error);
  };
  auto solver =
      TRY(llb::Solver::Create(shared.engine, shared.builds.cache(), std::move(environment), stop));
  build::StageState state = TRY(solver->Solve(graph));
  MadeFrom from = FromGraph(graph);
  from.materials = solver->materials();
  return std::unique_ptr<Made>(std::make_unique<SolvedMade>(shared.engine, std::move(solver),
                                                            std::move(state), std::move(from)));
}

pb::Definition DefinitionOf(const std::string& result) {
  pb::Op source;
  source.mutable_source()->set_identifier(std::string(llb::kResultScheme) + result);
  pb::Definition out;
  out.add_def(source.SerializeAsString());
  const std::string digest = formats::Digest::Of(out.def(0)).text();
  // Clients take a definition without any for none.
  (*out.mutable_metadata())[digest];
  pb::Op head;
  head.add_inputs()->set_digest(digest);
  out.add_def(head.SerializeAsString());
  return out;
}

Result<std::string> SolvedMade::Store(const build::StoreAs& as) {
  build::StageState state = result();
  // Nothing at all is an image, too, when it was asked for.
  state.changed = true;
  return build::StoreResult(engine_, std::move(state), as, /*squash=*/false);
}

Result<> SolvedMade::SetConfig(const std::string& text) {
  Json json = TRY_WITH(Json::Parse(text), "reading the image's configuration");
  if (!json.is_object()) return InvalidArgument("the image's configuration is no object");
  engine::ContainerConfig config = TRY_WITH(
      engine::ParseContainerConfig(json["config"].is_null() ? Json::MakeObject() : json["config"]),
      "reading the image's configuration");
  size_t layers = 0;
  for (const Json& entry : json["history"].items()) {
    if (!entry["empty_layer"].AsBool()) ++layers;
  }
  MutexLock lock(mutex_);
  state_.config = std::move(config);
  if (layers == state_.layers.size()) state_.history = json["history"];
  if (state_.history.is_null()) state_.history = Json::MakeArray();
  if (json["created"].is_string()) state_.created = json["created"].AsString();
  state_.author = json["author"].AsString();
  for (const char* own : {"architecture", "os"}) {
    if (!json[own].is_string()) json.Set(own, state_.document[own]);
  }
  state_.document = std::move(json);
  return {};
}

}  // namespace gantry::buildkit
