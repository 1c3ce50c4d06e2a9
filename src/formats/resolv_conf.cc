// SPDX-License-Identifier: Apache-2.0
#include "formats/resolv_conf.h"

#include <algorithm>

#include "base/text.h"

namespace gantry::formats {

ResolvConf ParseResolvConf(std::string_view text) {
  ResolvConf conf;
  for (const std::string& line : Split(text, '\n')) {
    std::vector<std::string> words = SplitWords(line.substr(0, line.find_first_of("#;")), " \t\r");
    if (words.size() < 2) continue;
    if (words[0] == "nameserver") {
      conf.servers.push_back(words[1]);
    } else if (words[0] == "search" || words[0] == "domain") {
      conf.search.assign(words.begin() + 1, words.end());
    } else if (words[0] == "options") {
      conf.options.assign(words.begin() + 1, words.end());
    }
  }
  return conf;
}

std::string FormatResolvConf(const ResolvConf& conf) {
  std::string out;
  for (const std::string& server : conf.servers) out += "nameserver " + server + "\n";
  auto line = [&](std::string_view keyword, const std::vector<std::string>& values) {
    if (values.empty()) return;
    out += keyword;
    for (const std::string& value : values) out += " " + value;
    out += "\n";
  };
  line("search", conf.search);
  line("options", conf.options);
  return out;
}

bool IsLoopbackServer(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

}  // namespace gantry::formats
