// SPDX-License-Identifier: Apache-2.0
//
// The rows of GET /containers/json as text, kept while what they were made of is the same: the
// record, its endpoints, the networks. Only the status is written anew each time, since it has the
// time in it. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "engine/container.h"
#include "engine/engine.h"

namespace gantry::engine::api {

class ListRows {
 public:
  // The answer for these records in the form of API version 1.MINOR.
  std::string Dump(Engine& engine, int minor, const std::vector<Container::RecordPointer>& records,
                   WallTime now);
  // How many rows were made, not found.
  int64_t made() const;

 private:
  struct Row {
    // Holding the record keeps its address from being another one's.
    Container::RecordPointer record;
    std::vector<networks::Endpoint> endpoints;
    std::string image;   // as it is shown
    std::string before;  // up to the value of "Status"
    std::string after;
  };
  // By container id.
  using Rows = std::map<std::string, Row, std::less<>>;

  const Row& Fresh(Engine& engine, int minor, Rows* rows, const Container::RecordPointer& record,
                   std::string image) REQUIRES(mutex_);
  void Sweep(Engine& engine) REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<int, Rows> rows_by_minor_ GUARDED_BY(mutex_);
  std::vector<networks::Network> networks_ GUARDED_BY(mutex_);
  int64_t made_ GUARDED_BY(mutex_) = 0;
  int64_t swept_at_ GUARDED_BY(mutex_) = 0;  // what `made_` was then
};

}  // namespace gantry::engine::api
