// SPDX-License-Identifier: Apache-2.0
#include "build/disk_budget.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/undo.h"
#include "engine/dangling.h"
#include "engine/image_usage.h"
#include "engine/images.h"
#include "engine/store.h"
#include "formats/human_units.h"

namespace gantry::build {
namespace {

using engine::ImageUsage;

constexpr auto kInterval = std::chrono::minutes(10);

// Containers' writable layers and volumes. One that is removed meanwhile takes nothing.
void CountFixed(engine::Engine& engine, DiskBudget::Report* report) {
  for (const auto& record : engine.List()) {
    auto usage = engine.containerd().GetSnapshotUsage(engine.options().snapshotter, record->id);
    if (usage.ok()) report->containers += usage->size;
  }
  for (const auto& volume : engine.volumes().List()) {
    report->volumes += std::max<int64_t>(0, engine.volumes().SizeOf(volume.name).value_or(0));
  }
}

std::string ContainerOf(engine::Engine& engine, const std::string& image_id) {
  for (const auto& record : engine.List()) {
    if (record->image_id == image_id) return record->name;
  }
  return "";
}

DiskItem ItemOf(engine::Engine& engine, const ImageUsage& image,
                const std::map<std::string, WallTime>& uses) {
  DiskItem item;
  item.kind = DiskItem::Kind::kImage;
  item.id = image.id();
  item.name = image.tags.empty() ? image.id() : image.tags.front();
  item.used_at = image.tagged_at;
  if (auto used = uses.find(item.id); used != uses.end()) {
    item.used_at = std::max(item.used_at, used->second);
  }
  item.parts = image.disk->parts;
  if (image.containers > 0) {
    item.needed_by = fmt::format("container {} has it", ContainerOf(engine, item.id));
  } else if (engine.image_holds().IsHeld(item.id)) {
    item.needed_by = "a build or a container that is being made uses it";
  }
  return item;
}

// A step's layer by the names that its parts have in images.
DiskItem ItemOf(const CachedStep& step,
                const std::unordered_map<std::string, std::string>& snapshot_parts) {
  DiskItem item;
  item.kind = DiskItem::Kind::kBuildStep;
  item.id = step.key;
  item.name = step.description;
  item.used_at = step.used_at;
  if (step.in_use) item.needed_by = "a build that runs uses it";
  if (!step.directory.empty()) item.parts.push_back({"cache of " + step.key, step.size});
  if (step.layer) {
    const client::Descriptor& blob = step.layer->blob;
    item.parts.push_back({blob.digest, blob.size});
    auto known = snapshot_parts.find(blob.digest);
    std::string snapshot = known != snapshot_parts.end()
                               ? known->second
                               : std::string(engine::kSnapshotPart) + "of " + step.key;
    item.parts.push_back({std::move(snapshot), step.size});
  }
  return item;
}

}  // namespace

DiskBudget::DiskBudget(engine::Engine& engine, Builds& builds)
    : engine_(engine), builds_(builds), thread_([this] { Loop(); }) {}

DiskBudget::~DiskBudget() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wanted_.NotifyAll();
  thread_.join();
}

void DiskBudget::CheckSoon() {
  MutexLock lock(mutex_);
  check_ = true;
  wanted_.NotifyOne();
}

void DiskBudget::Loop() NO_THREAD_SAFETY_ANALYSIS {
  MutexLock lock(mutex_);
  while (!stop_) {
    bool due = std::exchange(check_, false) || !wanted_.WaitFor(mutex_, kInterval);
    if (!due || stop_) continue;
    mutex_.Unlock();
    Check();
    mutex_.Lock();
  }
}

void DiskBudget::Check() {
  int64_t budget = engine_.settings()->disk_budget;
  if (budget <= 0) return;
  auto report = Apply(budget);
  if (!report.ok()) return log::Failure("keeping the disk budget: {}", report.error().message());
  if (report->plan.after <= budget) return;
  log::Warning(
      "the disk budget of {} can't be kept: {} are left; containers have {}, volumes {}, and the "
      "rest is images and build steps that are needed (gantry system prune --explain)",
      formats::HumanSize(static_cast<double>(budget)),
      formats::HumanSize(static_cast<double>(report->plan.after)),
      formats::HumanSize(static_cast<double>(report->containers)),
      formats::HumanSize(static_cast<double>(report->volumes)));
}

Result<DiskBudget::Report> DiskBudget::Explain(int64_t budget) {
  Report report;
  CountFixed(engine_, &report);
  auto settings = engine_.settings();
  WallTime now = WallClock::now();
  DiskNeed need;
  need.budget = budget;
  // Some room, so that not every pull has to make some.
  need.target = budget - budget / 10;
  need.fixed = report.containers + report.volumes;
  auto uses = TRY(engine_.store().ListImageUses());
  std::unordered_map<std::string, std::string> snapshot_parts;
  for (const ImageUsage& image : TRY(engine::ListImageUsage(engine_)).images) {
    need.items.push_back(ItemOf(engine_, image, uses));
    uses.erase(image.id());
    const auto& layers = image.documents->manifest.layers;
    std::vector<formats::Digest> chain = oci::ChainIds(image.documents->config.diff_ids);
    for (size_t i = 0; i < layers.size() && i < chain.size(); ++i) {
      snapshot_parts.emplace(layers[i].digest.text(),
                             std::string(engine::kSnapshotPart) + std::string(chain[i].text()));
    }
  }
  for (const CachedStep& step : builds_.cache().List()) {
    need.items.push_back(ItemOf(step, snapshot_parts));
  }
  for (DiskItem& item : need.items) {
    bool fresh = now - item.used_at < std::chrono::seconds(settings->disk_budget_keep);
    if (item.needed_by.empty() && fresh) item.needed_by = "it was used a moment ago";
  }
  report.plan = MakeDiskPlan(need, now);
  // What is left of them are images that are gone.
  for (const auto& [id, time] : uses) TRY(engine_.store().EraseImageUse(id));
  return report;
}

Result<DiskBudget::Report> DiskBudget::Apply(int64_t budget) {
  Report report = TRY(Explain(budget));
  for (const DiskDecision& one : report.plan.decisions) {
    if (!one.goes) continue;
    Result<> removed;
    if (one.item.kind == DiskItem::Kind::kImage) {
      removed = RemoveImage(one.item);
    } else {
      auto pruned = builds_.cache().Prune([&](const CachedStep& step) {
        return step.key == one.item.id && step.used_at <= one.item.used_at;
      });
      if (!pruned.ok()) removed = std::move(pruned).error();
    }
    if (removed.ok()) {
      log::Info("removed {} '{}' for the disk budget: {}",
                one.item.kind == DiskItem::Kind::kImage ? "image" : "build step", one.item.name,
                one.reason);
    } else {
      log::Info("'{}' stays although it was to go: {}", one.item.name, removed.error().message());
    }
  }
  return report;
}

Result<> DiskBudget::RemoveImage(const DiskItem& item) {
  if (!engine_.image_holds().BeginRemoval(item.id)) {
    return FailedPrecondition("it is used again");
  }
  Undo end;
  end.Push([&] { engine_.image_holds().EndRemoval(item.id); });
  for (const ImageUsage& image : TRY(engine::ListImageUsage(engine_)).images) {
    if (image.id() != item.id) continue;
    if (image.tagged_at > item.used_at) return FailedPrecondition("it has come again");
    std::vector<std::string> names;
    for (const std::string& name : image.names) {
      if (!engine::IsDangling(name)) names.push_back(engine::FamiliarName(name));
    }
    // The nameless ones go with the last name, and without one by the id.
    bool nameless = names.empty();
    if (nameless) names.push_back(image.id());
    for (const std::string& name : names) TRY(engine::RemoveImage(engine_, name, nameless));
  }
  return {};
}

}  // namespace gantry::build
