// SPDX-License-Identifier: Apache-2.0
#include "volumes/records.h"

#include <utility>

#include "base/mutex.h"
#include "formats/json.h"

namespace gantry::volumes {

using formats::Json;
using formats::JsonReader;

std::string EncodeVolume(const Volume& volume) {
  return Json::MakeObject({{"name", volume.name},
                           {"driver", volume.driver},
                           {"options", Json(volume.options)},
                           {"labels", Json(volume.labels)},
                           {"showsOptions", volume.shows_options},
                           {"showsLabels", volume.shows_labels},
                           {"created", UnixNanos(volume.created)}})
      .Dump();
}

Result<Volume> DecodeVolume(std::string_view text) {
  Json json = TRY(Json::Parse(text));
  Volume volume;
  int64_t created = 0;
  JsonReader reader(json, "volume");
  reader.Field("name", &volume.name);
  reader.Field("driver", &volume.driver);
  reader.Field("options", &volume.options);
  reader.Field("labels", &volume.labels);
  reader.Field("showsOptions", &volume.shows_options);
  reader.Field("showsLabels", &volume.shows_labels);
  reader.Field("created", &created);
  TRY(reader.Finish());
  volume.created = FromUnixNanos(created);
  return volume;
}

namespace {

class MemoryRecordStore : public RecordStore {
 public:
  Result<> PutVolume(const Volume& volume) override {
    MutexLock lock(mutex_);
    volumes_[volume.name] = volume;
    return {};
  }
  Result<> EraseVolume(const std::string& name) override {
    MutexLock lock(mutex_);
    volumes_.erase(name);
    return {};
  }
  Result<std::vector<Volume>> ListVolumes() override {
    MutexLock lock(mutex_);
    std::vector<Volume> out;
    for (const auto& [name, volume] : volumes_) out.push_back(volume);
    return out;
  }

 private:
  Mutex mutex_;
  std::map<std::string, Volume> volumes_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<RecordStore> MakeMemoryRecordStore() {
  return std::make_unique<MemoryRecordStore>();
}

}  // namespace gantry::volumes
