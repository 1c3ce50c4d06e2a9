// SPDX-License-Identifier: Apache-2.0
#include "registry/download.h"

#include <utility>

#include "base/text.h"
#include "wire/http_status.h"

namespace gantry::registry {

Result<HttpAnswer> Download(const std::string& url,
                            const std::function<Result<>(std::string_view data)>& write,
                            const StopToken& stop) {
  HttpTransfer transfer;
  HttpRequest request;
  request.url = url;
  request.user_agent = fmt::format("gantry/{}", GANTRY_VERSION);
  request.write = [&](int, std::string_view data) { return write(data); };
  HttpAnswer answer = TRY_WITH(transfer.Run(request, stop), "downloading {}", url);
  if (answer.status >= 200 && answer.status < 300) return answer;
  std::string_view words = Trim(answer.body);
  return MakeError(wire::KindOfStatus(answer.status, ErrorKind::kUnknown),
                   "failed to GET {} with status {}{}{}", url, answer.status,
                   words.empty() ? "" : ": ", words);
}

}  // namespace gantry::registry
