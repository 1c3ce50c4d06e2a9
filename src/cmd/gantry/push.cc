// SPDX-License-Identifier: Apache-2.0
//
// gantry push.
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/progress.h"
#include "formats/reference.h"

namespace gantry::cli {

Result<int> PushCommand(Cli& cli, Invocation& call) {
  bool all_tags = false, quiet = false;
  std::string platform;
  call.flags.Bool("all-tags", 'a', &all_tags, "Push every tag of the repository");
  BindContentTrust(&call.flags);
  call.flags.Bool("quiet", 'q', &quiet, "Show no progress");
  call.flags.String("platform", 0, &platform, "Push only this platform of the image");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  formats::Reference reference = TRY(ParseImageName(call.args()[0]));
  bool named = !reference.tag.empty() || !reference.digest.empty();
  if (all_tags && named) {
    return InvalidArgument("tag can't be used with --all-tags/-a");
  }
  if (!all_tags && !named) {
    reference = formats::WithDefaultTag(std::move(reference));
    if (!quiet) Print("Using default tag: {}\n", reference.tag);
  }
  ApiRequest request;
  request.method = "POST";
  request.path =
      fmt::format("/images/{}/push", wire::PercentEncodePath(reference.FamiliarRepository()));
  if (!all_tags) request.query.Add("tag", reference.tag);
  Api* api = TRY(cli.Connect());
  if (!platform.empty()) {
    TRY(AddPlatforms(api, "1.46", {platform}, "platform", &request.query));
  }
  request.headers.push_back({"X-Registry-Auth", TRY(cli.RegistryAuth(reference.domain))});
  ApiStream stream = TRY(api->Open(request));
  if (!quiet) {
    TRY(ShowProgress(&stream.connection, BorrowedFd(STDOUT_FILENO)));
    return 0;
  }
  UniqueFd nowhere = TRY(OpenFile("/dev/null", O_WRONLY));
  TRY(ShowProgress(&stream.connection, nowhere));
  Print("{}\n", reference.ToString());
  return 0;
}

}  // namespace gantry::cli
