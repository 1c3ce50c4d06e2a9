// SPDX-License-Identifier: Apache-2.0
//
// Events: everybody who is subscribed gets every envelope that its filters match, in the order in
// which they were published. Publishers are the services here and the shims. Each event is in the
// log before it is delivered; who was away reads on there, or looks at Tasks.List. Any thread.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <unordered_set>

#include "base/error.h"
#include "base/mutex.h"
#include "containerd/filters.h"
#include "containerd/recent_events.h"
#include "containerd/types/event.pb.h"

namespace gantry::containerd {

using Envelope = std::shared_ptr<const ::containerd::types::Envelope>;

class EventExchange {
 public:
  class Subscriber {
   public:
    virtual ~Subscriber() = default;
    virtual const Filters& filters() const = 0;
    // Must not block, and must not call the exchange.
    virtual void Deliver(const Envelope& envelope) = 0;
  };

  // Once, before the first event. Without a log there is no history.
  void SetLog(EventLog* log) { log_ = log; }
  EventLog* log() const { return log_; }

  // `topic` begins with '/'; the time is now.
  void Publish(const std::string& ns, const std::string& topic,
               const google::protobuf::Message& event);
  // An event that carries its own time.
  Result<> Forward(::containerd::types::Envelope envelope);
  // The same of a shim, which sends an event again when it doesn't know whether it arrived: then
  // nothing happens.
  Result<> ForwardOnce(::containerd::types::Envelope envelope);

  void Subscribe(Subscriber* subscriber);
  // After it no delivery runs or begins.
  void Unsubscribe(Subscriber* subscriber);

  size_t subscribers() const;

 private:
  enum class Origin { kHere, kShim };
  Result<> Forward(::containerd::types::Envelope envelope, Origin origin);
  void Dispatch(const Envelope& envelope, Origin origin = Origin::kHere);

  EventLog* log_ = nullptr;
  mutable Mutex mutex_;
  std::unordered_set<Subscriber*> subscribers_ GUARDED_BY(mutex_);
  RecentEvents recent_ GUARDED_BY(mutex_);
};

// "namespace", "topic" and "event.FIELD…" of an envelope, for filters.
std::optional<std::string> EnvelopeField(const ::containerd::types::Envelope& envelope,
                                         const FieldPath& path);

}  // namespace gantry::containerd
