// SPDX-License-Identifier: Apache-2.0
#include "wire/masked_url.h"

namespace gantry::wire {

std::string MaskCredentials(const std::string& url) {
  size_t scheme = url.find("://");
  size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  size_t at = url.find('@', begin);
  if (at == std::string::npos || at > url.find('/', begin)) return url;
  return url.substr(0, begin) + "xxxxx:xxxxx" + url.substr(at);
}

}  // namespace gantry::wire
