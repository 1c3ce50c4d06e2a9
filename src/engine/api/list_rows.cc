// SPDX-License-Identifier: Apache-2.0
#include "engine/api/list_rows.h"

#include <set>
#include <utility>

#include "engine/api/container_json.h"
#include "engine/api/version_shape.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Clients of so many versions at the same time are remembered.
constexpr size_t kMaxMinors = 4;
// After so many new rows those of containers that are gone are looked for.
constexpr int64_t kSweepEvery = 256;

std::string ShapedDump(Json part, int minor) {
  Json list = Json::MakeArray();
  list.Append(std::move(part));
  Shape(AnswerForm::kContainerList, minor, &list);
  return list.at(0).Dump();
}

}  // namespace

std::string ListRows::Dump(Engine& engine, int minor,
                           const std::vector<Container::RecordPointer>& records, WallTime now) {
  std::vector<networks::Network> networks = engine.networks().ListNetworks();
  // The container daemon may be asked for them: not with the lock.
  std::vector<std::string> images;
  images.reserve(records.size());
  for (const Container::RecordPointer& record : records) {
    images.push_back(ImageShown(engine, *record));
  }
  MutexLock lock(mutex_);
  bool crowded = !rows_by_minor_.contains(minor) && rows_by_minor_.size() >= kMaxMinors;
  if (networks != networks_ || crowded) {
    rows_by_minor_.clear();
    networks_ = std::move(networks);
  }
  Rows& rows = rows_by_minor_[minor];
  std::string out = "[";
  for (size_t i = 0; i < records.size(); ++i) {
    const Row& row = Fresh(engine, minor, &rows, records[i], std::move(images[i]));
    if (out.size() > 1) out += ',';
    out += row.before;
    out += Json(StatusText(records[i]->state, now)).Dump();
    out += row.after;
  }
  out += "]\n";
  if (made_ - swept_at_ >= kSweepEvery) Sweep(engine);
  return out;
}

const ListRows::Row& ListRows::Fresh(Engine& engine, int minor, Rows* rows,
                                     const Container::RecordPointer& record, std::string image) {
  std::vector<networks::Endpoint> endpoints = engine.networks().EndpointsOf(record->id);
  Row& row = (*rows)[record->id];
  if (row.record == record && row.endpoints == endpoints && row.image == image) return row;
  ListEntry entry = ListEntryOf(engine, *record, image, endpoints);
  // Two objects become one around the status.
  std::string before = ShapedDump(std::move(entry.before), minor);
  before.back() = ',';
  before += "\"Status\":";
  std::string after = ShapedDump(std::move(entry.after), minor);
  after.front() = ',';
  row = Row{record, std::move(endpoints), std::move(image), std::move(before), std::move(after)};
  ++made_;
  return row;
}

void ListRows::Sweep(Engine& engine) {
  std::set<std::string, std::less<>> there;
  for (const Container::RecordPointer& record : engine.List()) there.insert(record->id);
  for (auto& [minor, rows] : rows_by_minor_) {
    std::erase_if(rows, [&](const auto& row) { return !there.contains(row.first); });
  }
  swept_at_ = made_;
}

int64_t ListRows::made() const {
  MutexLock lock(mutex_);
  return made_;
}

}  // namespace gantry::engine::api
