// SPDX-License-Identifier: Apache-2.0
#include "buildkit/http_build.h"

#include <utility>

#include "base/random.h"
#include "base/undo.h"
#include "buildkit/exporters.h"
#include "buildkit/frontend.h"
#include "buildkit/job.h"

namespace gantry::buildkit {

Result<std::string> RunHttpBuild(Shared& shared, HttpBuild build,
                                 const std::function<void(const std::string& update)>& tell,
                                 const StopToken& stop) {
  const std::string ref = build.ref.empty() ? RandomHex(16) : build.ref;
  std::vector<std::string> names = build.request.names;
  Wanted wanted{build.session, std::move(build.entitlements), {}, {}, {}, {}};
  for (HttpBuild::Output& output : build.outputs) {
    moby::buildkit::v1::Exporter& exporter = wanted.exporters.emplace_back();
    exporter.set_type(output.type);
    exporter.mutable_attrs()->insert(output.attributes.begin(), output.attributes.end());
  }
  auto job = TRY(shared.jobs.Begin(ref, std::move(wanted)));
  Undo end;
  end.Push([&] { shared.jobs.End(ref); });
  job->Follow([tell](const StatusResponse& update) { tell(update.SerializeAsString()); });
  std::vector<Export> exports = TRY(ReadExports(job->wanted()));
  if (exports.empty()) exports.push_back({.names = std::move(names)});
  std::shared_ptr<Session> session;
  if (!build.session.empty()) session = TRY(shared.sessions.Find(build.session, kBeginBound));
  bool any = session != nullptr || build.body != nullptr || build.uploaded;
  if (!any && build.request.remote.empty()) {
    return InvalidArgument("the build has no context: neither a body nor a session");
  }
  Uploads::Taken upload;
  if (build.uploaded) {
    upload = TRY(shared.uploads.Take(ref, kBeginBound));
    build.body = upload.body;
  }
  std::shared_ptr<Made> made = TRY(RunBuild(shared.engine, shared.builds, std::move(build.request),
                                            build.body, std::move(session), *job, stop));
  google::protobuf::Map<std::string, std::string> told;
  MadeResult result{{{std::move(made), ""}}, {}};
  for (const Export& one : exports) TRY(RunExport(shared, *job, result, one, &told, stop));
  auto id = told.find("containerimage.config.digest");
  return id == told.end() ? std::string() : id->second;
}

}  // namespace gantry::buildkit
