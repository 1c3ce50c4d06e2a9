// SPDX-License-Identifier: Apache-2.0
//
// The engine's records on disk (ROOT/engine/engine.db): containers, networks, endpoints, volumes.
// Every change is committed when the call returns. Any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "engine/container.h"
#include "engine/untold_events.h"
#include "networks/records.h"
#include "records/database.h"
#include "volumes/records.h"

namespace gantry::engine {

class Store : public networks::RecordStore, public volumes::RecordStore {
 public:
  static Result<std::unique_ptr<Store>> Open(const std::string& path);

  // Inserts or replaces. With an event it is one that is to be told of the change, or of what comes
  // after it.
  Result<> PutContainer(const ContainerRecord& record, const Event* untold = nullptr,
                        const std::string& subject = {});
  // Also notes that its image was used until now.
  Result<> EraseContainer(const std::string& id, const std::string& image_id);
  // A record that can't be read is an error that names it: nothing is silently forgotten.
  Result<std::vector<ContainerRecord>> ListContainers();

  // A value by name, such as the engine's own id; "" when it is not there.
  Result<std::string> GetSetting(const std::string& name);
  Result<> PutSetting(const std::string& name, const std::string& value);

  // What builds have made, by the digest of how (docs/build.md).
  Result<> PutBuildStep(const std::string& key, const std::string& record);
  Result<> EraseBuildSteps(const std::vector<std::string>& keys);
  Result<std::vector<std::pair<std::string, std::string>>> ListBuildSteps();

  // When images were used last, by id: only what containers' records don't tell any more.
  Result<> PutImageUse(const std::string& image_id, WallTime when);
  Result<> EraseImageUse(const std::string& image_id);
  Result<std::map<std::string, WallTime>> ListImageUses();

  Result<> PutEndpoint(const networks::Endpoint& endpoint) override;
  Result<> EraseEndpoint(const std::string& container_id, const std::string& network_id) override;
  Result<std::vector<networks::Endpoint>> ListEndpoints() override;
  Result<> PutNetwork(const networks::Network& network) override;
  Result<> EraseNetwork(const std::string& network_id) override;
  Result<std::vector<networks::Network>> ListNetworks() override;

  Result<> PutVolume(const volumes::Volume& volume) override;
  Result<> EraseVolume(const std::string& name) override;
  Result<std::vector<volumes::Volume>> ListVolumes() override;

  UntoldEvents& untold() { return untold_; }
  records::Database& database() { return *database_; }

 private:
  explicit Store(std::unique_ptr<records::Database> database)
      : database_(std::move(database)), untold_(*database_) {}
  std::unique_ptr<records::Database> database_;
  UntoldEvents untold_;
};

}  // namespace gantry::engine
