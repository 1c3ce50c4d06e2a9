// SPDX-License-Identifier: Apache-2.0
//
// What is written down about a volume, and the store that keeps it: the engine's database, or
// memory in tests. Plain data.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace gantry::volumes {

// Of volumes whose name was made up; clients and prune know them by it.
inline constexpr std::string_view kAnonymousLabel = "com.docker.volume.anonymous";

struct Volume {
  std::string name;
  std::string driver = "local";
  // Of the local driver: "type", "device" and "o" of mount(8); none for a plain directory.
  std::map<std::string, std::string> options;
  std::map<std::string, std::string> labels;
  // Clients see the difference between an empty map that was asked for and none.
  bool shows_options = false;
  bool shows_labels = false;
  WallTime created{};

  bool NeedsMount() const { return options.contains("type") || options.contains("device"); }
  bool operator==(const Volume&) const = default;
};

// The form in which a store may keep it. Decoding checks every field.
std::string EncodeVolume(const Volume& volume);
Result<Volume> DecodeVolume(std::string_view json);

// Called from any thread, several at once.
class RecordStore {
 public:
  virtual ~RecordStore() = default;
  // Inserts or replaces; committed on return.
  virtual Result<> PutVolume(const Volume& volume) = 0;
  // No such record: no error.
  virtual Result<> EraseVolume(const std::string& name) = 0;
  virtual Result<std::vector<Volume>> ListVolumes() = 0;
};

std::unique_ptr<RecordStore> MakeMemoryRecordStore();

}  // namespace gantry::volumes
