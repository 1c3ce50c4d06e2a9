// SPDX-License-Identifier: Apache-2.0
//
// GET /containers/{id}/stats: a sample a second for as long as the client listens, or one. All
// clients of a container share its samples, so that a thousand of them cost one reading of its
// cgroups; a container that nobody listens to is not looked at. A client that does not read gets
// the next sample when it does.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/api/api.h"

namespace gantry::engine::api {

Result<> GetStats(Call& call);

// The containers somebody listens to. Any thread.
class StatsFeeds : public std::enable_shared_from_this<StatsFeeds> {
 public:
  using Sample = std::shared_ptr<const formats::Json>;
  struct Reader {
    std::shared_ptr<wire::ResponseSink> sink;
    int minor = kMaxMinor;  // of the API version
    bool stream = true;     // else one sample is all
    Sample before;          // what its next one is compared with
  };

  StatsFeeds(wire::WorkerPool& workers, EventLoop& parked) : workers_(workers), parked_(parked) {}

  // The last one of those that listen already, or a new one.
  Result<Sample> Latest(const Container& container);
  // It gets the samples after `before`.
  void Join(const std::shared_ptr<Container>& container, Reader reader);
  // As a line of the stream.
  static std::string Line(const formats::Json& now, const formats::Json& before, int minor);

 private:
  struct Feed {
    std::shared_ptr<Container> container;
    Sample last;
    std::vector<Reader> readers;
  };

  void WaitForNext(const std::string& id);
  void OnTick(const std::string& id);
  // Those that still listen; none: the feed has ended.
  std::vector<Reader> TakeReaders(const std::string& id, std::shared_ptr<Container>* container);

  wire::WorkerPool& workers_;
  EventLoop& parked_;
  Mutex mutex_;
  std::map<std::string, Feed, std::less<>> feeds_ GUARDED_BY(mutex_);  // by the container's id
};

}  // namespace gantry::engine::api
