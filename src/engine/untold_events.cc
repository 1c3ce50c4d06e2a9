// SPDX-License-Identifier: Apache-2.0
#include "engine/untold_events.h"

#include <utility>

namespace gantry::engine {
namespace {

using formats::Json;

// Of one key there is one event at a time: who makes the next one has the container's turn, or the
// object of that name was gone meanwhile.
std::string KeyOf(const Event& event, std::string_view subject) {
  auto container = event.attributes.find("container");
  return fmt::format("{} {} {} {} {}", event.type, event.action, event.actor_id,
                     container == event.attributes.end() ? "" : container->second, subject);
}

}  // namespace

Result<> UntoldEvents::Put(const Event& event, const std::string& subject) {
  auto transaction = TRY(database_.Begin());
  TRY(Put(event, subject, transaction));
  return transaction.Commit();
}

Result<> UntoldEvents::Put(const Event& event, const std::string& subject,
                           records::Transaction& transaction) {
  std::string key = KeyOf(event, subject);
  std::set<std::string, std::less<>> done;
  {
    MutexLock lock(mutex_);
    open_.insert(key);
    done = std::exchange(done_, {});
  }
  for (const std::string& old : done) {
    TRY(transaction.Execute("DELETE FROM untold_events WHERE key = ?", old));
  }
  TRY(transaction.Execute(
      "INSERT OR REPLACE INTO untold_events (key, event, subject) VALUES (?, ?, ?)", key,
      EventToJson(event).Dump(), subject));
  return {};
}

void UntoldEvents::Done(const Event& event, std::string_view subject) {
  MutexLock lock(mutex_);
  if (open_.empty()) return;
  auto row = open_.extract(KeyOf(event, subject));
  if (!row.empty()) done_.insert(std::move(row));
}

bool UntoldEvents::IsOpen(const Event& event, std::string_view subject) {
  MutexLock lock(mutex_);
  return open_.contains(KeyOf(event, subject));
}

Result<std::vector<Untold>> UntoldEvents::List() {
  auto transaction = TRY(database_.Read());
  auto rows = TRY(transaction.Query("SELECT event, subject FROM untold_events"));
  std::vector<Untold> out;
  while (TRY(rows.Next())) {
    Json json = TRY_WITH(Json::Parse(rows.Bytes(0)), "reading an event that was not told");
    Untold& untold = out.emplace_back();
    formats::JsonReader reader(json, "event");
    ReadEvent(reader, &untold.event);
    TRY(reader.Finish());
    untold.subject = rows.Text(1);
  }
  return out;
}

Result<> UntoldEvents::Clear(const std::vector<Untold>& kept) {
  auto transaction = TRY(database_.Begin());
  TRY(transaction.Execute("DELETE FROM untold_events"));
  for (const Untold& untold : kept) TRY(Put(untold.event, untold.subject, transaction));
  return transaction.Commit();
}

}  // namespace gantry::engine
