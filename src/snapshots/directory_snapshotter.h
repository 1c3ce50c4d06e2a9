// SPDX-License-Identifier: Apache-2.0
//
// What snapshotters that keep a directory ROOT/N for each snapshot have in common: numbers,
// records, the order of directory and record, clean-up. An implementation says what is in the
// directory and how it is mounted. Any thread.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "snapshots/snapshotter.h"
#include "snapshots/trash.h"

namespace gantry::snapshots {

class DirectorySnapshotter : public Snapshotter {
 public:
  DirectorySnapshotter(std::string root, SnapshotRecords* records, Trash* trash)
      : root_(std::move(root)), records_(records), trash_(trash) {}

  Result<std::vector<Mount>> Prepare(const std::string& ns, const std::string& key,
                                     const std::string& parent, const Labels& labels) override {
    return Create(ns, key, parent, Kind::kActive, labels);
  }
  Result<std::vector<Mount>> View(const std::string& ns, const std::string& key,
                                  const std::string& parent, const Labels& labels) override {
    return Create(ns, key, parent, Kind::kView, labels);
  }
  Result<std::vector<Mount>> Mounts(const std::string& ns, const std::string& key) override;
  Result<> Commit(const std::string& ns, const std::string& name, const std::string& key,
                  const Labels& labels, std::optional<Usage> usage) override;
  Result<std::vector<Mount>> Rebase(const std::string& ns, const std::string& key,
                                    const std::string& parent) override;
  Result<> Remove(const std::string& ns, const std::string& key) override;
  Result<Usage> GetUsage(const std::string& ns, const std::string& key) override;
  Result<> Recover() override;
  SnapshotRecords& records() override { return *records_; }

 protected:
  struct NewDirectory {
    std::string path;  // does not exist yet
    Kind kind = Kind::kActive;
    std::vector<uint64_t> ancestors;
    std::optional<uint64_t> quota_bytes;  // only with HasQuotas()
  };
  // Makes and fills the directory of a new snapshot. May make none.
  virtual Result<> MakeDirectory(const NewDirectory& directory) = 0;
  virtual std::vector<Mount> MountsOf(uint64_t number, Kind kind,
                                      const std::vector<uint64_t>& ancestors) const = 0;
  // Where the snapshot's own files are.
  virtual std::string Files(uint64_t number) const = 0;

  // Takes a directory away that no record names.
  virtual Result<> Discard(const std::string& directory) { return trash_->Take(directory); }

  std::string Directory(uint64_t number) const;

 private:
  Result<std::vector<Mount>> Create(const std::string& ns, const std::string& key,
                                    const std::string& parent, Kind kind, const Labels& labels);

  const std::string root_;
  SnapshotRecords* const records_;
  Trash* const trash_;
  std::atomic<uint64_t> last_number_{0};
};

}  // namespace gantry::snapshots
