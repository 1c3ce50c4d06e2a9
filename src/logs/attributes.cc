// SPDX-License-Identifier: Apache-2.0
#include "logs/attributes.h"

#include <algorithm>
#include <regex>
#include <vector>

#include "base/text.h"
#include "formats/go_template.h"
#include "formats/json.h"

namespace gantry::logs {
namespace {

// Whether a name is in the list, or fits the expression.
class Choice {
 public:
  static Result<Choice> Make(std::string_view list, std::string_view expression) {
    Choice choice;
    if (!list.empty()) choice.names_ = Split(list, ',');
    choice.has_expression_ = !expression.empty();
    // std::regex reports bad expressions by an exception, which ends here.
    try {
      choice.expression_ = std::regex(std::string(expression), std::regex::ECMAScript);
    } catch (const std::regex_error& error) {
      return InvalidArgument("error parsing regexp: `{}`: {}", expression, error.what());
    }
    return choice;
  }
  bool Takes(const std::string& name) const {
    if (std::find(names_.begin(), names_.end(), name) != names_.end()) return true;
    return has_expression_ && std::regex_search(name, expression_);
  }

 private:
  std::vector<std::string> names_;
  bool has_expression_ = false;
  std::regex expression_;
};

}  // namespace

Result<std::string> RenderTag(const LogSource& source) {
  std::string_view text = source.Option("tag");
  if (text.empty()) return ShortId(source.id);
  auto parsed = TRY(formats::GoTemplate::Parse(text));
  formats::GoTemplate::Options options;
  options.root_type = "*logger.Info";
  return parsed.Execute(formats::Json::MakeObject({{"ID", ShortId(source.id)},
                                                   {"FullID", source.id},
                                                   {"Name", source.name},
                                                   {"ContainerID", source.id},
                                                   {"ContainerName", "/" + source.name},
                                                   {"ContainerImageID", source.image_id},
                                                   {"ContainerImageName", source.image_name},
                                                   {"ImageID", ShortId(source.image_id)},
                                                   {"ImageFullID", source.image_id},
                                                   {"ImageName", source.image_name},
                                                   {"Command", source.command},
                                                   {"DaemonName", "docker"}}),
                        options);
}

Result<std::map<std::string, std::string>> ChooseAttributes(const LogSource& source) {
  Choice labels = TRY(Choice::Make(source.Option("labels"), source.Option("labels-regex")));
  Choice variables = TRY(Choice::Make(source.Option("env"), source.Option("env-regex")));
  std::map<std::string, std::string> chosen;
  for (const auto& [name, value] : source.labels) {
    if (labels.Takes(name)) chosen[name] = value;
  }
  for (const std::string& variable : source.env) {
    size_t equals = variable.find('=');
    if (equals == std::string::npos) continue;
    std::string name = variable.substr(0, equals);
    if (variables.Takes(name)) chosen[name] = variable.substr(equals + 1);
  }
  return chosen;
}

}  // namespace gantry::logs
