// SPDX-License-Identifier: Apache-2.0
#include "shim/exit_record.h"

#include "base/io.h"
#include "formats/json.h"

namespace gantry::shim {

using formats::Json;

std::string ExitRecordPath(const std::string& bundle, const std::string& exec_id) {
  return bundle + "/exits/" + (exec_id.empty() ? "init" : "exec-" + exec_id);
}

Result<> WriteExitRecord(const std::string& bundle, const std::string& exec_id,
                         const ExitRecord& record) {
  TRY(MakeDirectories(bundle + "/exits", 0700));
  Json json =
      Json::MakeObject({{"code", uint64_t{record.code}}, {"time", FormatRfc3339Nano(record.time)}});
  return ReplaceFile(ExitRecordPath(bundle, exec_id), json.Dump(), 0600);
}

Result<ExitRecord> ReadExitRecord(const std::string& bundle, const std::string& exec_id) {
  std::string text = TRY(ReadFile(ExitRecordPath(bundle, exec_id), 4096));
  Json json = TRY_WITH(Json::Parse(text), "exit record");
  ExitRecord record;
  record.code = static_cast<uint32_t>(json["code"].AsUint());
  record.time = TRY_WITH(ParseRfc3339(json["time"].AsString()), "exit record");
  return record;
}

}  // namespace gantry::shim
